"""3D U-Net: the U-Net for volumes, with BatchNorm and channels doubled ahead of each pooling.

Paper    Çiçek, Abdulkadir, Lienkamp, Brox, Ronneberger 2016, arXiv:1606.06650, figure 2 and section 2
Origin   a reconstruction: the paper's form is checked by sizes and parameters alone; with padding, parity
         with MONAI's BasicUNet and pytorch-3dunet in tests/parity/test_volume_networks.py
Weights  weights/cards/unet_3d.toml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.nn import Semantic, crop_or_pad, require_channels
from segmentarium.nn.valid import ValidUNet
from segmentarium.nn.volumes import Norm, Unit, cut

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a 3D U-Net is made of; the default is the paper's."""

    encoder: tuple[Pair, ...] = ((32, 64), (64, 128), (128, 256), (256, 512))  # two convolutions a level
    decoder: tuple[Pair, ...] = ((256, 256), (128, 128), (64, 64))  # the same on the way up, deepest first
    # from one level to the next: a learned step of as many channels as come in, or as the skip has; or copies
    up: Literal["same", "skip", "nearest"] = "same"
    up_bias: bool = False  # of the learned step
    valid: bool = True  # unpadded convolutions: the output loses `border` voxels a side
    norm: Norm = "batch"
    slope: float = 0.0  # of the activation below zero
    bias: bool = True  # of the 3x3x3 convolutions
    supervised: int = 0  # further heads for training, on the last steps up but one
    in_channels: int = 3
    classes: int = 3


VARIANTS = {
    "paper": Config(),
    "padded": Config(valid=False, bias=False, in_channels=1),
    "small": Config(
        encoder=((16, 16), (32, 32), (64, 64), (128, 128)),
        decoder=((64, 64), (32, 32), (16, 16)),
        up="skip",
        valid=False,
        norm="instance",
        slope=0.01,
        bias=False,
        supervised=2,
        in_channels=1,
    ),
    "monai": Config(
        encoder=((32, 32), (32, 32), (64, 64), (128, 128), (256, 256)),
        decoder=((128, 128), (64, 64), (32, 32), (32, 32)),
        up="skip",
        up_bias=True,
        valid=False,
        norm="instance",
        slope=0.1,
        in_channels=1,
        classes=2,
    ),
    "pytorch_3dunet": Config(up="nearest", valid=False, bias=False, in_channels=1),
    "tiny": Config(
        encoder=((4, 8), (8, 16), (16, 32)),
        decoder=((16, 16), (8, 8)),
        valid=False,
        bias=False,
        in_channels=1,
    ),
}


class UNet3D(nn.Module):
    """The network of ``config``; logits at the size of the volume, less ``border`` if convolutions are valid.

    While training, ``aux`` has the answers of the ``supervised`` coarser steps, the finest first.

    The paper's loss is ``cross_entropy`` with ``class_weights`` that lower the background, and void where
    nobody annotated.
    """

    dimensions: ClassVar[int] = 3

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.valid and config.supervised:
            raise BadArgument(
                "further heads on a network of valid convolutions", allowed="valid = False, or supervised = 0"
            )
        self.config = config
        skips = [pair[-1] for pair in config.encoder]
        self.encoder = nn.ModuleList(
            convolutions(config, inputs, pair)
            for inputs, pair in zip([config.in_channels, *skips], config.encoder, strict=False)
        )
        channels = skips.pop()
        self.decoder = nn.ModuleList()
        for pair in config.decoder:
            self.decoder.append(Step(config, channels, skips.pop(), pair))
            channels = pair[-1]
        self.classify = nn.Conv3d(channels, config.classes, 1)
        coarser = config.decoder[::-1][1 : 1 + config.supervised]
        self.supervise = nn.ModuleList(nn.Conv3d(pair[-1], config.classes, 1) for pair in coarser)

    def forward(self, image: Float[Tensor, "b c d h w"]) -> Semantic:
        require_channels(image, self.config.in_channels, dimensions=3)
        if self.config.valid:
            self._sizes.require_even(image.shape[2:])
        maps = [self.encoder[0](image)]
        for level in self.encoder[1:]:
            maps.append(level(halve(maps[-1])))
        steps = [maps.pop()]
        for step in self.decoder:
            steps.append(step(steps[-1], maps.pop()))
        logits = self.classify(steps[-1])
        if not self.training:
            return Semantic(logits)
        coarser = zip(self.supervise, steps[-2::-1], strict=False)
        return Semantic(logits, tuple(head(step) for head, step in coarser))

    @property
    def _sizes(self) -> ValidUNet:
        return ValidUNet(len(self.config.decoder))

    @property
    def border(self) -> int:
        """Voxels lost on each side: 44 for the paper's."""
        return self._sizes.border if self.config.valid else 0

    def input_side(self, output: int) -> int:
        """The smallest side whose poolings are all even and that yields ``output`` voxels: 132 for 44."""
        return self._sizes.input_side(output) if self.config.valid else output


class Step(nn.Module):
    """One step of the synthesis path: enlarge, join with the skip, two convolutions."""

    def __init__(self, config: Config, deep: int, skip: int, pair: Pair) -> None:
        super().__init__()
        outputs = skip if config.up == "skip" else deep
        self.valid = config.valid
        self.up = (
            None
            if config.up == "nearest"
            else nn.ConvTranspose3d(deep, outputs, 2, stride=2, bias=config.up_bias)
        )
        self.convolve = convolutions(config, skip + outputs, pair)

    def forward(self, deep: Float[Tensor, "b c *s"], skip: Float[Tensor, "b e *t"]) -> Tensor:
        size = skip.shape[2:]
        if self.up is None:
            deep = functional.interpolate(deep, size=size)
        elif self.valid:
            deep = self.up(deep)
            skip = crop_or_pad(skip, deep.shape[2:])
        else:
            deep = fit(self.up(deep), size)
        return self.convolve(torch.cat([skip, deep], dim=1))


def halve(maps: Float[Tensor, "b c *s"]) -> Tensor:
    """The largest of each 2x2x2 voxels; a side of one voxel stays: any volume has an answer."""
    return functional.max_pool3d(maps, [min(2, side) for side in maps.shape[2:]])


def fit(maps: Float[Tensor, "b c *s"], size: Sequence[int]) -> Tensor:
    """Cut ``maps`` to ``size``, or repeat their last voxels where one is missing."""
    missing = [max(0, want - have) for have, want in zip(maps.shape[2:], size, strict=True)]
    if any(missing):
        edges = [edge for more in reversed(missing) for edge in (0, more)]
        maps = functional.pad(maps, edges, mode="replicate")
    return cut(maps, size)


def convolutions(config: Config, inputs: int, pair: Pair) -> nn.Sequential:
    """Two 3x3x3 convolutions to the channels of ``pair``, each with norm and activation."""
    units: list[nn.Module] = []
    for outputs in pair:
        conv = nn.Conv3d(inputs, outputs, 3, padding=0 if config.valid else 1, bias=config.bias)
        nn.init.kaiming_normal_(conv.weight, a=config.slope)
        units.append(Unit(conv, config.norm, nn.LeakyReLU(config.slope, inplace=True)))
        inputs = outputs
    return nn.Sequential(*units)
