"""The safe cures, each a function from wrong values to right ones, and the writing of the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Pil
from scipy import ndimage

from segmentarium.engine.faults import labels as diagnosis
from segmentarium.engine.faults import numbers
from segmentarium.engine.faults.alignment import TURNS, better_turn
from segmentarium.engine.faults.survey import Sample, Survey
from segmentarium.values.decode import turned
from segmentarium.values.files import atomic_write, ensure_folder

FACTORS = (255.0, 257.0, 65535.0)  # from 0..1 to 8 bits, from 8 to 16 bits, from 0..1 to 16 bits
ROUNDS = 16  # of voting, each reaching one pixel further
_BACK = {6: 8, 8: 6}  # the orientation that undoes another; all others undo themselves


def cured(
    fault: str, values: np.ndarray, palette: np.ndarray | None, sample: Sample, survey: Survey
) -> tuple[np.ndarray, str]:
    """The corrected mask values and a word on what was done."""
    truth = sample.truth
    assert truth is not None
    match fault:
        case "exif-disagreement" | "mask-flipped":
            return _turned(values, sample)
        case "zero-255":
            return np.where(values == 255, 1, values), "1 written for 255"
        case "off-by-one-ids":
            step = diagnosis.offset(truth, survey)
            kept = np.isin(values, survey.data.ignore_ids)
            return np.where(kept, values, values.astype(np.int32) - step), f"{-step:+d} added to all ids"
        case "interpolated-labels" if values.ndim == 2:
            return voted(values, _allowed(survey)), "in-between values replaced by a vote of the neighbours"
        case "palette-order" if palette is not None:
            return _by_color(np.asarray(palette)[values], survey), "ids written that the colours mean"
        case "jpeg-mask" if values.ndim == 2:
            near = snapped(values, _allowed(survey))
            return voted(near, _allowed(survey)), "values snapped to the nearest class, edges voted"
        case _ if values.ndim == 3:
            return _by_color(values, survey), "colours replaced by the nearest class of the legend"
    return values, "left as it is"


def voted(values: np.ndarray, allowed: list[int]) -> np.ndarray:
    """Pixels that climb between classes, or hold no class, get the commonest class around them."""
    open_ = numbers.climbing(values) | ~np.isin(values, allowed)
    result = values.astype(np.int32)
    for _ in range(ROUNDS):
        if not open_.any():
            break
        votes = np.stack([_neighbours((result == v) & ~open_) for v in allowed])
        decided = open_ & (votes.max(axis=0) > 0)
        result = np.where(decided, np.asarray(allowed)[votes.argmax(axis=0)], result)
        open_ &= ~decided
    return np.where(open_, snapped(result, allowed), result)


def snapped(values: np.ndarray, allowed: list[int]) -> np.ndarray:
    """The nearest allowed value; where classes were spread over 0..255, that spread is undone first."""
    ids = np.array(allowed)
    levels = ids.astype(np.float32)
    if float(np.quantile(values, 0.99)) > ids.max() + 16 and ids.max() > 0:
        levels = levels * (255.0 / float(ids.max()))
    table = np.arange(int(values.max()) + 1, dtype=np.float32)
    nearest: np.ndarray = ids[np.abs(table[:, None] - levels).argmin(axis=1)][values]
    return nearest


def without_nan(pixels: np.ndarray) -> np.ndarray:
    """Each value that is not finite becomes the mean of the finite ones."""
    good = np.isfinite(pixels)
    mean = float(pixels[good].mean()) if good.any() else 0.0
    return np.where(good, pixels, mean).astype(np.float32)


def rescaled(pixels: np.ndarray, usual_top: float, dtype: str) -> tuple[np.ndarray, str]:
    """Multiply by the factor between two usual ranges that brings the brightest value to ``usual_top``."""
    ratio = usual_top / max(float(np.quantile(pixels, 0.999)), 1e-9)
    factor = min((*FACTORS, *(1 / f for f in FACTORS)), key=lambda f: abs(np.log(f / ratio)))
    scaled = pixels.astype(np.float64) * factor
    if dtype.startswith("uint"):
        scaled = np.clip(np.round(scaled), 0, np.iinfo(dtype).max)
    return scaled.astype(dtype), f"multiplied by {factor:g} and stored as {dtype}"


def write_mask(folder: Path, stem: str, values: np.ndarray) -> None:
    """As a grey PNG of 8 or, where needed, 16 bits."""
    deep = int(values.max(initial=0)) > 255
    _save_png(folder / f"{stem}.png", values.astype(np.uint16 if deep else np.uint8))


def write_image(folder: Path, stem: str, pixels: np.ndarray) -> None:
    """As PNG where that loses nothing, as TIFF otherwise."""
    plain = pixels.dtype == np.uint8 and pixels.shape[-1] in (1, 3)
    if plain or (pixels.dtype == np.uint16 and pixels.shape[-1] == 1):
        _save_png(folder / f"{stem}.png", pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        return
    ensure_folder(folder)
    kind = "rgb" if pixels.shape[-1] == 3 else "minisblack"
    squeezed = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    planar = {} if squeezed.ndim == 2 else {"planarconfig": "contig"}
    path = folder / f"{stem}.tif"
    atomic_write(path, lambda file: tifffile.imwrite(file, squeezed, photometric=kind, **planar))


def _save_png(path: Path, pixels: np.ndarray) -> None:
    ensure_folder(path.parent)
    picture = Pil.fromarray(np.ascontiguousarray(pixels))
    atomic_write(path, lambda file: picture.save(file, "PNG"))


def _turned(values: np.ndarray, sample: Sample) -> tuple[np.ndarray, str]:
    turn = better_turn(sample.fit)
    if turn:
        return TURNS[turn](values), turn
    assert sample.truth is not None
    image, mask = sample.image.orientation, sample.truth.orientation
    orientation = image if image != 1 else _BACK.get(mask, mask)
    return turned(values, orientation), f"turned like its image (EXIF orientation {orientation})"


def _by_color(colors: np.ndarray, survey: Survey) -> np.ndarray:
    """The id of the nearest colour of the legend; greys are ids themselves."""
    data = survey.data
    legend = [(c.color, c.id) for c in data.classes]
    legend += [(color, void) for color in data.ignore_colors for void in data.ignore_ids[:1]]
    if _is_grey(colors):
        legend = [((i, i, i), i) for i in _allowed(survey)]
    known = np.array([color for color, _ in legend], np.int32)
    ids = np.array([identity for _, identity in legend], np.int32)
    flat, inverse = np.unique(colors.reshape(-1, 3), axis=0, return_inverse=True)
    distance = np.abs(flat.astype(np.int32)[:, None] - known).sum(axis=-1)
    nearest: np.ndarray = ids[distance.argmin(axis=1)][inverse].reshape(colors.shape[:2])
    return nearest


def _is_grey(colors: np.ndarray) -> bool:
    return bool((colors == colors[..., :1]).all())


def _allowed(survey: Survey) -> list[int]:
    return sorted({*survey.ids, *(i for i in survey.data.ignore_ids if i >= 0)})


def _neighbours(mask: np.ndarray) -> np.ndarray:
    """How many of the nine pixels around each are true."""
    counts: np.ndarray = ndimage.uniform_filter(mask.astype(np.float32), 3, mode="constant") * 9
    return np.round(counts)
