"""What detectors stand on: a network made for classification, changed a little, and its pyramid."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d

from segmentarium.nn.fpn import FeaturePyramid


class DetectionTrunk(nn.Module):
    """The pyramid over the maps of an encoder from stride 4 on; ``strides`` are those of its maps.

    Args:
        encoder: with ``channels`` and ``strides``, as those of :mod:`segmentarium.backbones`.
        width: channels of the pyramid.
        groups: of GroupNorm in it; 0: none.
        frozen_norm: BatchNorm of the encoder becomes a constant: a batch of two images, as detectors were
            trained with, has no statistics worth the name.
        stride_first: bottlenecks of a ResNet take their stride in their first convolution, the 1x1, as in He
            et al. 2015, arXiv:1512.03385, and in the weights they published; later ones do in the 3x3.
    """

    def __init__(
        self, encoder: Any, *, width: int, groups: int = 0, frozen_norm: bool, stride_first: bool
    ) -> None:
        super().__init__()
        self.encoder = encoder
        if frozen_norm:
            freeze_norms(encoder)
        if stride_first:
            move_strides(encoder)
        strides = [stride for stride in encoder.strides if stride >= 4]
        self.strides = (*strides, 2 * strides[-1])
        self.pyramid = FeaturePyramid(encoder.channels[-len(strides) :], width, groups=groups)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The maps of ``image``, which zeros to the right and below complete to whole last strides."""
        unit = self.encoder.strides[-1]
        below, right = (-side % unit for side in image.shape[-2:])
        maps = self.encoder(functional.pad(image, (0, right, 0, below)) if below or right else image)
        return self.pyramid(maps[-len(self.pyramid.lateral) :])


class FrozenNorm(FrozenBatchNorm2d):
    """A BatchNorm whose statistics, scales and shifts are constants, under the names they had."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps)
        self.act = getattr(norm, "act", nn.Identity())  # timm joins some norms with what follows them
        with torch.no_grad():
            for name, buffer in self.named_buffers(recurse=False):
                buffer.copy_(getattr(norm, name))

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.act(super().forward(maps))


def freeze_norms(network: nn.Module) -> None:
    """Make constants of every BatchNorm, in place."""
    for name, part in network.named_children():
        if isinstance(part, nn.BatchNorm2d):
            setattr(network, name, FrozenNorm(part))
        else:
            freeze_norms(part)


def move_strides(network: nn.Module) -> None:
    """Let the first convolution of every bottleneck take the stride of the second; again changes nothing."""
    for block in network.modules():
        first, second = getattr(block, "conv1", None), getattr(block, "conv2", None)
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d) and hasattr(block, "conv3"):
            first.stride, second.stride = max(first.stride, second.stride), (1, 1)
