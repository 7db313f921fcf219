"""A classifier of windows, run window by window or over the whole image in one pass.

Neighbouring windows share nearly all of their pixels, so :func:`slide` does nearly all of its work anew for
each. :meth:`PatchNetwork.dense` does it once: where the classifier pools with stride p, the dense pass pools
at every pixel and lets all later layers look p times as far. The scores are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class PatchNetwork(nn.Module):
    """Convolutions that are not padded, each with ReLU and maximum pooling, then two fully connected layers.

    These are kept as convolutions. ``side`` is that of the windows, in pixels.

    Args:
        widths: channels of each convolution.
        kernels: their sides.
        pools: side of the pooling after each; 1 for none.
        last: side of the map of a window that meets the fully connected layers.
        hidden: values between these.

    Source: dense pass as in Giusti et al. 2013, arXiv:1302.1700, with the dilation of Li et al. 2014,
    arXiv:1412.4526, in place of fragments.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        widths: Sequence[int],
        kernels: Sequence[int],
        pools: Sequence[int],
        last: int,
        hidden: int,
    ) -> None:
        super().__init__()
        self.pools = tuple(pools)
        channels = zip((inputs, *widths), widths, kernels, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(*layer) for layer in channels)
        self.connect = nn.Conv2d(widths[-1], hidden, last)
        self.classify = nn.Conv2d(hidden, outputs, 1)
        self.side = last
        for kernel, pool in zip(reversed(kernels), reversed(pools), strict=True):
            self.side = self.side * pool + kernel - 1

    def forward(self, windows: Float[Tensor, "n c s s"]) -> Float[Tensor, "n k"]:
        """Scores of windows of ``side`` pixels."""
        maps = windows
        for convolution, pool in zip(self.convolutions, self.pools, strict=True):
            maps = functional.max_pool2d(functional.relu(convolution(maps)), pool)
        return self.classify(functional.relu(self.connect(maps))).flatten(1)

    def dense(self, image: Float[Tensor, "b c h w"], *, stride: int = 1) -> Float[Tensor, "b k i j"]:
        """Scores of all windows that lie within ``image``, in one pass.

        Args:
            stride: pixels from one window to the next. Poolings keep so much of theirs as divides it: at the
                product of all of them nothing is dilated, and the network is a plain convolutional one.
        """
        maps, rate = image, 1
        layer: Any
        for layer, pool in zip(self.convolutions, self.pools, strict=True):
            maps = functional.relu(functional.conv2d(maps, layer.weight, layer.bias, dilation=rate))
            step = gcd(stride, rate * pool)
            maps = functional.max_pool2d(maps, pool, step, dilation=rate)
            rate, stride = rate * pool // step, stride // step
        last = self.connect
        maps = functional.conv2d(maps, last.weight, last.bias, stride=stride, dilation=rate)
        return self.classify(functional.relu(maps))


def slide(
    classifier: Callable[[Tensor], Tensor],
    image: Float[Tensor, "b c h w"],
    *,
    side: int,
    stride: int = 1,
    batch: int = 256,
) -> Float[Tensor, "b k i j"]:
    """Scores of all windows that lie within ``image``, each cut out and classified by itself.

    Args:
        classifier: from windows ``n c side side`` to scores ``n k``; any will do.
        stride: pixels from one window to the next.
        batch: the most windows of a row that are classified at a time.
    """
    windows = image.unfold(2, side, stride).unfold(3, side, stride).permute(0, 2, 3, 1, 4, 5)
    rows = (row for picture in windows for row in picture)
    scores = torch.cat([classifier(part) for row in rows for part in row.split(batch)])
    return scores.unflatten(0, windows.shape[:3]).permute(0, 3, 1, 2)


def mirrored(image: Float[Tensor, "b c _ _"], start: int, *, size: Sequence[int]) -> Float[Tensor, "b c h w"]:
    """``size`` pixels of ``image`` from ``start`` along both axes, its edges mirrors as often as need be.

    The pixel at the edge is not repeated; ``start`` is negative for what lies before the image.
    """
    for axis, length in enumerate(size, start=2):
        period = max(1, 2 * (image.shape[axis] - 1))
        place = torch.arange(start, start + length, device=image.device) % period
        image = image.index_select(axis, torch.minimum(place, period - place))
    return image
