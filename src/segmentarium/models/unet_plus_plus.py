"""UNet++: a triangle of U-Nets of every depth, which share their nodes and are trained together.

Paper    Zhou, Siddiquee, Tajbakhsh, Liang 2018, arXiv:1807.10165, section 3; also arXiv:1912.05074
Origin   written from the paper; parity with segmentation-models-pytorch, the wiring of the authors' Keras
         program and a public implementation in tests/parity/dense_nested_grids.toml
Weights  weights/cards/unet_plus_plus.toml

Node X[i, j] stands in row i, 2^i times coarser than the image, j steps right of the contracting path.
The paper draws no dropout; the authors' program, which the first variant follows, has one half after each
convolution. "Accurate mode" averages the outputs of the heads, which are probabilities; so the logits given
here are those whose softmax (for one class, sigmoid) is that mean. The mean of logits would be the geometric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import Encoder
from segmentarium.errors import BadArgument
from segmentarium.nn import Semantic, crop_or_pad, require_channels


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a UNet++ is made of; the default is the paper's, with deep supervision."""

    encoder: str = ""  # a timm encoder; empty: the paper's contracting path
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)  # channels by row, without an encoder
    decoder: tuple[int, ...] = ()  # of an encoder's last nodes, from below, and of a step to full size
    up: Literal["learned", "bilinear", "nearest"] = "learned"
    norm: bool = False  # BatchNorm after each convolution
    bias: bool = True  # of the 3x3 convolutions
    dropout: float = 0.5  # after each 3x3 convolution
    supervised: bool = True  # a head on each of X[0, 1], X[0, 2] ...; else on the last of them alone
    in_channels: int = 3
    classes: int = 2


VARIANTS = {
    "paper": Config(),
    "nested_bn": Config(up="bilinear", norm=True, dropout=0.0),
    "smp_r34": Config(
        encoder="resnet34", decoder=(256, 128, 64, 32, 16), up="nearest", norm=True, bias=False, dropout=0.0,
        supervised=False,
    ),
    "small": Config(widths=(16, 32, 64, 128, 256), norm=True, bias=False, dropout=0.0),
    "tiny": Config(widths=(8, 12, 16, 24), norm=True, bias=False, dropout=0.0),
}  # fmt: skip


def from_encoder(name: str) -> Config:
    """The nodes on a timm encoder, laid out as segmentation-models-pytorch made customary: one head."""
    return replace(VARIANTS["smp_r34"], encoder=name)


class UNetPlusPlus(nn.Module):
    """The network of ``config``; logits at the size of the image.

    With deep supervision it answers in training with the head of the deepest U-Net, those of the others, from
    deep to shallow, beside it; in eval mode with the mean of all ("accurate mode"). For the paper's "fast
    mode" take :meth:`pruned`.

    Raises:
        BadArgument: deep supervision is asked for with an encoder, whose maps have not the image's size.
    """

    aux_weights: ClassVar[str] = "equal"

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.encoder and config.supervised:
            raise BadArgument(
                f"deep supervision with the encoder {config.encoder!r}",
                allowed="supervised=False: the nodes of row 0 are at stride 2 there",
            )
        self.config = config
        inputs = config.in_channels
        self.encoder = Encoder(config.encoder, in_channels=inputs) if config.encoder else Contracting(config)
        self.channels: tuple[int, ...] = self.encoder.channels
        rows = self.channels
        self.depth = len(rows) - 1
        self.nodes = nn.ModuleDict()
        for i, j in places(self.depth):
            self.nodes[f"{i}_{j}"] = Node(config, self._width(i + 1, j - 1), j * rows[i], self._width(i, j))
        last = self._width(0, self.depth)
        self.step = Node(config, last, 0, config.decoder[-1]) if config.encoder else None
        self.heads = nn.ModuleDict()
        for j in range(1 if config.supervised else self.depth, self.depth + 1):
            kernel, inputs = (3, config.decoder[-1]) if config.encoder else (1, rows[0])
            self.heads[f"{j}"] = nn.Conv2d(inputs, config.classes, kernel, padding=kernel // 2)
        for part in (self.nodes, self.step, self.heads) if config.encoder else (self,):
            if part is not None:
                part.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        rows = [[first] for first in self.encoder(image)]
        for i, j in places(self.depth):
            rows[i].append(self.nodes[f"{i}_{j}"](rows[i + 1][j - 1], rows[i], rows[i][0].shape[2:]))
        if self.step is not None:
            rows[0][-1] = self.step(rows[0][-1], [], image.shape[2:])
        votes = [head(rows[0][int(j)]) for j, head in self.heads.items()]
        if self.training:
            return Semantic(votes[-1], tuple(votes[-2::-1]))
        return Semantic(mean_vote(votes))

    def pruned(self, level: int) -> UNetPlusPlus:
        """The part that the head on X[0, level] needs, with the same tensors: the paper's UNet++ L1 to L4.

        Raises:
            BadArgument: there is no such head.
        """
        if f"{level}" not in self.heads:
            raise BadArgument(f"level: {level}", allowed=f"one with a head: {', '.join(self.heads)}")
        config = replace(self.config, widths=self.config.widths[: level + 1], supervised=False)
        with torch.device("meta"):
            network = UNetPlusPlus(config)
        state = self.state_dict()
        network.load_state_dict({name: state[name] for name in network.state_dict()}, assign=True)
        return network.train(self.training)

    def _width(self, i: int, j: int) -> int:
        """Channels of X[i, j]."""
        if j and i + j == self.depth and self.config.decoder:
            return self.config.decoder[self.depth - 1 - i]
        return self.channels[i]


def places(depth: int) -> list[tuple[int, int]]:
    """Row and column of the nodes right of the contracting path, each after those that it needs."""
    return [(i, j) for j in range(1, depth + 1) for i in range(depth - j + 1)]


def mean_vote(votes: Sequence[Float[Tensor, "b k h w"]]) -> Float[Tensor, "b k h w"]:
    """Logits of the mean probability: under softmax, or under sigmoid if there is one class."""
    if len(votes) == 1:
        return votes[0]
    if votes[0].shape[1] == 1:
        both = mean_vote([torch.cat([vote, torch.zeros_like(vote)], dim=1) for vote in votes])
        return both[:, :1] - both[:, 1:]
    return torch.stack([vote.log_softmax(1) for vote in votes]).logsumexp(0) - log(len(votes))


class Contracting(nn.Module):
    """X[i, 0]: two convolutions a row, 2x2 max pooling from row to row."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.channels = config.widths
        self.rows = nn.ModuleList(
            convolutions(config, inputs, width)
            for inputs, width in pairwise((config.in_channels, *config.widths))
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        maps = [self.rows[0](image)]
        for row in list(self.rows)[1:]:
            # a side of one pixel stays: any image has an answer
            window = [min(2, side) for side in maps[-1].shape[2:]]
            maps.append(row(functional.max_pool2d(maps[-1], window)))
        return maps


class Node(nn.Module):
    """X[i, j]: the node below, enlarged, joined with all nodes before it in its row; two convolutions."""

    def __init__(self, config: Config, deep: int, skips: int, outputs: int) -> None:
        super().__init__()
        self.mode = config.up
        if config.up == "learned":
            self.up: nn.Module | None = nn.ConvTranspose2d(deep, outputs, 2, stride=2)
            deep = outputs
        elif config.up == "bilinear":
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        else:
            self.up = None
        self.convolve = convolutions(config, deep + skips, outputs)

    def forward(self, deep: Tensor, skips: list[Tensor], size: Sequence[int]) -> Tensor:
        # the order of joining is each public layout's own, so that its weights can be taken over
        if self.up is None:
            maps = [functional.interpolate(deep, size=list(size)), *reversed(skips)]
        elif self.mode == "learned":
            maps = [crop_or_pad(self.up(deep), size), *skips]
        else:
            maps = [*skips, crop_or_pad(self.up(deep), size)]
        return self.convolve(torch.cat(maps, dim=1))


def convolutions(config: Config, inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with BatchNorm if the config has it, ReLU and dropout."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=config.bias))
        layers += [nn.BatchNorm2d(outputs)] if config.norm else []
        layers.append(nn.ReLU(inplace=True))
        layers += [nn.Dropout(config.dropout)] if config.dropout else []
    return nn.Sequential(*layers)


def initialise(module: nn.Module) -> None:
    """As the authors' program: He's normal numbers; for transposed convolutions Keras's usual, Glorot's."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
