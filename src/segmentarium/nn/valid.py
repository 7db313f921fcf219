"""Sizes of U-Nets whose convolutions are not padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from segmentarium.errors import BadImage


class ValidUNet(NamedTuple):
    """What ``poolings`` halvings, with two unpadded 3-tap convolutions at each level, make of a side."""

    poolings: int

    @property
    def border(self) -> int:
        """Pixels lost on each side: 92 for the four poolings of U-Net, 44 for the three of 3D U-Net."""
        return 6 * 2**self.poolings - 4

    def input_side(self, output: int) -> int:
        """The smallest side whose poolings are all even and that yields ``output`` pixels: 572 for 388."""
        unit = 2**self.poolings
        lost_before_last_pool = 4 * (unit - 1)
        return -(-(output + 2 * self.border - lost_before_last_pool) // unit) * unit + lost_before_last_pool

    def require_even(self, size: Sequence[int]) -> None:
        """Refuse an image with an uneven pooling.

        Raises:
            BadImage: names the side and the next one that fits.
        """
        for side in size:
            fits = self.input_side(max(1, side - 2 * self.border))
            if fits != side:
                raise BadImage(
                    f"an image side of {side} pixels makes uneven poolings in an unpadded U-Net",
                    allowed=f"{self.input_side(1)} plus multiples of {2**self.poolings}, next {fits}",
                    cure="mirror the image's border up to such a size, as `seg predict` does",
                )
