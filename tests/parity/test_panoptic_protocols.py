"""Panoptic quality under the name of a tool is that tool's number, on random scenes with void and crowd.

panopticapi is on no package index: its numbers were recorded once (commit 7bb4655, arrays in memory in place
of PNG files, the scenes below with seeds 0 to 39). torchmetrics and MONAI run here.
"""

from typing import Any

import numpy as np
import pytest

from segmentarium.metrics.panoptic import PanopticQuality, Segments, panoptic_quality
from segmentarium.values.classes import Classes

CLASSES = Classes.from_json([{"id": i, "name": str(i), "isthing": i < 4} for i in range(6)])

PANOPTICAPI = [  # sum of IoU, TP, FP, FN of each category
    (24.731251801208273, 32, 18, 24),
    (22.00523851127637, 31, 18, 19),
    (28.903805394688465, 40, 13, 18),
    (32.816426247553466, 44, 18, 21),
    (40.334607388439274, 53, 24, 21),
    (20.59399945366703, 28, 15, 22),
]
PANOPTICAPI_MEANS = {  # PQ, SQ, RQ
    "all": (0.4876459975133509, 0.7412752225131629, 0.6579679350528458),
    "things": (0.4871902664890474, 0.7377802566267773, 0.6609175794289447),
    "stuff": (0.48855745956195784, 0.7482651542859341, 0.652068646300648),
}


def scene(seed: int, *, size: tuple[int, int] = (40, 50), segments: int = 12, classes: int = 6) -> Any:
    """Two maps of nearest sites, the second with its sites moved, holes in both, classes and crowd flags."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    sites = rng.random((segments, 2)) * size
    true = np.argmin((rows[..., None] - sites[:, 0]) ** 2 + (columns[..., None] - sites[:, 1]) ** 2, -1) + 1
    sites = sites + rng.normal(0, 1.5, sites.shape)
    found = np.argmin((rows[..., None] - sites[:, 0]) ** 2 + (columns[..., None] - sites[:, 1]) ** 2, -1) + 1
    of_true = rng.integers(0, classes, segments)
    of_found = np.where(rng.random(segments) < 0.2, rng.integers(0, classes, segments), of_true)
    crowd = rng.random(segments) < 0.15
    true[np.isin(true, rng.choice(segments, 2, replace=False) + 1)] = 0
    found[np.isin(found, rng.choice(segments, 1) + 1)] = 0
    true[rng.random(size) < 0.1] = 0
    found = np.where(rng.random(size) < 0.05, 0, found)
    return found.astype(np.int32), of_found, true.astype(np.int32), of_true, crowd


def table(ids: Any, classes_of: Any, crowd: Any) -> Segments:
    """The segments that have pixels."""
    numbers = np.unique(ids[ids > 0]).astype(np.int64)
    return Segments(
        ids=ids,
        numbers=numbers,
        classes_of=classes_of[numbers - 1].astype(np.int64),
        crowd=crowd[numbers - 1],
    )


def scored(protocol: str, scenes: list[Any]) -> Any:
    metric = PanopticQuality(CLASSES, protocol=protocol)
    for found, of_found, true, of_true, crowd in scenes:
        metric.update(table(found, of_found, crowd & False), table(true, of_true, crowd))
    return metric.compute()


@pytest.mark.atlas("M13")
def test_panopticapi_as_recorded() -> None:
    scores = scored("panopticapi", [scene(seed) for seed in range(40)])
    counts = (scores.iou_sum, scores.true_positives, scores.false_positives, scores.false_negatives)
    np.testing.assert_allclose(np.stack(counts, 1), PANOPTICAPI, atol=1e-12, rtol=0)
    for name, means in PANOPTICAPI_MEANS.items():
        quality = getattr(scores, name)
        assert (quality.pq, quality.sq, quality.rq) == pytest.approx(means, abs=1e-12)


def test_the_record_puts_each_rule_to_the_test() -> None:
    """Other rules give other counts on the same scenes, so void, crowd and merging are all in play."""
    scenes = [scene(seed) for seed in range(40)]
    numbers = {scored(p, scenes).all.pq for p in ("panopticapi", "modified", "torchmetrics", "instances")}
    assert len(numbers) == 4


def pairs_for_torchmetrics(scene: Any) -> list[Any]:
    """(category, number) of each pixel, for both sides; 99 is void."""
    import torch

    found, of_found, true, of_true, _ = scene
    sides = [
        np.stack([np.where(ids > 0, np.r_[99, of][ids], 99), ids], -1)
        for ids, of in ((found, of_found), (true, of_true))
    ]
    return [torch.from_numpy(side.astype(np.int64))[None] for side in sides]


@pytest.mark.atlas("M13", "M14")
@pytest.mark.parametrize("protocol", ["torchmetrics", "torchmetrics-modified"])
def test_torchmetrics(protocol: str) -> None:
    from torchmetrics.detection import ModifiedPanopticQuality, PanopticQuality

    make = PanopticQuality if protocol == "torchmetrics" else ModifiedPanopticQuality
    theirs = make(things=set(range(4)), stuffs={4, 5}, allow_unknown_preds_category=True)
    scenes = [scene(seed) for seed in range(6)]
    for case in scenes:
        theirs.update(*pairs_for_torchmetrics(case))
    assert scored(protocol, scenes).all.pq == pytest.approx(float(theirs.compute()), abs=1e-6)


@pytest.mark.atlas("M13")
def test_torchmetrics_class_by_class() -> None:
    from torchmetrics.detection import PanopticQuality

    theirs = PanopticQuality(
        things=set(range(4)),
        stuffs={4, 5},
        allow_unknown_preds_category=True,
        return_per_class=True,
        return_sq_and_rq=True,
    )
    scenes = [scene(seed) for seed in range(6, 10)]
    for case in scenes:
        theirs.update(*pairs_for_torchmetrics(case))
    ours = scored("torchmetrics", scenes)
    values = np.stack([ours.pq, ours.sq, ours.rq], 1)
    np.testing.assert_allclose(values, theirs.compute().numpy(), atol=1e-6)


@pytest.mark.atlas("M14")
def test_dagger_equals_torchmetrics_without_void() -> None:
    from torchmetrics.detection import ModifiedPanopticQuality

    theirs = ModifiedPanopticQuality(things=set(range(4)), stuffs={4, 5})
    whole = []
    for seed in range(5):
        found, of_found, true, of_true, crowd = scene(seed)
        whole.append((np.where(found, found, 1), of_found, np.where(true, true, 1), of_true, crowd & False))
        theirs.update(*pairs_for_torchmetrics(whole[-1]))
    assert scored("modified", whole).all.pq == pytest.approx(float(theirs.compute()), abs=1e-6)


@pytest.mark.atlas("M15")
@pytest.mark.parametrize("seed", range(4))
def test_monai(seed: int) -> None:
    import torch
    from monai.metrics import compute_panoptic_quality

    found, _, true, _, _ = scene(seed)
    ours = panoptic_quality(found, true, protocol="monai")
    plain = panoptic_quality(found, true, protocol="instances")
    for name in ("pq", "sq", "rq"):
        sides = torch.from_numpy(found), torch.from_numpy(true)
        theirs = compute_panoptic_quality(*sides, metric_name=name).item()
        assert getattr(ours.all, name) == pytest.approx(theirs, abs=1e-6)
        exact = compute_panoptic_quality(*sides, metric_name=name, smooth_numerator=0.0).item()
        assert getattr(plain.all, name) == pytest.approx(exact, abs=1e-6)
