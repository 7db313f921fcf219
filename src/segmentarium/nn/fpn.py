"""The feature pyramid: maps of one width at every stride, each knowing what the coarser ones saw."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ConvGroupNorm(nn.Sequential):
    """A convolution that keeps the size, GroupNorm, ReLU.

    Args:
        groups: of GroupNorm; 0: none, and the convolution has a bias.
        act: whether ReLU ends it.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 3, groups: int = 0, act: bool = True
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not groups),
        ]
        if groups:
            layers.append(nn.GroupNorm(groups, outputs))
        if act:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class FeaturePyramid(nn.Module):
    """Top-down pathway with lateral connections; behind the maps asked for, every second value of the last.

    A coarse map is enlarged to the size of the next finer one by its nearest values and added to it.

    Args:
        inputs: channels of the maps, finest first.
        width: channels of the pyramid.
        groups: of GroupNorm after each convolution; 0: none.

    Source: Lin et al. 2017, arXiv:1612.03144, section 3; the last map as in its section 4.1.
    """

    def __init__(self, inputs: Sequence[int], width: int, *, groups: int = 0) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            ConvGroupNorm(channels, width, kernel=1, groups=groups, act=False) for channels in inputs
        )
        self.output = nn.ModuleList(ConvGroupNorm(width, width, groups=groups, act=False) for _ in inputs)
        self.apply(spread_evenly)

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> list[Float[Tensor, "b _ _ _"]]:
        found: list[Tensor] = []
        above = None
        for lateral, output, own in zip(self.lateral[::-1], self.output[::-1], reversed(maps), strict=True):
            merged = lateral(own)
            if above is not None:
                merged = merged + functional.interpolate(above, size=merged.shape[-2:])
            found.insert(0, output(merged))
            above = merged
        return [*found, found[-1][..., ::2, ::2]]


def spread_evenly(module: nn.Module) -> None:
    """Start a layer with weights uniform in plus and minus sqrt(3 / inputs) and no bias."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_uniform_(module.weight, a=1)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
