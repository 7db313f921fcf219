"""The region scores in words."""

from __future__ import annotations

from typing import Literal

from segmentarium.metrics.definition import Definition
from segmentarium.metrics.region_protocols import PROTOCOLS

_LONG = "Long, Shelhamer and Darrell 2015, section 5"
_ABSENT = {"class in neither truth nor prediction": "undefined (nan), left out of the mean"}
_VOID = {"void in truth": "left out of every count, whatever is predicted there"}


def _protocols(score: Literal["iou", "dice"]) -> dict[str, str]:
    rules = {name: getattr(protocol, score) for name, protocol in PROTOCOLS.items()}
    return {name: rule.says for name, rule in rules.items() if rule is not None}


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="matrix",
        title="confusion matrix",
        formula="n_ij: pixels of class i that are predicted as class j; truth in rows",
        best="neither",
        unit="pixels",
        edges={
            "void in truth": "not counted",
            "a value that is no class, outside void": "refused: nothing is counted",
        },
        source=_LONG,
        atlas=("M01", "M42"),
    ),
    Definition(
        name="pixel_accuracy",
        title="pixel accuracy",
        formula="sum_i n_ii / sum_i t_i, with t_i pixels of class i in truth",
        edges={"every pixel void": "undefined (nan)"} | _VOID,
        source=_LONG,
        atlas=("M02",),
    ),
    Definition(
        name="mean_accuracy",
        title="mean pixel accuracy",
        formula="(1 / n_cl) sum_i n_ii / t_i over the n_cl classes that truth holds",
        edges={"class not in truth": "left out of the mean, even if predicted"},
        source=_LONG,
        atlas=("M03",),
    ),
    Definition(
        name="iou",
        title="intersection over union (Jaccard index) of a class",
        formula="n_ii / (t_i + sum_j n_ji - n_ii)",
        edges=_ABSENT | {"predicted but not in truth": "0", "in truth but not predicted": "0"} | _VOID,
        source="Jaccard 1901; per class as in PASCAL VOC (Everingham et al. 2010)",
        atlas=("M04",),
    ),
    Definition(
        name="mean_iou",
        title="mean IoU",
        formula="mean over classes of n_ii / (t_i + sum_j n_ji - n_ii), from one matrix over all images",
        edges=_ABSENT | {"predicted but not in truth": "0, and in the mean"} | _VOID,
        protocols=_protocols("iou"),
        source="Everingham et al. 2010; Cordts et al. 2016",
        atlas=("M05", "M42"),
    ),
    Definition(
        name="frequency_weighted_iou",
        title="frequency-weighted IoU",
        formula="sum_i t_i IoU_i / sum_i t_i",
        edges={"class not in truth": "weight 0"},
        source=_LONG,
        atlas=("M06",),
    ),
    Definition(
        name="dice",
        title="Dice coefficient (F1) of a class",
        formula="2 n_ii / (t_i + sum_j n_ji) = 2 IoU / (1 + IoU)",
        edges=_ABSENT | {"in only one of truth and prediction": "0"} | _VOID,
        source="Dice 1945",
        atlas=("M07",),
    ),
    Definition(
        name="mean_dice",
        title="mean Dice",
        formula="mean over classes of 2 n_ii / (t_i + sum_j n_ji), from one matrix over all images",
        edges=_ABSENT | {"in only one of truth and prediction": "0, and in the mean"} | _VOID,
        protocols=_protocols("dice"),
        source="Dice 1945",
        atlas=("M07",),
    ),
    Definition(
        name="precision",
        title="precision of a class",
        formula="TP / (TP + FP) = n_ii / sum_j n_ji",
        edges={"class never predicted": "undefined (nan); scikit-learn says 0 unless told otherwise"},
        atlas=("M08",),
    ),
    Definition(
        name="sensitivity",
        title="sensitivity (recall) of a class",
        formula="TP / (TP + FN) = n_ii / t_i",
        edges={"class not in truth": "undefined (nan); scikit-learn says 0 unless told otherwise"},
        atlas=("M08",),
    ),
    Definition(
        name="specificity",
        title="specificity of a class",
        formula="TN / (TN + FP), the other classes together being the negatives",
        edges={"truth holds no other class": "undefined (nan)"},
        atlas=("M08",),
    ),
)
