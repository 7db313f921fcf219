"""Thresholds: what is brighter than a number is one thing, and the histogram chooses the number.

One number for the whole picture, several numbers for several classes, or one for each pixel by the window
around it. Grey levels count as whole numbers from 0 to 255.

Source: Otsu 1979 (and its equation 17 for several classes), Li and Lee 1993, Zack et al. 1977 (triangle),
Yen et al. 1995, Ridler and Calvard 1978 (isodata), Prewitt and Mendelsohn 1966 (minimum, mean), Niblack 1986,
Sauvola and Pietikainen 2000; all but several classes by scikit-image.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from segmentarium.classical.levels import TOP, Picture, levels, within
from segmentarium.classical.partition import cut_out, named
from segmentarium.errors import BadArgument, BadImage, UnknownName
from segmentarium.values import LabelMap

Global = Literal["otsu", "li", "triangle", "yen", "isodata", "minimum", "mean"]
Local = Literal["niblack", "sauvola", "local_mean", "local_gaussian"]


def threshold(
    picture: Picture,
    *,
    method: Global | Local = "otsu",
    classes: int = 2,
    bright: bool = True,
    window: int = 51,
    k: float = 0.2,
    offset: float = 0.0,
) -> LabelMap:
    """Cut a picture or volume by its brightness.

    A picture of one colour has nothing before its background.

    Args:
        method: niblack, sauvola, local_mean and local_gaussian look at a window around each pixel.
        classes: more than 2 with otsu only; they are named from the background on.
        bright: whether the thing is brighter than its background.
        window: side of the window in pixels, odd.
        k: of niblack and sauvola: how far the threshold lies below the mean of its window, in parts of its
            spread.
        offset: added to the threshold, in grey levels.

    Raises:
        BadArgument: an even window, or fewer grey levels than classes.
        BadImage: a histogram without two peaks, by the minimum method.
    """
    taken = levels(picture)
    grey = taken.grey()
    if method in get_args(Local):
        if classes != 2:
            raise BadArgument(f"{classes} classes with {method}", allowed="more than 2 with otsu only")
        limit = local_limits(grey, method=method, window=window, k=k) + np.float32(offset)
        return cut_out((grey > limit) == bright if np.ptp(grey) else np.zeros(grey.shape, bool), taken)
    whole = np.clip(np.rint(grey), 0, TOP).astype(np.uint8)
    cuts = [cut + offset for cut in global_cuts(whole, method=method, classes=classes)]
    rank = np.searchsorted(cuts, np.arange(256)).astype(np.int32)
    labels = rank[whole] if bright or not cuts else (len(cuts) - rank)[whole]
    if classes == 2:
        return cut_out(labels == 1, taken)
    return named(labels, ("background", *(f"level {i}" for i in range(1, classes))), taken)


def global_cuts(
    whole: UInt8[np.ndarray, "*s"], *, method: str = "otsu", classes: int = 2
) -> tuple[float, ...]:
    """The greatest grey level of each class but the last; none if the picture has one level only.

    Raises:
        BadArgument: fewer grey levels than classes, or several classes with another method than otsu.
        BadImage: a histogram without two peaks, by the minimum method.
    """
    if method not in get_args(Global):
        raise UnknownName.among("threshold", method, (*get_args(Global), *get_args(Local)))
    within("classes", float(classes), 2.0, 256.0)
    counts = np.bincount(whole.ravel(), minlength=256)
    present = int((counts > 0).sum())
    if classes > 2:
        if method != "otsu":
            raise BadArgument(f"{classes} classes with {method}", allowed="more than 2 with otsu only")
        if present < classes:
            raise BadArgument(
                f"{classes} classes for {present} grey levels",
                allowed="as many classes as there are levels, at most",
            )
        return _otsu_cuts(counts.astype(np.int64), classes)
    if present == 1:
        return ()
    from skimage import filters

    try:
        return (float(getattr(filters, f"threshold_{method}")(whole)),)
    except RuntimeError:
        raise BadImage(
            "a histogram without two peaks", allowed="two of them for 'minimum'", cure="take 'otsu'"
        ) from None


def _otsu_cuts(counts: Int64[np.ndarray, " n"], classes: int) -> tuple[float, ...]:
    """The cuts with the greatest variance between classes, level by level instead of all combinations.

    ``best[b]`` is the greatest sum of (sum of levels)^2 / (number of pixels) over classes that end with b.
    """
    total = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
    weighted = np.concatenate([[0], np.cumsum(counts * np.arange(len(counts)))]).astype(np.float64)
    pixels, sums = total[None, :] - total[:, None], weighted[None, :] - weighted[:, None]
    gain = np.where(pixels > 0, sums**2 / np.maximum(pixels, 1), -np.inf)  # of levels start .. stop - 1
    best, previous = gain[0], []
    for _ in range(classes - 1):
        through = best[:, None] + gain
        previous.append(through.argmax(0))
        best = through.max(0)
    cuts, stop = [], len(counts)
    for starts in reversed(previous):
        stop = int(starts[stop])
        cuts.append(float(stop - 1))
    return tuple(reversed(cuts))


def local_limits(
    grey: Float32[np.ndarray, "*s"], *, method: str = "sauvola", window: int = 51, k: float = 0.2
) -> Float[np.ndarray, "*s"]:
    """The threshold of each pixel; the picture is mirrored at its border.

    Raises:
        BadArgument: an even window.
    """
    if method not in get_args(Local):
        raise UnknownName.among("threshold", method, (*get_args(Global), *get_args(Local)))
    within("window", float(window), 3.0)
    if window % 2 == 0:
        raise BadArgument(f"window = {window}", allowed="odd numbers", cure=f"take {window + 1}")
    from skimage import filters

    if method == "niblack":
        return np.asarray(filters.threshold_niblack(grey, window, k))
    if method == "sauvola":
        return np.asarray(filters.threshold_sauvola(grey, window, k, r=(TOP + 1) / 2))
    return np.asarray(filters.threshold_local(grey, window, method.removeprefix("local_")))
