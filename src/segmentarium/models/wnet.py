"""W-Net: one U-Net divides a picture, another paints it again from the parts, and no labels are needed.

Paper    Xia and Kulis 2017, arXiv:1711.08506, sections 3 and 4.1, figure 2
Origin   written from the paper, of which no faithful code is public: a reconstruction
Weights  weights/cards/wnet.toml

A module is two 3x3 convolutions, each with ReLU and then BatchNorm; in all but the first and the last module
of each U-Net they are separable. The paper takes two steps a batch: the encoder goes down the soft normalised
cut, then both U-Nets go down the error of the painted picture. Here one step goes down the sum. The cut has
no gradient in the decoder, so each weight is moved by the same losses, only at once.

The paper leaves open how many parts there are (here 64, as many as the features they are made of), what
intensity is in colour (here the squared differences of all channels are added), how the error is scaled (here
it is the mean over all values), where its dropout of 0.65 stands (here at the end of both contracting paths,
as in U-Net), biases (here all but depthwise convolutions have them) and first weights (here He's). Its CRF
and the merging by contours come after the network and are not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.losses.soft_ncut import soft_ncut
from segmentarium.nn import Semantic, crop_or_pad, require_channels


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a W-Net is made of; the default is the paper's."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)  # channels by level of both U-Nets
    dropout: float = 0.65
    radius: float = 5.0  # "r", in pixels, of the cut
    sigma_intensity: float = 10.0  # "sigma_I", where white is 255
    sigma_distance: float = 4.0  # "sigma_X", in pixels
    unit: float = 57.6  # steps of 255 in a unit of the input: 255 times the deviation it was divided by
    in_channels: int = 3
    classes: int = 64  # "K", the most parts of a picture


VARIANTS = {
    "paper": Config(),
    "small": Config(widths=(16, 32, 64, 128, 256), dropout=0.0, classes=20),
    "tiny": Config(widths=(16, 32, 64), dropout=0.0, classes=4),
}


class WNet(nn.Module):
    """The network of ``config``; logits of the parts at the size of the image.

    The parts have no names: which is which differs from training to training. Images are to be divided by
    their deviation as ``config.unit`` says, for the cut weighs differences of intensity.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Half(config, config.in_channels, config.classes)
        self.decoder = Half(config, config.classes, config.in_channels)
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        return Semantic(self.encoder(image))

    def terms(
        self, images: Float[Tensor, "b c h w"], truths: Sequence[Any] = (), *, draw: Any = None
    ) -> dict[str, Float[Tensor, ""]]:
        """``cut`` and ``reconstruction``, and their sum as ``loss``; truths and chance are not used."""
        probs = self(images).logits.softmax(1)
        cut = soft_ncut(
            probs,
            images * self.config.unit,
            radius=self.config.radius,
            sigma_intensity=self.config.sigma_intensity,
            sigma_distance=self.config.sigma_distance,
        )
        reconstruction = functional.mse_loss(self.decoder(probs), images)
        return {"cut": cut, "reconstruction": reconstruction, "loss": cut + reconstruction}


class Half(nn.Module):
    """A U-Net of nine modules, if there are five levels."""

    def __init__(self, config: Config, inputs: int, outputs: int) -> None:
        super().__init__()
        first, *deeper = config.widths
        self.down = nn.ModuleList([module(inputs, first, separable=False)])
        self.down.extend(module(a, b, separable=True) for a, b in pairwise((first, *deeper)))
        self.dropout = nn.Dropout(config.dropout)
        steps = list(pairwise(reversed(config.widths)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, width, 2, stride=2) for deep, width in steps)
        self.join = nn.ModuleList(
            module(2 * width, width, separable=level > 0)
            for level, (_, width) in zip(reversed(range(len(steps))), steps, strict=True)
        )
        self.classify = nn.Conv2d(first, outputs, 1)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        skips: list[Tensor] = []
        for level, down in enumerate(self.down):
            if level:
                skips.append(maps)
                # a side of one pixel stays: any image has an answer
                maps = functional.max_pool2d(maps, [min(2, side) for side in maps.shape[-2:]])
            maps = down(maps)
        maps = self.dropout(maps)
        for up, join, skip in zip(self.up, self.join, reversed(skips), strict=True):
            maps = join(torch.cat([skip, crop_or_pad(up(maps), skip.shape[-2:])], dim=1))
        return self.classify(maps)


def module(inputs: int, outputs: int, *, separable: bool) -> nn.Sequential:
    """Two 3x3 convolutions that keep the size, each with ReLU and BatchNorm."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        if separable:
            layers.append(nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False))
        layers.append(nn.Conv2d(channels, outputs, 1 if separable else 3, padding=0 if separable else 1))
        layers += [nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers)


def initialise(module: nn.Module) -> None:
    """He's normal weights, no bias."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
