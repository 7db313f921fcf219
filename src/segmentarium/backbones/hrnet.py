"""HRNet: streams at strides 4 to 32 side by side, which tell each other what they see and are all kept.

Tensors have the names that the authors and timm gave them, so weights of ``hrnet_w48`` and its kin fit as
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck

from segmentarium.nn import ConvNormAct
from segmentarium.nn.upsampling import bilinear

Enlarging = Literal["bilinear", "aligned", "nearest"]
"""How coarse maps become fine: with pixel centres or corners aligned, or by copying."""


@dataclass(frozen=True, kw_only=True)
class HRNetConfig:
    """What an HRNet is made of; the default is W48.

    Attributes:
        width: channels of the finest stream, "C"; each coarser stream has twice as many as the one before.
        stem: channels of the two convolutions that bring the image to stride 4.
        first: inner channels of the bottlenecks of stage 1; their outputs have four times as many.
        bottlenecks: how many there are.
        exchanges: how often all streams meet in stages 2, 3 and 4, of 2, 3 and 4 streams.
        blocks: residual blocks of each stream before each meeting.
        finest_only: the last meeting yields the finest stream alone, as HRNetV1 needs no other.
        up: how coarse streams come to the size of finer ones.
    """

    width: int = 48
    stem: int = 64
    first: int = 64
    bottlenecks: int = 4
    exchanges: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4
    finest_only: bool = False
    up: Enlarging = "bilinear"


W48 = HRNetConfig()
W40 = HRNetConfig(width=40)
W32 = HRNetConfig(width=32)
W18 = HRNetConfig(width=18)
W18_SMALL = HRNetConfig(width=18, bottlenecks=2, exchanges=(1, 3, 2), blocks=2)
"""The authors' W18-Small-v2."""
PUBLISHED = {
    "hrnet_w48": W48, "hrnet_w40": W40, "hrnet_w32": W32, "hrnet_w18": W18, "hrnet_w18_small_v2": W18_SMALL,
}  # fmt: skip
"""What timm calls them."""

TINY = HRNetConfig(width=8, stem=16, first=16, bottlenecks=1, exchanges=(1, 1, 1), blocks=1)


class HRNet(nn.Module):
    """The body of ``config``; the maps of its streams, finest first. A stride that does not divide rounds up.

    ``name`` is what timm calls it; empty if it does not know it. Weights begin as He's by outputs, as the
    authors' for ImageNet.

    Source: Sun et al. 2019, arXiv:1902.09212, section 3; Wang et al. 2019, arXiv:1904.04514, section 3.
    """

    def __init__(self, config: HRNetConfig, *, in_channels: int = 3) -> None:
        super().__init__()
        streams = 1 if config.finest_only else 4
        plain = replace(config, finest_only=False, up=W48.up)
        self.name = next((name for name, known in PUBLISHED.items() if known == plain), "")
        self.channels = tuple(config.width * 2**stream for stream in range(streams))
        self.strides = tuple(4 * 2**stream for stream in range(streams))
        self.conv1 = nn.Conv2d(in_channels, config.stem, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem)
        self.conv2 = nn.Conv2d(config.stem, config.stem, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(config.stem)
        self.layer1 = _bottlenecks(config)
        self.transition1 = nn.ModuleList(
            [
                ConvNormAct(4 * config.first, config.width),
                nn.Sequential(ConvNormAct(4 * config.first, 2 * config.width, stride=2)),
            ]
        )
        self.stage2 = _stage(config, 2)
        self.transition2 = _one_more(config, 2)
        self.stage3 = _stage(config, 3)
        self.transition3 = _one_more(config, 3)
        self.stage4 = _stage(config, 4)
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        stem = functional.relu(self.bn1(self.conv1(image)))
        stem = functional.relu(self.bn2(self.conv2(stem)))
        seen = self.layer1(stem)
        streams = self.stage2([begin(seen) for begin in self.transition1])
        streams = self.stage3(_begin(self.transition2, streams))
        return self.stage4(_begin(self.transition3, streams))


class Exchange(nn.Module):
    """Each stream by itself through residual blocks, then each becomes the sum of what all say.

    A coarser stream speaks through a 1x1 convolution and is enlarged, a finer one through 3x3 convolutions of
    stride 2, one an octave; a stream hears itself as it is.
    """

    def __init__(self, config: HRNetConfig, widths: Sequence[int], *, outputs: int) -> None:
        super().__init__()
        self.up = config.up
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width) for _ in range(config.blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_voice(widths, source, target) for source in range(len(widths)))
            for target in range(outputs)
        )

    def forward(self, streams: list[Float[Tensor, "b _ _ _"]]) -> list[Float[Tensor, "b _ _ _"]]:
        streams = [branch(own) for branch, own in zip(self.branches, streams, strict=True)]
        return [self._hear(streams, target) for target in range(len(self.fuse_layers))]

    def _hear(self, streams: list[Tensor], target: int) -> Tensor:
        size = streams[target].shape[-2:]
        total = streams[target]
        voices = self.fuse_layers[target].children()
        for source, (voice, own) in enumerate(zip(voices, streams, strict=True)):
            if source < target:
                total = total + voice(own)
            if source > target:
                total = total + enlarge(voice(own), size, by=self.up)
        return functional.relu(total)


def enlarge(
    maps: Float[Tensor, "b c h w"], size: Sequence[int], *, by: Enlarging
) -> Float[Tensor, "b c _ _"]:
    """Bring ``maps`` to ``size`` pixels."""
    if by == "nearest":
        return functional.interpolate(maps, size=tuple(size))
    return bilinear(maps, size, align_corners=by == "aligned")


def join(maps: Sequence[Float[Tensor, "b _ _ _"]], *, by: Enlarging) -> Float[Tensor, "b c h w"]:
    """All maps on top of each other at the size of the first: HRNetV2's representation."""
    size = maps[0].shape[-2:]
    return torch.cat([maps[0], *(enlarge(own, size, by=by) for own in maps[1:])], dim=1)


def initialise(module: nn.Module) -> None:
    """He's normal weights, counted by outputs."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _bottlenecks(config: HRNetConfig) -> nn.Sequential:
    outputs = 4 * config.first
    shortcut = None
    if config.stem != outputs:
        shortcut = nn.Sequential(nn.Conv2d(config.stem, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
    more = (Bottleneck(outputs, config.first) for _ in range(config.bottlenecks - 1))
    return nn.Sequential(Bottleneck(config.stem, config.first, downsample=shortcut), *more)


def _widths(config: HRNetConfig, streams: int) -> list[int]:
    return [config.width * 2**stream for stream in range(streams)]


def _one_more(config: HRNetConfig, streams: int) -> nn.ModuleList:
    """What begins the streams of the next stage: the old ones go on, the new one begins at the coarsest."""
    coarsest = _widths(config, streams)[-1]
    begin = nn.Sequential(ConvNormAct(coarsest, 2 * coarsest, stride=2))
    return nn.ModuleList([*(nn.Identity() for _ in range(streams)), begin])


def _begin(transition: nn.ModuleList, streams: list[Tensor]) -> list[Tensor]:
    return [begin(own) for begin, own in zip(transition, [*streams, streams[-1]], strict=True)]


def _stage(config: HRNetConfig, streams: int) -> nn.Sequential:
    times = config.exchanges[streams - 2]
    outputs = [streams] * times
    if config.finest_only and streams == 4:
        outputs[-1] = 1
    return nn.Sequential(*(Exchange(config, _widths(config, streams), outputs=n) for n in outputs))


def _voice(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """What stream ``source`` says to stream ``target``."""
    inputs, outputs = widths[source], widths[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
    octaves = target - source
    down: list[nn.Module] = [ConvNormAct(inputs, inputs, stride=2) for _ in range(octaves - 1)]
    # the last one ends without ReLU: the sum has it
    down.append(nn.Sequential(*list(ConvNormAct(inputs, outputs, stride=2))[:2]))
    return nn.Sequential(*down)
