"""An approximation of TextonBoost: which class a pixel has, by the textures around it; no network.

As in the paper, the picture is filtered by a bank of 17, the answers are clustered into textons, and a pixel
is described by how much of a texton lies in a box somewhere around it. Unlike the paper, boosted trees of
scikit-learn take the place of joint boosting with shared stumps, and see the pixel's own answers and place
beside those features, where the paper has separate potentials of colour and place.

Source: Shotton, Winn, Rother and Criminisi 2009, "TextonBoost for image understanding", sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64, Integer
from scipy import ndimage

from segmentarium.classical import textonboost_kernels as kernels
from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.errors import BadArgument, BadImage
from segmentarium.ops.lab import lab_planes
from segmentarium.ops.resize import neighbours
from segmentarium.ops.share import share
from segmentarium.values.classes import VOID

FILTERS = 17
REACH = 0.25
"""How far boxes reach from the pixel, as a share of the picture's shorter side."""
ENOUGH = 100_000
"""Answers of so many pixels give the textons."""


def filter_bank(picture: Levels) -> Float32[np.ndarray, "17 h w"]:
    """The answers of the 17 filters, in CIE Lab.

    Gaussians of sigma 1, 2 and 4 on L, a and b; Laplacians of Gaussians of 1, 2, 4 and 8 on L; derivatives of
    Gaussians of 2 and 4 along x and along y on L.

    Raises:
        BadImage: neither one channel nor three.
    """
    if picture.channels not in (1, 3):
        raise BadImage(f"{picture.channels} channels", allowed="1 or 3")
    planes = lab_planes(np.ascontiguousarray(np.broadcast_to(picture.values, (*picture.size, 3))))
    light = planes[0]
    answers = [ndimage.gaussian_filter(plane, sigma) for sigma in (1, 2, 4) for plane in planes]
    answers += [ndimage.gaussian_laplace(light, sigma) for sigma in (1, 2, 4, 8)]
    answers += [
        ndimage.gaussian_filter(light, sigma, order=order) for sigma in (2, 4) for order in ((0, 1), (1, 0))
    ]
    return np.stack(answers)


@dataclass(frozen=True, eq=False)
class Features:
    """What is asked of a pixel: its place, the answers of the filters, and ``boxes`` of textons around it.

    ``centres`` of the textons are in deviations from the ``mean`` of each answer. ``boxes`` are top, left,
    bottom and right from the pixel, in shares of the picture's shorter side.
    """

    mean: Float32[np.ndarray, "17"]
    deviation: Float32[np.ndarray, "17"]
    centres: Float32[np.ndarray, "t 17"]
    boxes: Float32[np.ndarray, "n 4"]
    box_textons: Int64[np.ndarray, " n"]

    def textons(self, answers: Float32[np.ndarray, "17 h w"]) -> Int32[np.ndarray, "h w"]:
        """The nearest centre of each pixel."""
        steep = self.centres / self.deviation
        offset = 0.5 * np.square(self.centres).sum(axis=1) + steep @ self.mean
        near = [(row.T @ steep.T - offset).argmax(axis=1) for row in answers.swapaxes(0, 1)]
        return np.asarray(np.stack(near), np.int32)

    def describe(
        self, picture: Levels, rows: Int64[np.ndarray, " p"], columns: Int64[np.ndarray, " p"]
    ) -> Float32[np.ndarray, "p f"]:
        """One row for each pixel asked for; boxes by the share of the texton in them."""
        answers = filter_bank(picture)
        height, width = picture.size
        sums = kernels.integrate(self.textons(answers), len(self.centres))
        boxes = pixel_boxes(self.boxes, min(height, width))
        counts = np.empty((len(rows), len(boxes)), np.float32)
        share(partial(kernels.layout_counts, sums, rows, columns, boxes, self.box_textons, counts), len(rows))
        counts /= (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        place = np.stack([rows / height, columns / width], axis=1)
        own = answers[:, rows, columns].T
        return np.concatenate([place, own, counts], axis=1, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class TextonBoost:
    """A model that was fitted; it lives as long as the program, since its trees have no safe file format."""

    features: Features
    trees: Any
    classes: int
    step: int

    @classmethod
    def fit(
        cls,
        pictures: Sequence[Picture],
        labels: Sequence[Integer[np.ndarray, "_ _"]],
        *,
        textons: int = 64,
        boxes: int = 200,
        rounds: int = 100,
        step: int = 5,
        seed: int = 0,
    ) -> TextonBoost:
        """Learn from pictures and the class of each of their pixels.

        Args:
            labels: class indices from 0; those below 0 are void.
            textons: kinds of texture.
            boxes: features of the texture around a pixel, drawn at random.
            rounds: of boosting; each adds a tree for each class.
            step: every so manyth pixel of every so manyth row is looked at, in prediction too.

        Raises:
            BadArgument: numbers or sizes do not fit, or fewer than two classes are marked.
        """
        for name, value in (("textons", textons), ("boxes", boxes), ("rounds", rounds), ("step", step)):
            within(name, value, 1)
        taken = [levels(picture, volumes=False) for picture in pictures]
        _require(taken, labels)
        features = _features(taken, textons=textons, boxes=boxes, seed=seed)
        rows, truths = [], []
        for picture, truth in zip(taken, labels, strict=True):
            at = lattice(picture.size, step)
            known = at[0][truth[at] > VOID], at[1][truth[at] > VOID]
            rows.append(features.describe(picture, *known))
            truths.append(truth[known])
        from sklearn.ensemble import HistGradientBoostingClassifier

        trees = HistGradientBoostingClassifier(max_iter=rounds, early_stopping=False, random_state=seed)
        trees.fit(np.concatenate(rows), np.concatenate(truths))
        return cls(features, trees, max(int(truth.max()) for truth in labels) + 1, step)

    def predict(self, picture: Picture) -> Float32[np.ndarray, "k h w"]:
        """The probability of each class; 0 for those that no pixel looked at was of."""
        taken = levels(picture, volumes=False)
        height, width = taken.size
        rows, columns = lattice(taken.size, self.step)
        found = self.trees.predict_proba(self.features.describe(taken, rows, columns))
        coarse = np.zeros((self.classes, len(found)), np.float32)
        coarse[self.trees.classes_] = found.T
        across = -(-width // self.step)
        grid = coarse.reshape(self.classes, -1, across)
        return _stretched(_stretched(grid, height, axis=1), width, axis=2)


def lattice(size: tuple[int, ...], step: int) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Rows and columns of the middles of ``step`` x ``step`` cells, row by row."""
    axes = []
    for length in size:
        count = -(-length // step)
        axes.append(((np.arange(count) + 0.5) * length / count).astype(np.int64))
    rows, columns = np.meshgrid(*axes, indexing="ij")
    return rows.ravel(), columns.ravel()


def pixel_boxes(boxes: Float32[np.ndarray, "n 4"], side: int) -> Int64[np.ndarray, "n 4"]:
    """Boxes for a picture whose shorter side is given, in pixels; each holds one at least."""
    whole: Int64[np.ndarray, "n 4"] = np.rint(boxes * side).astype(np.int64)
    whole[:, 2:] = np.maximum(whole[:, 2:], whole[:, :2] + 1)
    return whole


def _features(taken: Sequence[Levels], *, textons: int, boxes: int, seed: int) -> Features:
    """Textons from a sample of all pictures, and boxes at random."""
    from sklearn.cluster import MiniBatchKMeans

    rng = np.random.default_rng(seed)
    each = max(1, ENOUGH // len(taken))
    sample = []
    for picture in taken:
        answers = filter_bank(picture).reshape(FILTERS, -1)
        chosen = rng.choice(answers.shape[1], min(each, answers.shape[1]), replace=False)
        sample.append(answers[:, chosen].T)
    answers = np.concatenate(sample)
    mean, deviation = answers.mean(axis=0), np.maximum(answers.std(axis=0), 1e-3)
    if textons > len(answers):
        raise BadArgument(f"{textons} textons", allowed=f"up to the {len(answers)} pixels there are")
    means = MiniBatchKMeans(textons, batch_size=4096, n_init=1, random_state=seed)
    means.fit((answers - mean) / deviation)
    corners = np.sort(rng.uniform(-REACH, REACH, (boxes, 2, 2)), axis=1).astype(np.float32)
    return Features(
        mean,
        deviation.astype(np.float32),
        means.cluster_centers_.astype(np.float32),
        corners.reshape(boxes, 4),
        rng.integers(0, textons, boxes),
    )


def _stretched(grid: Float32[np.ndarray, "k _ _"], length: int, *, axis: int) -> Float32[np.ndarray, "k _ _"]:
    """Interpolated along one axis."""
    before, share_after = neighbours(grid.shape[axis], length, 0, length)
    after = np.minimum(before + 1, grid.shape[axis] - 1)
    weight = share_after.reshape(-1, *(1,) * (2 - axis))
    return np.asarray(grid.take(before, axis) * (1 - weight) + grid.take(after, axis) * weight)


def _require(taken: Sequence[Levels], labels: Sequence[Integer[np.ndarray, "_ _"]]) -> None:
    sizes = [picture.size for picture in taken]
    if not taken or sizes != [truth.shape for truth in labels]:
        raise BadArgument(
            f"{len(taken)} pictures and {len(labels)} maps of labels",
            allowed="as many, at least one, each map as large as its picture",
        )
    present = np.unique(np.concatenate([np.unique(truth) for truth in labels]))
    if (present > VOID).sum() < 2:
        raise BadArgument(f"labels of the classes {present.tolist()}", allowed="at least two classes")
