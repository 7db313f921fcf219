"""Small pieces that more than one network or loss is made of."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn import functional


class ConvNormAct(nn.Sequential):
    """A convolution that keeps the size, BatchNorm, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


def resize(scores: Float[Tensor, "b k *s"], size: Sequence[int]) -> Float[Tensor, "b k *t"]:
    """Bring ``scores`` to ``size`` linearly, pixel centres aligned; unchanged if they have it already."""
    if tuple(scores.shape[2:]) == tuple(size):
        return scores
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return functional.interpolate(scores, size=tuple(size), mode=mode, align_corners=False)


def crop_or_pad(maps: Num[Tensor, "b c *s"], size: Sequence[int]) -> Num[Tensor, "b c *t"]:
    """Cut ``maps`` to the middle ``size``, or surround them with zeros; an odd pixel more is at the end."""
    edges: list[int] = []
    for have, want in zip(reversed(maps.shape[2:]), reversed(size), strict=True):
        half = int((want - have) / 2)  # towards zero, also where it cuts
        edges += [half, want - have - half]
    return functional.pad(maps, edges) if any(edges) else maps
