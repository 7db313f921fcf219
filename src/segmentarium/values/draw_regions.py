"""Pictures of partitions: many regions without names, seen by their borders and their mean colours."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Integer
from PIL import Image as Pil

from segmentarium.errors import BadImage
from segmentarium.values.classes import Classes
from segmentarium.values.draw import Picture, to_rgb8

BORDER = (255, 225, 0)
_GAP = 6  # white pixels between two pictures side by side


def draw_regions(picture: Picture, labels: Integer[np.ndarray, "h w"], classes: Classes) -> Pil.Image:
    """The picture with the borders of the regions, and beside it each region in its own colour.

    Wide pictures get the second below the first.

    Raises:
        BadImage: picture and labels differ in size.
    """
    rgb, _ = to_rgb8(picture)
    if rgb.shape[:2] != labels.shape:
        raise BadImage(f"a picture of {rgb.shape[:2]} for labels of {labels.shape}", allowed="the same size")
    lined = rgb.copy()
    lined[upper_borders(labels)] = BORDER
    axis = 0 if rgb.shape[1] > 1.6 * rgb.shape[0] else 1
    shape = (_GAP, rgb.shape[1], 3) if axis == 0 else (rgb.shape[0], _GAP, 3)
    return Pil.fromarray(
        np.concatenate([lined, np.full(shape, 255, np.uint8), classes.palette()[labels]], axis=axis)
    )


def upper_borders(labels: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels with another label below or to the right: borders one pixel wide."""
    edge = np.zeros(labels.shape, bool)
    edge[:-1] |= labels[1:] != labels[:-1]
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    return edge
