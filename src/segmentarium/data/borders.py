"""What the pixels of a training crop count for, where objects are to be kept apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Integer

from segmentarium.ops.border_weights import border_weights


@dataclass(frozen=True, kw_only=True)
class Borders:
    """The settings of U-Net's weight map.

    Attributes:
        w0: what a pixel between two touching objects counts on top.
        sigma_px: over how many pixels of the crop that fades.
        class_weights: of ground and of objects; they are part of the map, so the loss must not know them.
    """

    w0: float = 10.0
    sigma_px: float = 5.0
    class_weights: tuple[float, float] = (1.0, 1.0)

    def weigh(self, objects: Integer[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        """The weight of each pixel; ``objects`` are numbers as of :meth:`DataSet.objects`, cut and bent."""
        return border_weights(objects, w0=self.w0, sigma=self.sigma_px, class_weights=self.class_weights)
