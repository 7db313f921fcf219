"""From pixels to objects or segments: the image is seen whole, as objects know no tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image as Pil

from segmentarium import post
from segmentarium.engine.tiled import Eye, Source
from segmentarium.errors import BadImage
from segmentarium.nn import Regions, SemanticRegions
from segmentarium.values.classes import Classes
from segmentarium.values.instances import Instances
from segmentarium.values.panoptic import Panoptic
from segmentarium.values.results import LabelMap

MOST_PIXELS = 2**22
"""Images with more are seen at a smaller scale: a large detector needs about four GiB for them."""


def find(
    source: Source, eye: Eye, *, task: str, classes: Classes, most_pixels: int = MOST_PIXELS
) -> tuple[Instances | Panoptic, str]:
    """The objects or segments of an image, at the image's own size.

    Returns:
        The result, and a sentence on what was made smaller; empty if nothing was.

    Raises:
        BadImage: a channel count that does not fit the network, or no pixels.
    """
    height, width = source.shape[:2]
    if min(height, width) < 1:
        raise BadImage(f"an image of {height}x{width} pixels", allowed="at least one pixel")
    pixels, told = _reduced(np.asarray(source[0:height]), most_pixels)
    output = eye.output([pixels], [eye.limits(pixels)])
    if told:
        output = _enlarged(output, (height / pixels.shape[0], width / pixels.shape[1]))
    result = post.finish(
        output,
        task=task,
        size=(height, width),
        classes=classes,
        rule=getattr(eye.network, "readout", ""),
    )
    assert not isinstance(result, LabelMap)
    return result, told


def _reduced(pixels: Shaped[np.ndarray, "h w c"], most: int) -> tuple[Shaped[np.ndarray, "h2 w2 c"], str]:
    height, width = pixels.shape[:2]
    if height * width <= most:
        return pixels, ""
    factor = (most / (height * width)) ** 0.5
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    planes = [
        np.asarray(Pil.fromarray(pixels[..., c]).resize(size, Pil.Resampling.BOX))
        for c in range(pixels.shape[2])
    ]
    told = f"{width}x{height} pixels are too many to look for objects in: seen at {size[0]}x{size[1]}"
    return np.stack(planes, axis=-1), told


def _enlarged(output: Any, factors: tuple[float, float]) -> Any:
    """Boxes in pixels of the whole image; scores of pixels and queries have no size of their own."""
    if isinstance(output, SemanticRegions):
        return output._replace(regions=_enlarged(output.regions, factors))
    if not isinstance(output, Regions):
        return output
    vertical, horizontal = factors
    scale = output.boxes.new_tensor([horizontal, vertical, horizontal, vertical])
    return output._replace(boxes=output.boxes * scale)
