"""Draw the figures of docs/upsampling.md, or the checkerboard of any kernel and stride.

python docs/figures/upsampling.py
python docs/figures/upsampling.py --kernel 5 --stride 3 -o checkerboard_5_3.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor, nn

from segmentarium.nn.upsampling import (
    BilinearDeconvolution,
    ResizeConvolution,
    SubPixel,
    bed_of_nails,
    bilinear,
    checkerboard,
    max_pool,
    max_unpool,
    nearest,
)

HERE = Path(__file__).parent
PAPER, INK, FAINT, GOOD, BAD = (255, 255, 255), (38, 42, 51), (118, 124, 136), (22, 128, 92), (190, 58, 48)
RAMP = np.array(
    [[13, 20, 40], [28, 62, 104], [34, 121, 141], [92, 183, 140], [200, 226, 140], [255, 252, 214]]
)
COUNTS = np.array([[248, 246, 240], [190, 214, 222], [104, 160, 188], [58, 116, 163], [35, 78, 126]])
FACTOR = 4


def colored(values: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Values in 0..1 along a line of colours."""
    at = np.clip(values, 0, 1) * (len(anchors) - 1)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, c]) for c in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def enlarged(pixels: np.ndarray, factor: int) -> Image.Image:
    """Each pixel as a square."""
    return Image.fromarray(pixels.repeat(factor, 0).repeat(factor, 1))


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    *,
    size: int,
    fill: tuple[int, int, int] = INK,
) -> None:
    """Text hung from its upper left corner."""
    draw.text(at, text, fill=fill, font=ImageFont.load_default(size), anchor="la")


# The checkerboard -----------------------------------------------------------------------------------------

SHOWN, SIDE, BAR = 13, 16, 44


def panel(kernel: int, stride: int, *, shown: int = SHOWN) -> Image.Image:
    """Counts along a line as bars, and their outer product as a pattern, from the edge inwards."""
    overlap = checkerboard(kernel, stride, axes=2, inputs=shown + kernel)
    line = checkerboard(kernel, stride, inputs=shown + kernel)
    counts = overlap.counts[:shown, :shown].numpy()
    picture = Image.new("RGB", (shown * SIDE, 24 + BAR + shown * SIDE + 30), PAPER)
    draw = ImageDraw.Draw(picture)
    write(draw, (0, 0), f"kernel {kernel}, stride {stride}", size=17)
    unit = max(1, (BAR - 6) // line.most)
    for index, count in enumerate(line.counts[:shown].tolist()):
        color = tuple(colored(np.array(count / line.most), COUNTS).tolist())
        for step in range(count):
            bottom = 24 + BAR - 2 - step * unit
            draw.rectangle(
                (index * SIDE + 1, bottom - unit + 1, (index + 1) * SIDE - 2, bottom - 1), fill=color
            )
    picture.paste(enlarged(colored(counts / overlap.most, COUNTS), SIDE), (0, 24 + BAR))
    seen = sorted(set(overlap.inner.flatten().tolist()))
    told = f"even: each pixel {_times(seen)}" if overlap.even else f"uneven: {_times(seen)}"
    write(draw, (0, picture.height - 22), told, size=15, fill=GOOD if overlap.even else BAD)
    return picture


def _times(counts: Sequence[int]) -> str:
    listed = (
        " or ".join((", ".join(map(str, counts[:-1])), str(counts[-1]))) if counts[1:] else str(counts[0])
    )
    return "once" if listed == "1" else f"{listed} times"


def checkerboards(kernels: Sequence[int], strides: Sequence[int]) -> Image.Image:
    """A panel for each kernel (across) and stride (down)."""
    gap, top = 36, 92
    panels = [[panel(kernel, stride) for kernel in kernels] for stride in strides]
    width, height = (side + gap for side in panels[0][0].size)
    sheet = Image.new("RGB", (gap + len(kernels) * width, top + len(strides) * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (gap, 22), "How often a transposed convolution writes each pixel", size=26)
    lesson = (
        "Even exactly where the stride divides the kernel. Upper left corner of the output; bars: one axis."
    )
    write(draw, (gap, 56), lesson, size=17, fill=FAINT)
    for row, of_stride in enumerate(panels):
        for column, picture in enumerate(of_stride):
            sheet.paste(picture, (gap + column * width, top + row * height))
    return sheet


# One input, every upsampling ------------------------------------------------------------------------------


def scene(side: int = 48) -> Tensor:
    """A shaded ball, a ring, a line and three points."""
    fine = 8 * side
    y, x = (np.mgrid[:fine, :fine] + 0.5) / fine
    light = 0.06 + 0.10 * y
    ball = np.hypot(x - 0.36, y - 0.60)
    shade = 0.95 - 0.75 * np.hypot(x - 0.29, y - 0.52) / 0.28
    light = np.where(ball < 0.25, np.clip(shade, 0.25, 1), light)
    light = np.where(np.abs(np.hypot(x - 0.72, y - 0.27) - 0.15) < 0.025, 0.8, light)
    light = np.where((np.abs(y - 0.98 + 0.62 * x) < 0.012) & (x > 0.55), 0.95, light)
    for px, py in ((0.12, 0.14), (0.24, 0.10), (0.36, 0.17)):
        light = np.where(np.hypot(x - px, y - py) < 0.02, 1.0, light)
    small = light.reshape(side, 8, side, 8).mean((1, 3))
    return torch.tensor(small, dtype=torch.float32)[None, None]


def started(layer: nn.Module, *, at_random: bool = False) -> nn.Module:
    """The layer with equal weights that keep the mean, or random ones that do, without bias."""
    torch.manual_seed(3)
    for module in layer.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            reached = module.stride[0] ** 2 if isinstance(module, nn.ConvTranspose2d) else 1
            drawn = nn.init.uniform_(module.weight.data, 0 if at_random else 1, 1)
            drawn.mul_(reached / drawn.sum((1, 2, 3), keepdim=True))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return layer


def transposed(kernel: int) -> nn.Module:
    """A transposed convolution that enlarges as often as the others."""
    return nn.ConvTranspose2d(1, 1, kernel, stride=FACTOR, padding=(kernel - FACTOR) // 2)


def upsamplings() -> list[tuple[str, str, Tensor]]:
    """Name, remark and picture of each."""
    original = scene()
    pooled = max_pool(original, (FACTOR, FACTOR))
    small, size = pooled.values, original.shape[2:]
    aligned = bilinear(small, size, align_corners=True)
    interpolating = BilinearDeconvolution(1, factor=FACTOR)
    resizing = ResizeConvolution(1, 1, factor=FACTOR)
    shuffling = SubPixel(1, 1, factor=FACTOR)
    return [
        ("original", "48 x 48", original),
        ("input", "12 x 12: the largest of each 4 x 4", small),
        ("max-unpooling", "each maximum where it stood", max_unpool(small, pooled)),
        ("bed of nails", "each value in its first corner", bed_of_nails(small, FACTOR)),
        ("nearest", "equal to repeating", nearest(small, size)),
        ("bilinear", "pixel centres at halves", bilinear(small, size)),
        ("bilinear, corners aligned", "ends on ends, the inside spread", aligned),
        ("transposed, bilinear start", "kernel 8; fades at the edge", interpolating(small)),
        ("resize-convolution", "nearest, then 3 x 3 equal weights", started(resizing)(small)),
        ("sub-pixel, ICNR start", "3 x 3 equal weights, dealt out", started(shuffling)(small)),
        ("transposed, kernel 8", "equal weights: even", started(transposed(8))(small)),
        ("transposed, kernel 6", "equal weights: a checkerboard", started(transposed(6))(small)),
        ("transposed, kernel 8", "random weights", started(transposed(8), at_random=True)(small)),
        ("resize-convolution", "random weights", started(resizing, at_random=True)(small)),
        ("sub-pixel", "random weights", started(shuffling, at_random=True)(small)),
    ]


def gallery(columns: int = 5, cell: int = 240) -> Image.Image:
    """All upsamplings of one input in a grid."""
    cells = upsamplings()
    gap, top, caption = 30, 92, 52
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (gap + columns * (cell + gap), top + rows * (cell + caption + 18)), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (gap, 22), "One input, four times larger in every way", size=26)
    write(
        draw,
        (gap, 56),
        "Learned layers are shown untrained, so that only their structure is seen.",
        size=17,
        fill=FAINT,
    )
    for index, (name, remark, maps) in enumerate(cells):
        x, y = gap + index % columns * (cell + gap), top + index // columns * (cell + caption + 18)
        values = maps.detach()[0, 0].numpy()
        sheet.paste(enlarged(colored(values, RAMP), cell // len(values)), (x, y))
        write(draw, (x, y + cell + 6), name, size=17)
        write(draw, (x, y + cell + 28), remark, size=14, fill=FAINT)
    return sheet


def main() -> None:
    """Both figures, or one panel."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kernel", type=int)
    asked.add_argument("--stride", type=int)
    asked.add_argument("-o", "--out", type=Path, default=HERE / "checkerboard_panel.png")
    wish = asked.parse_args()
    if (wish.kernel is None) != (wish.stride is None):
        asked.error("--kernel and --stride go together")
    if wish.kernel is not None:
        alone = panel(wish.kernel, wish.stride, shown=max(SHOWN, wish.kernel + 3 * wish.stride))
        ImageOps.expand(alone, border=20, fill=PAPER).save(wish.out)
        return
    checkerboards([2, 3, 4, 5, 6], [2, 3, 4]).save(HERE / "checkerboard.png", optimize=True)
    gallery().save(HERE / "upsamplings.png", optimize=True)


if __name__ == "__main__":
    main()
