"""GridNet: five streams of maps, one an octave, and columns of paths down and up between them.

Paper    Fourure, Emonet, Fromont, Muselet, Trémeau, Wolf 2017, arXiv:1707.07958, section 3, figures 1 to 4
Origin   written from the paper and the facts of the authors' program; parity with its wiring in
         tests/parity/dense_nested_grids.toml
Weights  weights/cards/gridnet.toml

Cutting edges leaves a conv-deconv network, a U-Net or a full-resolution residual network (figure 3). From the
authors' program alone it is known that pictures pass a BatchNorm first and the logits one last, that streams
are convolved with transposed kernels from the second column that leads up, and that a dropped branch is
dropped for the whole batch, without anything made larger for it. Tensors begin as is usual in torch. Streams
halve odd sides to the larger half, and what climbs is cut to the stream it meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.nn import Semantic, crop_or_pad, require_channels


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a GridNet is made of; the default is the paper's."""

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)  # maps of each stream, finest first
    columns: int = 3  # that lead down, and as many that lead up
    dropout: float = 0.1  # share of steps in which a branch of a stream is silent ("total dropout")
    in_channels: int = 3
    classes: int = 19


VARIANTS = {
    "paper": Config(),
    "small": Config(widths=(16, 32, 64, 128), columns=2),
    "tiny": Config(widths=(8, 12, 16, 24), columns=2, dropout=0.0),
}


class GridNet(nn.Module):
    """The network of ``config``; logits at the size of the image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        first, last = config.widths[0], config.classes
        self.norm = nn.BatchNorm2d(config.in_channels)
        self.enter = nn.Sequential(
            nn.Conv2d(config.in_channels, first, 3, padding=1),
            *norm_act_conv(first, first),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        self.first = nn.ModuleList(Vertical(a, b) for a, b in pairwise(config.widths))
        self.down = nn.ModuleList(Column(config) for _ in range(config.columns - 1))
        self.up = nn.ModuleList(Column(config, up=True, turned=n > 0) for n in range(config.columns))
        self.leave = nn.Sequential(
            nn.ConvTranspose2d(first, last, 3, padding=1),
            *norm_act_conv(last, last, turned=True),
            nn.BatchNorm2d(last),
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        streams = [self.enter(self.norm(image))]
        for vertical in self.first:
            streams.append(vertical(streams[-1]))
        for column in (*self.down, *self.up):
            streams = column(streams)
        return Semantic(self.leave(streams[0]))


class Column(nn.Module):
    """One step of all streams, each of which also takes in what the one before it in the column became."""

    def __init__(self, config: Config, *, up: bool = False, turned: bool = False) -> None:
        super().__init__()
        order = range(len(config.widths))
        self.order = tuple(reversed(order)) if up else tuple(order)
        self.laterals = nn.ModuleList(
            Lateral(width, config.dropout, turned=turned) for width in config.widths
        )
        self.verticals = nn.ModuleList(
            Vertical(config.widths[a], config.widths[b], up=up) for a, b in pairwise(self.order)
        )

    def forward(self, streams: Sequence[Tensor]) -> list[Tensor]:
        maps, start = list(streams), self.order[0]
        maps[start] = self.laterals[start](streams[start])
        for vertical, (before, row) in zip(self.verticals, pairwise(self.order), strict=True):
            maps[row] = self.laterals[row](streams[row]) + vertical(maps[before], streams[row].shape[2:])
        return maps


class Lateral(nn.Module):
    """A stream goes on: itself and two convolutions of it, which training now and then leaves out."""

    def __init__(self, width: int, dropout: float, *, turned: bool = False) -> None:
        super().__init__()
        self.dropout = dropout
        self.convolve = nn.Sequential(
            *norm_act_conv(width, width, turned=turned), *norm_act_conv(width, width, turned=turned)
        )

    def forward(self, maps: Tensor) -> Tensor:
        branch = self.convolve(maps)
        if self.training and self.dropout:
            branch = branch * (torch.rand((), device=maps.device) >= self.dropout)
        return maps + branch


class Vertical(nn.Module):
    """From one stream to the next: a convolution of stride 2, transposed on the way up, and one more."""

    def __init__(self, inputs: int, outputs: int, *, up: bool = False) -> None:
        super().__init__()
        self.move = nn.Sequential(*norm_act_conv(inputs, outputs, turned=up, stride=2))
        self.convolve = nn.Sequential(*norm_act_conv(outputs, outputs, turned=up))

    def forward(self, maps: Tensor, size: Sequence[int] = ()) -> Tensor:
        moved = self.move(maps)
        return self.convolve(crop_or_pad(moved, size) if size else moved)


def norm_act_conv(inputs: int, outputs: int, *, turned: bool = False, stride: int = 1) -> list[nn.Module]:
    """BatchNorm, ReLU, 3x3 convolution; a transposed one if ``turned``, which doubles sides for stride 2."""
    if turned:
        last: nn.Module = nn.ConvTranspose2d(inputs, outputs, 3, stride, padding=1, output_padding=stride - 1)
    else:
        last = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    return [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), last]
