"""iIoU and AP of Cityscapes as its own scripts computed them once, on the drawn streets below.

Seeds 0 to 11. Recorded with cityscapesscripts 2.3.0 (MIT licence) from PNG files of these arrays: ids 7, 11,
24, 26 for road, building, person, car; instances 1000 x id + number; groups of a class under its bare id;
void 0.
"""

from typing import Any

import numpy as np
import pytest

from segmentarium.metrics.cityscapes import InstanceIou
from segmentarium.metrics.cityscapes_precision import InstancePrecision
from segmentarium.values.classes import Classes
from segmentarium.values.instances import Instances
from segmentarium.values.runs import box, encode

CLASSES = Classes.named("road", "building", "person", "car")
IIOU = [0.40211428340902244, 0.5430693792615127]
MEAN_IIOU = 0.47259183133526755
AP, AP_HALF = 0.09713024632323662, 0.20413537617570432
PERSON = [
    0.23439097162578612, 0.20654581796668078, 0.17926473360499215, 0.15574807173670738, 0.15574807173670738,
    0.14787338685473486, 0.092876127476466, 0.03703866888545412, 0.001150088119427742, 0.0,
]  # fmt: skip
CAR = [
    0.17387978072562252, 0.17116054897826827, 0.12417849832816825, 0.10909994834813096, 0.056992988256378066,
    0.04567164352271651, 0.03478224827198434, 0.015339678549831415, 0.0008636534766758521, 0.0,
]  # fmt: skip


def street(seed: int, size: tuple[int, int] = (90, 120)) -> Any:
    """Predicted labels, true labels, instance numbers, (class, group?) by number, and detections."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    truth = np.where(columns < rng.integers(40, 80), 0, 1)
    truth[rng.random(size) < 0.02] = -1
    truth[:, : rng.integers(0, 20)] = -1
    prediction = np.where(truth < 0, rng.integers(0, 2, size), truth)
    numbers = np.zeros(size, int)
    groups, detections = {}, []
    for n in range(1, 12):
        center, radius = rng.random(2) * size, rng.uniform(4, 14)
        label = int(rng.integers(2, 4))
        disc = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < radius**2
        truth[disc], numbers[disc] = label, n
        groups[n] = (label, bool(rng.random() < 0.2))
        for _ in range(int(rng.integers(0, 3))):
            moved, grown = center + rng.normal(0, radius / 8, 2), radius * rng.uniform(0.85, 1.1)
            mask = (rows - moved[0]) ** 2 + (columns - moved[1]) ** 2 < grown**2
            seen = label if rng.random() < 0.85 else 5 - label
            detections.append((mask, seen, round(float(rng.random()), 1)))
            prediction[mask] = seen
    for _ in range(4):
        corner = (rng.random(2) * size).astype(int)
        mask = np.zeros(size, bool)
        mask[corner[0] : corner[0] + 12, corner[1] : corner[1] + 15] = True
        detections.append((mask, int(rng.integers(2, 4)), round(float(rng.random()), 1)))
    return prediction, truth, numbers, groups, detections


def instances(rows: list[tuple[Any, int, float]]) -> Instances:
    boxes = np.array([box(encode(mask)) for mask, _, _ in rows], np.int32).reshape(-1, 4)
    crops = [encode(mask[y0:y1, x0:x1]) for (mask, _, _), (x0, y0, x1, y1) in zip(rows, boxes, strict=True)]
    labels = np.array([label for _, label, _ in rows], np.int32)
    scores = np.array([score for _, _, score in rows], np.float64)
    return Instances(tuple(crops), boxes, scores, labels, CLASSES, (90, 120))


def true_instances(numbers: Any, groups: dict[int, tuple[int, bool]]) -> tuple[Instances, Any]:
    """Single objects, and one object of all groups of a class."""
    single = [(numbers == n, label, 1.0) for n, (label, group) in groups.items() if not group]
    joined = [
        (np.isin(numbers, [n for n, of in groups.items() if of == (label, True)]), label, 1.0)
        for label in (2, 3)
    ]
    kept = [[row for row in rows if row[0].any()] for rows in (single, joined)]
    return instances(kept[0] + kept[1]), np.arange(sum(map(len, kept))) >= len(kept[0])


@pytest.mark.atlas("M38")
def test_iiou_as_recorded() -> None:
    metric = InstanceIou(CLASSES)
    for seed in range(12):
        prediction, truth, numbers, groups, _ = street(seed)
        alone = [n for n, (_, group) in groups.items() if not group]
        metric.update(prediction, truth, np.where(np.isin(numbers, alone), numbers, 0))
    scores = metric.compute()
    np.testing.assert_allclose(scores.iiou, [np.nan, np.nan, *IIOU], rtol=1e-12)
    assert scores.mean == pytest.approx(MEAN_IIOU, rel=1e-12)
    assert scores.interval[0] < scores.mean < scores.interval[1]


@pytest.mark.atlas("M38")
def test_ap_as_recorded_whole_and_in_parts() -> None:
    whole, parts = InstancePrecision(CLASSES), [InstancePrecision(CLASSES) for _ in range(3)]
    for seed in range(12):
        _, truth, numbers, groups, detections = street(seed)
        true, group = true_instances(numbers, groups)
        for metric in (whole, parts[seed % 3]):
            metric.update(instances(detections), true, group=group, void=truth < 0)
    scores = whole.compute(rounds=50)
    np.testing.assert_allclose(scores.by_threshold[:, 2:].T, [PERSON, CAR], atol=1e-12)
    assert (scores.ap, scores.ap50) == pytest.approx((AP, AP_HALF), abs=1e-12)
    assert scores.interval[0] < scores.ap < scores.interval[1]
    assert scores.undefined == ("road", "building")
    for part in parts[1:]:
        parts[0].merge(part)
    assert parts[0].compute(rounds=0).ap == pytest.approx(scores.ap, abs=1e-12)
