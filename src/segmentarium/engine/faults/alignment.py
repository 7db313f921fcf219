"""Does the mask lie where the picture says? Masks shifted, mirrored or turned, beyond chance.

Edges of the truth should lie on edges of the image. Their correlation is computed for every shift at once;
its spread over all shifts is what chance gives, so scores are in standard deviations of chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from PIL import Image as Pil
from scipy import fft, ndimage

from segmentarium.engine.faults.finding import Finding, Hit, Severity, group
from segmentarium.engine.faults.labels import diagnose
from segmentarium.engine.faults.survey import Fit, Sample, Survey

LONG_SIDE = 256  # pixels of the reduced picture in which edges are compared
REACH = 16  # largest shift looked for, in cells of the reduced picture
SURE = 7.0  # the best of a thousand shifts of an unrelated mask rarely passes 5.5
MARGIN = 5.0  # by which another placement must beat the one found
Turn = Callable[[np.ndarray], np.ndarray]
TURNS: Mapping[str, Turn] = {
    "mirrored left-right": lambda a: a[:, ::-1],
    "mirrored top-bottom": lambda a: a[::-1],
    "turned by 180 degrees": lambda a: a[::-1, ::-1],
    "transposed": lambda a: a.T,
    "turned by 90 degrees to the left": lambda a: np.rot90(a),
    "turned by 90 degrees to the right": lambda a: np.rot90(a, -1),
    "transposed over the other diagonal": lambda a: np.rot90(a, 2).T,
}
"""What to do to the mask; those after the third are possible for square images only."""

OF_ORIENTATION = {
    2: "mirrored left-right",
    3: "turned by 180 degrees",
    4: "mirrored top-bottom",
    5: "transposed",
    6: "turned by 90 degrees to the right",
    7: "transposed over the other diagonal",
    8: "turned by 90 degrees to the left",
}
"""The turn that each EXIF orientation asks for."""


def fit_of(picture: Pil.Image, labels: np.ndarray) -> Fit | None:
    """Correlate the edges of ``labels`` and ``picture`` (same size, mode L or RGB); None without any."""
    cell = max(1, -(-max(labels.shape) // LONG_SIDE))
    if min(labels.shape) // cell < 2 * REACH:
        return None
    relief = _relief(picture.reduce(cell))
    outline = np.asarray(Pil.fromarray(_outline(labels)).reduce(cell), np.float32)
    outline -= outline.mean()
    if not outline.any() or not relief.any():
        return None
    shape = [fft.next_fast_len(side, real=True) for side in relief.shape]
    scores = fft.irfft2(fft.rfft2(relief, shape) * np.conj(fft.rfft2(outline, shape)), shape)
    chance = float(scores.std()) or 1.0
    surface = np.roll(scores, (REACH, REACH), (0, 1))[: 2 * REACH + 1, : 2 * REACH + 1] / chance
    row, column = divmod(int(surface.argmax()), surface.shape[1])
    turned = {name: float(np.vdot(relief, turn(outline))) / chance for name, turn in _turns(relief.shape)}
    return Fit(
        here=float(surface[REACH, REACH]),
        best=float(surface[row, column]),
        shift=((column - REACH) * cell, (row - REACH) * cell),
        turned=turned,
        cell=cell,
        surface=surface.astype(np.float16),
    )


def find(survey: Survey) -> Iterator[Finding]:
    """Files that fit clearly better when turned; files or whole sets that do when shifted."""
    fitted = [sample for sample in survey.samples if sample.fit and _has_true_edges(sample, survey)]
    exif: list[Hit] = []
    flipped: list[Hit] = []
    upright = []
    for sample in fitted:
        turn = better_turn(sample.fit)
        if not turn or not sample.truth:
            upright.append(sample)
            continue
        tags = {OF_ORIENTATION.get(file.orientation) for file in (sample.image, sample.truth)}
        (exif if turn in tags else flipped).append(Hit(sample.truth.file, note=f"fits when {turn}"))
    yield from _tell_flips(flipped, len(fitted))
    yield from group(
        "exif-disagreement",
        Severity.WARNING,
        exif,
        what="image and mask carry different EXIF orientations, and fit only when the tag is applied to both",
        allowed="the same orientation for image and mask",
        cure="`seg check --fix` turns the pixels and drops the tag",
        fixable=True,
    )
    yield from _shifts(upright)


def _has_true_edges(sample: Sample, survey: Survey) -> bool:
    """Compression and smoothing draw edges of their own."""
    fault = "" if sample.truth is None else diagnose(sample.truth, survey)
    return fault not in ("jpeg-mask", "interpolated-labels")


def better_turn(fit: Fit | None) -> str:
    """The turn under which a mask fits beyond doubt while it does not as it lies, or nothing."""
    if fit is None or not fit.turned:
        return ""
    name, score = max(fit.turned.items(), key=lambda item: item[1])
    return name if score >= SURE and score - fit.here >= MARGIN and score >= fit.best else ""


def _tell_flips(hits: Sequence[Hit], fitted: int) -> list[Finding]:
    most = len(hits) >= max(3, fitted / 2)
    return group(
        "mask-flipped",
        Severity.ERROR if most else Severity.WARNING,
        hits,
        what="the mask lies mirrored or turned against its image, beyond chance",
        allowed="mask edges on image edges",
        cure="`seg check --fix` turns these masks; look at the pictures first",
        fixable=True,
    )


def _shifts(samples: Sequence[Sample]) -> Iterator[Finding]:
    hits = [hit for sample in samples if (hit := _shifted(sample))]
    common = None if len(hits) >= len(samples) / 2 else common_shift([s.fit for s in samples if s.fit])
    if common:
        note = f"all masks would fit better moved by dx={common[0]}, dy={common[1]} pixels"
        hits = [Hit(sample.truth.file, note=note) for sample in samples if sample.truth]
    yield from group(
        "mask-shifted",
        Severity.WARNING,
        hits,
        what="the mask is shifted against its image, beyond chance",
        allowed="mask edges on image edges",
        cure="look at the pictures; export the masks again, or move them by dx, dy",
    )


def _shifted(sample: Sample) -> Hit | None:
    fit = sample.fit
    if fit is None or sample.truth is None or max(map(abs, fit.shift)) < 2:
        return None
    if fit.best < SURE or fit.best - fit.here < MARGIN or fit.here > fit.best / 2:
        return None
    dx, dy = fit.shift
    return Hit(sample.truth.file, note=f"fits when moved by dx={dx}, dy={dy} pixels")


def common_shift(fits: Sequence[Fit]) -> tuple[int, int] | None:
    """A shift (dx, dy) in pixels that all masks share: found on each half of the files alike."""
    sizes = {fit.cell for fit in fits}
    if len(fits) < 4 or len(sizes) != 1:
        return None
    cell = sizes.pop()
    surfaces = np.stack([fit.surface for fit in fits]).astype(np.float32)
    halves = [_peak(surfaces[start::2]) for start in (0, 1)]
    row, column = _peak(surfaces)
    apart = max(abs(a - b) for a, b in zip(*halves, strict=True))
    gain = surfaces[:, row, column] - surfaces[:, REACH, REACH]
    sure = gain.mean() / (gain.std(ddof=1) / np.sqrt(len(gain)) + 1e-6) >= MARGIN and gain.mean() >= 1.5
    if apart > 1 or not sure or max(abs(row - REACH), abs(column - REACH)) < 2:
        return None
    return (column - REACH) * cell, (row - REACH) * cell


def _peak(surfaces: np.ndarray) -> tuple[int, int]:
    total = surfaces.sum(axis=0)
    row, column = divmod(int(total.argmax()), total.shape[1])
    return row, column


def _turns(shape: tuple[int, ...]) -> Iterator[tuple[str, Turn]]:
    names = list(TURNS) if shape[0] == shape[1] else list(TURNS)[:3]
    return ((name, TURNS[name]) for name in names)


def _relief(picture: Pil.Image) -> np.ndarray:
    """How strong an edge is, compared with its surroundings: so that neither light nor texture decides.

    Colours count: an object as bright as its ground would else lend its edge to its shadow.
    """
    power = np.zeros(picture.size[::-1], np.float32)
    for band in picture.split():
        values = np.asarray(band, np.int16)
        power[:, 1:-1] += np.square(values[:, 2:] - values[:, :-2], dtype=np.float32)
        power[1:-1] += np.square(values[2:] - values[:-2], dtype=np.float32)
    steep = np.sqrt(np.sqrt(power))
    mean = ndimage.uniform_filter(steep, 25, mode="reflect")
    spread = ndimage.uniform_filter(steep * steep, 25, mode="reflect") - mean * mean
    relief: np.ndarray = (steep - mean) / np.sqrt(np.maximum(spread, 0) + (0.2 * steep.std()) ** 2 + 1e-6)
    relief[[0, -1]] = 0
    relief[:, [0, -1]] = 0
    return relief


def _outline(labels: np.ndarray) -> np.ndarray:
    """255 on both sides of each border between two labels."""
    outline = np.zeros(labels.shape, bool)
    down, across = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    outline[1:] |= down
    outline[:-1] |= down
    outline[:, 1:] |= across
    outline[:, :-1] |= across
    return outline.view(np.uint8) * np.uint8(255)
