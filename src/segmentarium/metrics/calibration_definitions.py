"""The calibration scores in words."""

from __future__ import annotations

from segmentarium.metrics.definition import Definition

PROTOCOLS = {
    "confidence": "the confidence is the probability of the predicted class, for two classes as for many;"
    " bins are closed on the right",
    "torchmetrics": "given one probability a pixel, BinaryCalibrationError bins that of class 1 and compares"
    " it with the share of class 1; bins are closed on the left, and 1.0 is a bin of its own",
}
"""What is binned, by name of protocol; the first is the default."""


_NOTHING = {"every pixel void": "undefined (nan)"}
_GUO = "Guo et al. 2017, section 2"

DEFINED: tuple[Definition, ...] = (
    Definition(
        name="ece",
        title="expected calibration error",
        formula="sum_b (n_b / n) |accuracy_b - confidence_b| over 15 bins of equal width, (i/15, (i+1)/15]",
        best="low",
        edges=_NOTHING | {"empty bin": "adds nothing"},
        protocols=PROTOCOLS,
        source=f"Naeini et al. 2015; {_GUO}",
        atlas=("M31",),
    ),
    Definition(
        name="mce",
        title="maximum calibration error",
        formula="max_b |accuracy_b - confidence_b| over bins that are not empty",
        best="low",
        edges=_NOTHING,
        protocols=PROTOCOLS,
        source=f"Naeini et al. 2015; {_GUO}",
        atlas=("M31",),
    ),
    Definition(
        name="ace",
        title="average calibration error",
        formula="mean of |accuracy_b - confidence_b| over bins that are not empty; not the adaptive error of"
        " Nixon et al. 2019, whose bins of equal mass cannot be streamed",
        best="low",
        edges=_NOTHING,
        protocols=PROTOCOLS,
        source="Neumann, Zisserman and Vedaldi 2018",
        atlas=("M31",),
    ),
    Definition(
        name="nll",
        title="negative log-likelihood",
        formula="mean of -log p_t, with p_t the probability of the true class",
        best="low",
        unit="nats",
        edges=_NOTHING | {"a true class has probability 0": "infinite; scikit-learn clips instead"},
        atlas=("M32",),
    ),
    Definition(
        name="brier",
        title="Brier score, summed over classes",
        formula="mean of sum_c (p_c - y_c)^2, from 0 to 2; two classes count twice",
        best="low",
        edges=_NOTHING,
        source="Brier 1950",
        atlas=("M32",),
    ),
    Definition(
        name="brier_half",
        title="Brier score, half",
        formula="half of the above: for two classes the mean of (p - y)^2, from 0 to 1",
        best="low",
        edges=_NOTHING,
        source="scikit-learn's brier_score_loss for two classes",
        atlas=("M32",),
    ),
)
