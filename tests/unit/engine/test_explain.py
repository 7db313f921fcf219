"""What other tools would report of one evaluation, and why."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.engine.evaluate import score_pairs
from segmentarium.engine.explain import explain
from segmentarium.metrics import Tally
from segmentarium.metrics.region_protocols import PROTOCOLS
from segmentarium.values.classes import Classes

NAMES = ("ground", "cell", "rare")


def readings(*pairs: tuple[list[int], list[int]]) -> dict[tuple[str, str], tuple[float, str]]:
    classes = Classes.named(*NAMES)
    scored = [(str(i), np.array([p]), np.array([t])) for i, (p, t) in enumerate(pairs)]
    evaluation = score_pairs(scored, classes, rounds=0)
    assert evaluation.tally is not None
    return {(r.score, r.protocol): (r.value, r.on_this_data) for r in explain(evaluation.tally, NAMES)}


def test_ours_comes_first_and_every_tool_that_has_the_score_is_there() -> None:
    found = readings(([0, 1], [0, 1]), ([0, 0], [0, 0]))
    assert next(iter(found)) == ("mean_iou", next(iter(PROTOCOLS)))
    assert {p for s, p in found if s == "mean_iou"} == {n for n, p in PROTOCOLS.items() if p.iou is not None}


def test_the_reason_is_that_of_the_data() -> None:
    found = readings(([0, 1], [0, 1]), ([1, 0], [0, 0]))
    assert found["mean_iou", "dataset"][0] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["mean_iou", "smp"] == (
        pytest.approx((2 / 3 + 1 / 2 + 1) / 3),
        "rare occurs nowhere and scores 1",
    )
    value, why = found["mean_iou", "monai"]
    assert value == pytest.approx((1 + 1 / 2) / 2)
    assert "once a class is predicted in an image without it: forgiven" in why


def test_a_sentence_tells_value_difference_and_reason() -> None:
    tally = Tally(np.array([[1, 1, 0]]), truth=np.array([[1, 1, 0]]), predicted=np.array([[1, 1, 0]]))
    told = {r.protocol: r.sentence(1.0) for r in explain(tally, NAMES) if r.score == "mean_iou"}
    assert told["dataset"].startswith("dataset 1.000000 (the same): one confusion matrix over all images")
    assert "sklearn 0.666667 (-0.333333)" in told["sklearn"]
    assert told["sklearn"].endswith("here: rare occurs nowhere and scores 0")
