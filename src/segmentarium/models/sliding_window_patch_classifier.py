"""The sliding window: each pixel is what a classifier says of the window around it.

Paper    Ciresan, Giusti, Gambardella, Schmidhuber 2012, "Deep Neural Networks Segment Neuronal Membranes in
         Electron Microscopy Images", NIPS; the network called N4
Origin   a reconstruction from the paper: its code is not published
Weights  weights/cards/sliding_window_patch_classifier.toml

The baseline of lectures: right, slow, and blind beyond the window. ``patch_by_patch`` does as it is called,
``forward`` gives the same scores in one pass; benchmarks/bench_patches.py has the cost of both. Beyond the
edges the image is mirrored, as in the paper. That averages several networks, gives some of them windows that
are blurred towards their edges (foveation), and calibrates and filters the result: here is one network alone.
The activation is ReLU and weights begin as torch's; neither is the paper's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.patch_network import PatchNetwork, mirrored, slide


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the classifier is made of; the default sees windows of 95 pixels."""

    widths: tuple[int, ...] = (48, 48, 48, 48)  # channels of the convolutions
    kernels: tuple[int, ...] = (4, 5, 4, 4)  # their sides
    pools: tuple[int, ...] = (2, 2, 2, 2)  # sides of the poolings after them
    last: int = 3  # side of the last map of a window
    hidden: int = 200  # values of the fully connected layer
    stride: int = 1  # each block of so many pixels a side has one window
    in_channels: int = 1
    classes: int = 2


VARIANTS = {
    "paper": Config(),
    "strided": Config(stride=4),
    "small": Config(widths=(16, 32, 32), kernels=(5, 4, 4), pools=(2, 2, 2), hidden=64, in_channels=3),
    "tiny": Config(
        widths=(12, 16), kernels=(5, 4), pools=(2, 2), last=4, hidden=48, stride=2, in_channels=3, classes=3
    ),
}


class SlidingWindowPatchClassifier(nn.Module):
    """The network of ``config``; logits at its stride."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.network = PatchNetwork(
            config.in_channels,
            config.classes,
            widths=config.widths,
            kernels=config.kernels,
            pools=config.pools,
            last=config.last,
            hidden=config.hidden,
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        return Semantic(self.network.dense(self._framed(image), stride=self.config.stride))

    def patch_by_patch(self, image: Float[Tensor, "b c h w"], *, batch: int = 256) -> Semantic:
        """What ``forward`` answers, one window after the other.

        Args:
            batch: windows at a time; more change the speed and the memory, never the answer.
        """
        framed, stride = self._framed(image), self.config.stride
        return Semantic(slide(self.network, framed, side=self.network.side, stride=stride, batch=batch))

    def _framed(self, image: Tensor) -> Tensor:
        """The image with mirrored edges: one window for each block of ``stride`` pixels, on its middle."""
        require_channels(image, self.config.in_channels)
        stride, side = self.config.stride, self.network.side
        return mirrored(image, (stride - 1) // 2 - side // 2, size=self._extent(image.shape[2:]))

    def _extent(self, size: Sequence[int]) -> list[int]:
        stride = self.config.stride
        return [(-(-length // stride) - 1) * stride + self.network.side for length in size]
