"""A network's answer refined by a fully connected field: borders that follow the picture.

Source: Krähenbühl and Koltun 2011; after a network, Chen et al. 2015, "Semantic image segmentation with deep
convolutional nets and fully connected CRFs".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from segmentarium.classical.crf.dense import DenseCRF, Kernel
from segmentarium.classical.crf.dense_tiles import infer_in_tiles
from segmentarium.classical.crf.unaries import from_softmax
from segmentarium.classical.levels import levels, within
from segmentarium.errors import BadArgument
from segmentarium.ops.tiles import Window
from segmentarium.values import Image, LabelMap

MEMORY_MB = 1024.0
"""What the field may hold at a time, besides picture and probabilities."""


def field_of(
    weight: float = 4.0, sigma: float = 60.0, contrast: float = 5.0, *, iterations: int = 10
) -> DenseCRF:
    """Chen's field: three numbers are chosen for the data at hand, a smoothing kernel of 3 pixels stays.

    The usual ones are in the middle of the paper's ranges. Those of :class:`DenseCRF` are meant for rough
    labels, and too strong for a network's probabilities: they wipe out what is thin.

    Args:
        weight: how much pixels that look alike count.
        sigma: how far they see each other, in pixels.
        contrast: how much they may differ, in levels from 0 to 255.

    Raises:
        BadArgument: a number out of its range.
    """
    within("weight", weight, 0)
    for name, value in (("sigma", sigma), ("contrast", contrast)):
        within(name, value, 0, open_low=True)
    kernels = Kernel(3.0, compatibility=3.0), Kernel(sigma, contrast, compatibility=weight)
    return DenseCRF(kernels, iterations)


def refined(
    found: LabelMap, image: Image, *, field: DenseCRF | None = None, memory_mb: float = MEMORY_MB
) -> LabelMap:
    """The labels and probabilities that a field makes of those of a network; void stays void.

    Args:
        found: with its probabilities.
        field: its kernels are meant for levels from 0 to 255; :func:`field_of` if not given.
        memory_mb: larger pictures are worked on in tiles that fit.

    Raises:
        BadArgument: there are no probabilities, or they are of a picture of another size.
    """
    if found.probs is None or found.labels.shape != image.size:
        came = "no probabilities" if found.probs is None else f"labels of shape {found.labels.shape}"
        raise BadArgument(
            f"{came} for a picture of {image.size}",
            allowed="a label map with probabilities, as large as the picture",
            cure="ask the model for them: model(image, probs=True)",
        )
    shares, pixels = found.probs, levels(image).values
    labels, probs = np.empty_like(found.labels), np.empty_like(shares)
    windows = infer_in_tiles(
        field or field_of(),
        lambda window: from_softmax(_cut(shares, window)),
        lambda window: pixels[window.top : window.bottom, window.left : window.right],
        size=(image.size[0], image.size[1]),
        classes=len(shares),
        memory_mb=memory_mb,
    )
    for window, part in windows:
        place = np.s_[window.top : window.bottom, window.left : window.right]
        labels[place], probs[:, place[0], place[1]] = part.argmax(axis=0), part
    labels[found.labels < 0] = found.labels[found.labels < 0]
    return LabelMap(
        labels, found.classes, probs=probs, spacing_mm=found.spacing_mm, ignore_id=found.ignore_id
    )


def _cut(shares: Float[np.ndarray, "k h w"], window: Window) -> Float[np.ndarray, "k n m"]:
    """Half precision may sum to a little more than 1."""
    part = shares[:, window.top : window.bottom, window.left : window.right]
    return np.minimum(part.astype(np.float32), 1)
