"""Region scores as functions of counts: IoU, Dice, accuracies, precision, recall, and their means.

Every function takes counts (a :class:`Tally`, or confusion matrices with truth in rows and predictions in
columns) with any number of leading axes, and answers for all of them at once. A quotient of nothing by
nothing is nan, never 0 or 1, and means leave nan out. Symbols: ``n_ij`` pixels of class i predicted as j,
``t_i`` pixels of class i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Integer

from segmentarium.metrics.undefined import mean_defined, ratio


@dataclass(frozen=True, eq=False)
class Tally:
    """What region scores need of a confusion matrix: three counts a class, additive like the matrix itself.

    Three numbers a class instead of one a pair of classes: the counts of 2,000 images of 150 classes are 7
    MB, their matrices 360 MB.
    """

    correct: Integer[np.ndarray, "*n k"] | Float[np.ndarray, "*n k"]
    truth: Integer[np.ndarray, "*n k"] | Float[np.ndarray, "*n k"]
    predicted: Integer[np.ndarray, "*n k"] | Float[np.ndarray, "*n k"]

    @classmethod
    def of(cls, counts: Counts) -> Tally:
        """The tally of one confusion matrix or a stack of them; a tally is handed through."""
        if isinstance(counts, Tally):
            return counts
        correct = np.diagonal(counts, axis1=-2, axis2=-1)
        return cls(correct, truth=counts.sum(-1), predicted=counts.sum(-2))

    @classmethod
    def stack(cls, tallies: Sequence[Tally]) -> Tally:
        """Several tallies along a new first axis."""
        columns = zip(*((t.correct, t.truth, t.predicted) for t in tallies), strict=True)
        return cls(*map(np.stack, columns))

    @property
    def union(self) -> Integer[np.ndarray, "*n k"] | Float[np.ndarray, "*n k"]:
        """Pixels that are of a class in truth, in prediction or in both."""
        return np.asarray(self.truth + self.predicted - self.correct)


Counts: TypeAlias = Tally | Integer[np.ndarray, "*n k k"]
Score: TypeAlias = Callable[[Any], Any]


def iou(counts: Counts) -> Float[np.ndarray, "*n k"]:
    """Intersection over union (Jaccard index) of each class: n_ii / (t_i + sum_j n_ji - n_ii).

    A class absent from truth and prediction is nan; a class predicted but absent from truth is 0.

    Source: Jaccard 1901; per class as in PASCAL VOC (Everingham et al. 2010).

    >>> iou(np.array([[3, 1], [0, 4]])).tolist()
    [0.75, 0.8]
    """
    tally = Tally.of(counts)
    return ratio(tally.correct, tally.union)


def dice(counts: Counts) -> Float[np.ndarray, "*n k"]:
    """Dice coefficient (F1) of each class: 2 n_ii / (t_i + sum_j n_ji), equal to 2 IoU / (1 + IoU).

    A class absent from truth and prediction is nan; absent from one of them, 0.

    Source: Dice 1945.
    """
    tally = Tally.of(counts)
    return ratio(2 * tally.correct, tally.truth + tally.predicted)


def precision(counts: Counts) -> Float[np.ndarray, "*n k"]:
    """Share of the pixels predicted as a class that are of it: n_ii / sum_j n_ji; nan where none is."""
    tally = Tally.of(counts)
    return ratio(tally.correct, tally.predicted)


def recall(counts: Counts) -> Float[np.ndarray, "*n k"]:
    """Share of the pixels of a class that are predicted as it: n_ii / t_i; nan where truth has none."""
    tally = Tally.of(counts)
    return ratio(tally.correct, tally.truth)


def class_accuracy(counts: Counts) -> Float[np.ndarray, "*n k"]:
    """The recall of each class under the name it bears in semantic segmentation (Long et al. 2015)."""
    return recall(counts)


def mean_iou(counts: Counts) -> Float[np.ndarray, "*n"]:
    """Mean of :func:`iou` over the classes that are in truth or prediction; nan if there is none.

    Over the counts of a whole data set this is the mIoU of PASCAL VOC, Cityscapes and ADE20K; over the counts
    of one image, the IoU of that image.
    """
    return mean_defined(iou(counts))


def mean_dice(counts: Counts) -> Float[np.ndarray, "*n"]:
    """Mean of :func:`dice` over the classes that are in truth or prediction; nan if there is none."""
    return mean_defined(dice(counts))


def mean_accuracy(counts: Counts) -> Float[np.ndarray, "*n"]:
    """Mean of :func:`class_accuracy` over the classes that are in truth; nan if there is none.

    Source: Long, Shelhamer and Darrell 2015, section 5: (1 / n_cl) sum_i n_ii / t_i.
    """
    return mean_defined(recall(counts))


def pixel_accuracy(counts: Counts) -> Float[np.ndarray, "*n"]:
    """Share of the pixels that are right, void left out: sum_i n_ii / sum_i t_i; nan without pixels.

    Source: Long, Shelhamer and Darrell 2015, section 5.
    """
    tally = Tally.of(counts)
    return ratio(tally.correct.sum(-1), tally.truth.sum(-1))


def frequency_weighted_iou(counts: Counts) -> Float[np.ndarray, "*n"]:
    """Mean of :func:`iou` weighted by the pixels of truth: sum_i t_i IoU_i / sum_i t_i; nan without pixels.

    Source: Long, Shelhamer and Darrell 2015, section 5.
    """
    tally = Tally.of(counts)
    weighted = tally.truth * np.nan_to_num(iou(tally))
    return ratio(weighted.sum(-1), tally.truth.sum(-1))


DEFINITIONS: dict[str, str] = {
    "iou": "Intersection over union of one class: correct pixels / pixels of the class in truth, in"
    " prediction or in both. In neither: undefined. Predicted but not in truth: 0.",
    "dice": "Dice coefficient (F1) of one class: 2 x correct / (pixels in truth + pixels predicted)"
    " = 2 IoU / (1 + IoU). In neither: undefined. In only one of them: 0.",
    "precision": "Of the pixels predicted as the class, the share that is of it. None predicted: undefined.",
    "recall": "Of the pixels of the class, the share that is predicted as it. None in truth: undefined.",
    "mean_iou": "Mean of the IoU over all classes that are not undefined, from one confusion matrix over all"
    " images (the rule of PASCAL VOC, Cityscapes and ADE20K).",
    "mean_dice": "Mean of the Dice coefficient over the classes that are not undefined, of the same matrix.",
    "pixel_accuracy": "Share of all pixels that are right.",
    "mean_accuracy": "Mean of the recall over the classes that truth holds.",
    "frequency_weighted_iou": "Mean of the IoU, each class weighted by its pixels in truth.",
    "mean_iou_per_image": "The mean IoU of every image by itself, then the mean over images: another number"
    " than mean_iou, because an image of few classes or small objects counts as much as any other.",
    "void": "Pixels marked void in truth are left out of every count, whatever is predicted there.",
    "interval": "95% percentile interval of the score when the images are drawn again with replacement"
    " (bootstrap, Efron 1979): how much the score owes to the choice of images. It needs two images or more.",
}
"""What each score means, in the words of reports and ``summary.json``."""

HEADLINES: dict[str, Score] = {
    "mean_iou": mean_iou,
    "mean_dice": mean_dice,
    "pixel_accuracy": pixel_accuracy,
    "mean_accuracy": mean_accuracy,
    "frequency_weighted_iou": frequency_weighted_iou,
}
"""The scores that are one number."""

PER_CLASS: dict[str, Score] = {"iou": iou, "dice": dice, "precision": precision, "recall": recall}
"""The scores that are one number a class."""
