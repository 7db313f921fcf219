"""Draw what dilated convolutions see, and what they leave behind, before and after smoothing.

python docs/figures/gridding.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from segmentarium.nn.smoothed_dilation import GroupInteraction, SeparableShared

HERE = Path(__file__).parent
PAPER, INK, FAINT = (255, 255, 255), (38, 42, 51), (118, 124, 136)
SEEN = np.array([[248, 246, 240], [190, 214, 222], [104, 160, 188], [58, 116, 163], [35, 78, 126]])
LIGHT = np.array(
    [[13, 20, 40], [28, 62, 104], [34, 121, 141], [92, 183, 140], [200, 226, 140], [255, 252, 214]]
)
SIDE, CELL = 48, 240
KINDS = ("dilated", "group interaction", "separable and shared")


def dilated(rate: int) -> nn.Conv2d:
    """A 3x3 convolution that takes the mean of what it sees."""
    convolution = nn.Conv2d(1, 1, 3, padding=rate, dilation=rate, bias=False)
    nn.init.constant_(convolution.weight, 1 / 9)
    return convolution


def layer(kind: str, rate: int) -> nn.Module:
    """The same, smoothed as far as each way can: by the mean over a block, by the mean over a window."""
    if kind == "group interaction":
        mixing = GroupInteraction(dilated(rate))
        mixing.offset.data = 1 / rate**2 - mixing.matrix
        return mixing
    if kind == "separable and shared":
        blurring = SeparableShared(dilated(rate))
        side = 2 * rate - 1
        line = rate - (torch.arange(side) - rate + 1).abs()
        blurring.offset.data = torch.outer(line, line) / rate**4 - blurring.filter
        return blurring
    return dilated(rate)


def seen(layers: nn.Module) -> Tensor:
    """How much each pixel of the input counts for the one in the middle of the output."""
    image = torch.zeros(1, 1, SIDE, SIDE, requires_grad=True)
    layers(image)[0, 0, SIDE // 2, SIDE // 2].backward()
    assert image.grad is not None
    return image.grad[0, 0]


def noisy_disc() -> Tensor:
    """A bright disc, half of whose pixels are lost."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    disc = ((y - SIDE / 2) ** 2 + (x - SIDE / 2) ** 2 < (SIDE / 3) ** 2).float()
    kept = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(4)) < 0.5
    return (disc * kept)[None, None]


def picture(values: Tensor, anchors: np.ndarray) -> Image.Image:
    """Values along a line of colours, from 0 to the largest, each pixel a square."""
    at = (values / values.max()).clamp(0, 1).numpy() * (len(anchors) - 1)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, c]) for c in range(3)]
    pixels = np.stack(channels, -1).round().astype(np.uint8)
    return Image.fromarray(pixels.repeat(CELL // SIDE, 0).repeat(CELL // SIDE, 1))


def write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, *, size: int, faint: bool = False
) -> None:
    """Text hung from its upper left corner."""
    draw.text(at, text, fill=FAINT if faint else INK, font=ImageFont.load_default(size), anchor="la")


def sheet() -> Image.Image:
    """A column for each kind of layer; rows for rates 2 and 4, what a pixel sees and what comes out."""
    gap, left, top, row = 26, 190, 96, CELL + 22
    whole = Image.new("RGB", (left + 3 * (CELL + gap), top + 30 + 4 * row + 6), PAPER)
    draw = ImageDraw.Draw(whole)
    write(draw, (gap, 20), "Three 3 x 3 convolutions in a row, each the mean of what it sees", size=26)
    told = "Dark: seen by the pixel in the middle. Smoothing is at its strongest; training begins with none."
    write(draw, (gap, 58), told, size=16, faint=True)
    for column, kind in enumerate(KINDS):
        x = left + column * (CELL + gap)
        write(draw, (x, top), kind, size=19)
        for index, rate in enumerate((2, 4)):
            layers = nn.Sequential(*(layer(kind, rate) for _ in range(3)))
            field, answer = seen(layers), layers(noisy_disc()).detach()[0, 0]
            y = top + 30 + 2 * index * row
            whole.paste(picture(field, SEEN), (x, y))
            whole.paste(picture(answer, LIGHT), (x, y + row))
            if column == 0:
                write(draw, (gap, y + 90), f"rate {rate}", size=19)
                write(draw, (gap, y + 118), "what a pixel sees", size=15, faint=True)
                write(draw, (gap, y + row + 90), f"rate {rate}", size=19)
                write(draw, (gap, y + row + 118), "a disc, half its", size=15, faint=True)
                write(draw, (gap, y + row + 138), "pixels lost", size=15, faint=True)
    return whole


if __name__ == "__main__":
    sheet().save(HERE / "gridding.png", optimize=True)
