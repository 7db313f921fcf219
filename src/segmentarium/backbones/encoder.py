"""Any pyramid of timm as an encoder.

timm is imported when an encoder is built, not before: listing models must stay quick.
"""

from __future__ import annotations

from functools import cache

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import UnknownName


@cache
def encoder_names() -> frozenset[str]:
    """The names of all architectures timm knows, without the tags of their weights."""
    import timm

    return frozenset(timm.list_models())


class Encoder(nn.Module):
    """The feature maps of a timm model, finest first.

    ``channels`` and ``strides`` describe the maps; there is no map of the image itself.

    Args:
        name: as timm spells it, ``resnet34`` or ``efficientnet_b0``.
        in_channels: channels of the image; pretrained first layers are adapted by timm.
        pretrained: fetch timm's weights; needs a network connection or a filled cache.

    Raises:
        UnknownName: timm has no such model, or it has no maps at strides 2, 4, 8 and so on.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __init__(self, name: str, *, in_channels: int = 3, pretrained: bool = False) -> None:
        super().__init__()
        if name.split(".")[0] not in encoder_names():
            raise UnknownName.among("timm encoder", name, encoder_names())
        import timm

        self.body = timm.create_model(name, features_only=True, pretrained=pretrained, in_chans=in_channels)
        self.channels = tuple(self.body.feature_info.channels())
        self.strides = tuple(self.body.feature_info.reduction())
        if any(fine >= coarse for fine, coarse in zip(self.strides, self.strides[1:], strict=False)):
            raise UnknownName(
                f"timm model {name!r} has no pyramid, its strides are {self.strides}",
                allowed="an encoder whose maps shrink step by step",
                cure="try resnet34, convnext_tiny or efficientnet_b0",
            )

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        height, width = image.shape[-2:]
        below, right = (max(0, self.strides[-1] - side) for side in (height, width))
        if not (below or right):
            return list(self.body(image))
        # many encoders end in nothing on less than one step of their last stride: complete it, cut the maps
        maps = self.body(functional.pad(image, (0, right, 0, below)))
        return [m[..., : -(-height // s), : -(-width // s)] for m, s in zip(maps, self.strides, strict=True)]
