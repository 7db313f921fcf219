"""Any pyramid of timm as an encoder, dilated if need be.

timm is imported when an encoder is built, not before: listing models must stay quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones.dilation import Reach, dilate_stages, reach, reaches, require_twins
from segmentarium.errors import BadArgument, UnknownName

Self = TypeVar("Self", bound="Encoder")


@cache
def encoder_names() -> frozenset[str]:
    """The names of all architectures timm knows, without the tags of their weights."""
    import timm

    return frozenset(timm.list_models())


class Encoder(nn.Module):
    """The feature maps of a timm model, finest first.

    ``channels`` and ``strides`` describe the maps; there is no map of the image itself. Where the model would
    shrink beyond the output stride its convolutions are dilated instead, and several maps have that stride.

    Args:
        name: as timm spells it, ``resnet34`` or ``efficientnet_b0``.
        in_channels: channels of the image; pretrained first layers are adapted by timm.
        pretrained: fetch timm's weights; needs a network connection or a filled cache.
        output_stride: of the last map in training: 32 (nothing is dilated), 16 or 8.
        test_stride: the same in eval mode, with the same weights: ``output_stride`` or finer. Each
            convolution then sees what it saw in training, at more places.
        multi_grid: for ResNets: *every* block of a stage dilated in training has the stage's rate, and each
            block of the last stage so many times that. Left out, stages are dilated as timm and torchvision
            do it: the first block of a stage keeps the rate of the stage before.

    Raises:
        UnknownName: timm has no such model, or it has no maps at strides 2, 4, 8 and so on.
        BadArgument: timm cannot dilate this model, or ``multi_grid`` does not fit it.
    """

    channels: tuple[int, ...]
    output_strides: tuple[int, int]
    """In eval mode, in training."""

    def __init__(
        self,
        name: str,
        *,
        in_channels: int = 3,
        pretrained: bool = False,
        output_stride: int = 32,
        test_stride: int | None = None,
        multi_grid: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if name.split(".")[0] not in encoder_names():
            raise UnknownName.among("timm encoder", name, encoder_names())
        test_stride = test_stride or output_stride
        if test_stride > output_stride:
            raise BadArgument(
                f"test_stride: {test_stride}", allowed=f"output_stride, {output_stride}, or finer"
            )
        self.name = name
        self.output_strides = (test_stride, output_stride)
        self.body = _body(name, output_stride, in_chans=in_channels, pretrained=pretrained)
        self.channels = tuple(self.body.feature_info.channels())
        trained = _form(self.body, output_stride, multi_grid, trained_stride=output_stride)
        self._forms = (trained, trained)
        if test_stride != output_stride:
            with torch.device("meta"):
                twin = _body(name, test_stride, in_chans=in_channels, pretrained=False)
            require_twins(
                self.body, twin, what=f"{name!r} at output strides {output_stride} and {test_stride}"
            )
            self._forms = (_form(twin, test_stride, multi_grid, trained_stride=output_stride), trained)

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps, in the mode that the encoder is in."""
        return self._forms[self.training].strides

    def train(self: Self, mode: bool = True) -> Self:
        """Take the output stride of this mode, if the modes differ."""
        if self._forms[0] is not self._forms[1]:
            reach(self.body, self._forms[mode].reaches)
        return super().train(mode)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        height, width = image.shape[-2:]
        below, right = (max(0, self.strides[-1] - side) for side in (height, width))
        if not (below or right):
            return list(self.body(image))
        # many encoders end in nothing on less than one step of their last stride: complete it, cut the maps
        maps = self.body(functional.pad(image, (0, right, 0, below)))
        return [m[..., : -(-height // s), : -(-width // s)] for m, s in zip(maps, self.strides, strict=True)]


class _Form(NamedTuple):
    """What an output stride makes of a body."""

    strides: tuple[int, ...]
    reaches: dict[str, Reach]


def _form(body: Any, output_stride: int, multi_grid: Sequence[int], *, trained_stride: int) -> _Form:
    if multi_grid:
        dilate_stages(body, multi_grid, output_stride=output_stride, trained_stride=trained_stride)
    return _Form(tuple(body.feature_info.reduction()), reaches(body))


def _body(name: str, output_stride: int, *, in_chans: int, pretrained: bool) -> Any:
    import timm

    dilated = {"output_stride": output_stride} if output_stride != 32 else {}
    try:
        body = timm.create_model(
            name, features_only=True, pretrained=pretrained, in_chans=in_chans, **dilated
        )
    except (TypeError, AssertionError, NotImplementedError) as error:
        if not dilated:
            raise
        raise _cannot_dilate(name, output_stride) from error
    strides = body.feature_info.reduction()
    if dilated and strides[-1] != output_stride:
        raise _cannot_dilate(name, output_stride)
    if not all(a < b or (dilated and a == b == output_stride) for a, b in pairwise(strides)):
        raise UnknownName(
            f"timm model {name!r} has no pyramid, its strides are {tuple(strides)}",
            allowed="an encoder whose maps shrink step by step",
            cure="try resnet34, convnext_tiny or efficientnet_b0",
        )
    return body


def _cannot_dilate(name: str, output_stride: int) -> BadArgument:
    return BadArgument(
        f"timm cannot build {name!r} at output stride {output_stride}",
        allowed="8, 16 or 32 for most convolutional encoders, 32 for the others",
        cure="try resnet18, mobilenetv3_large_100 or convnext_tiny",
    )
