"""What is read from a region: its class and box, its mask, its keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.nn.fpn import ConvGroupNorm, spread_evenly


class BoxHead(nn.Module):
    """Convolutions, then linear layers, then a class and, for every class, a shift of the box.

    Args:
        inputs: channels and side of the regions.
        convolutions, widths: channels of the 3x3 convolutions, and of the linear layers behind them.
        groups: of GroupNorm after each convolution; 0: none.
        ground_first: the outputs for the ground stand first, and there is an idle one among the shifts, as
            in torchvision; otherwise they stand last, and there is none.

    Source: Girshick 2015, arXiv:1504.08083, section 2; two linear layers of 1024 as in Lin et al. 2017,
    arXiv:1612.03144, section 4.2.
    """

    def __init__(
        self,
        inputs: tuple[int, int],
        classes: int,
        *,
        convolutions: Sequence[int],
        widths: Sequence[int],
        groups: int,
        ground_first: bool,
    ) -> None:
        super().__init__()
        channels, side = inputs
        self.ground_first = ground_first
        self.convolve = nn.Sequential(
            *(ConvGroupNorm(a, b, groups=groups) for a, b in pairwise((channels, *convolutions)))
        )
        flat = (channels, *convolutions)[-1] * side**2
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise((flat, *widths)))
        self.apply(spread_evenly)
        self.classify = nn.Linear(widths[-1], classes + 1)
        self.shift = nn.Linear(widths[-1], 4 * (classes + ground_first))
        for layer, spread in ((self.classify, 0.01), (self.shift, 0.001)):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)

    def forward(
        self, regions: Float[Tensor, "n c s s"]
    ) -> tuple[Float[Tensor, "n k_and_ground"], Float[Tensor, "n k 4"]]:
        """Class logits, the ground last, and shifts."""
        hidden = self.convolve(regions).flatten(1)
        for layer in self.linear:
            hidden = layer(hidden).relu()
        logits, shifts = self.classify(hidden), self.shift(hidden).unflatten(1, (-1, 4))
        return (logits.roll(-1, 1), shifts[:, 1:]) if self.ground_first else (logits, shifts)


class MaskHead(nn.Module):
    """3x3 convolutions, a step to twice the side, one mask a class.

    Args:
        ground_first: there is an idle mask before those of the classes, as in torchvision.

    Source: He et al. 2017, arXiv:1703.06870, figure 4, right.
    """

    def __init__(
        self, inputs: int, classes: int, *, widths: Sequence[int], groups: int, ground_first: bool
    ) -> None:
        super().__init__()
        self.ground_first = ground_first
        self.convolve = nn.Sequential(
            *(ConvGroupNorm(a, b, groups=groups) for a, b in pairwise((inputs, *widths)))
        )
        self.enlarge = nn.ConvTranspose2d(widths[-1], widths[-1], 2, stride=2)
        self.classify = nn.Conv2d(widths[-1], classes + ground_first, 1)
        self.apply(_for_relu)

    def forward(self, regions: Float[Tensor, "n c s s"]) -> Float[Tensor, "n k t t"]:
        masks = self.classify(self.enlarge(self.convolve(regions)).relu())
        return masks[:, 1:] if self.ground_first else masks


class KeypointHead(nn.Module):
    """3x3 convolutions, a step to twice the side, bilinear to twice that: one map a keypoint.

    Source: He et al. 2017, arXiv:1703.06870, section 5.
    """

    def __init__(self, inputs: int, points: int, *, widths: Sequence[int]) -> None:
        super().__init__()
        self.convolve = nn.Sequential(*(ConvGroupNorm(a, b) for a, b in pairwise((inputs, *widths))))
        self.enlarge = nn.ConvTranspose2d(widths[-1], points, 4, stride=2, padding=1)
        self.apply(_for_relu)

    def forward(self, regions: Float[Tensor, "n c s s"]) -> Float[Tensor, "n p t t"]:
        maps = self.enlarge(self.convolve(regions))
        return functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def _for_relu(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
