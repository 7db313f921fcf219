"""Region growing against a twin with a plain list, in pictures and volumes, and what grows where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segmentarium.classical.region_growing import grown, region_growing
from segmentarium.errors import BadArgument, BadImage
from segmentarium.ops.components import components
from segmentarium.ops.neighbours import neighbours
from segmentarium.values import Volume


def slow_twin(
    values: np.ndarray, known: np.ndarray, rule: str, tolerance: float, connectivity: int
) -> np.ndarray:
    """The whole list is searched for the next pixel, and means are of the pixels, at every step."""
    half = neighbours(known.ndim, connectivity)
    steps = sorted([*half, *(tuple(-s for s in step) for step in half)])
    labels, waiting, met = known.copy(), [], 0
    members = {i: [values[tuple(p)] for p in np.argwhere(known == i)] for i in range(1, known.max() + 1)}

    def gap(at: tuple[int, ...], label: int) -> float:
        mean = np.mean(members[label], axis=0, dtype=np.float64)
        return float(np.sqrt(((values[at] - mean) ** 2).sum()))

    def meet(at: tuple[int, ...], label: int) -> None:
        nonlocal met
        for step in steps:
            near = tuple(a + s for a, s in zip(at, step, strict=True))
            inside = all(0 <= a < n for a, n in zip(near, known.shape, strict=True))
            if inside and labels[near] == 0 and gap(near, label) <= tolerance:
                waiting.append((gap(near, label) if rule == "smallest" else 0, met, near, label))
                met += 1

    for at in map(tuple, np.argwhere(known)):
        meet(at, known[at])
    while waiting:
        best = min(waiting)
        waiting.remove(best)
        _, _, at, label = best
        if labels[at] == 0 and (rule == "seed" or gap(at, label) <= tolerance):
            labels[at] = label
            if rule != "seed":
                members[label].append(values[at])
            meet(at, label)
    return labels


@pytest.mark.parametrize("rule", ["seed", "mean", "smallest"])
@pytest.mark.parametrize(
    ("size", "channels", "connectivity"),
    [((9, 11), 1, 4), ((8, 9), 3, 8), ((4, 5, 6), 1, 6), ((4, 5, 5), 2, 26)],
)
def test_equals_its_slow_twin(size: tuple[int, ...], channels: int, connectivity: int, rule: Any) -> None:
    draw = np.random.default_rng(len(size) + channels)
    values = draw.uniform(0, 255, (*size, channels)).astype(np.float32)
    known = np.zeros(size, np.int32)
    known.flat[draw.choice(known.size, 5, replace=False)] = [1, 2, 2, 3, 4]
    for tolerance in (90.0, 1000.0):
        ours = grown(values, known, rule=rule, tolerance=tolerance, connectivity=connectivity)
        np.testing.assert_array_equal(ours, slow_twin(values, known, rule, tolerance, connectivity))


def test_takes_what_hangs_together() -> None:
    picture = np.zeros((10, 12), np.uint8)
    picture[2:5, 2:5], picture[6:9, 7:10] = 100, 110
    result = region_growing(picture, foreground=((3, 3),))
    assert result.classes.names == ("background", "foreground")
    assert (result.labels == (picture == 100)).all()
    seeds = np.zeros((10, 12), np.int32)
    seeds[3, 3], seeds[7, 8], seeds[0, 0] = 1, 2, 3
    several = region_growing(picture, seeds=seeds)
    assert several.classes.names == ("background", "label 1", "label 2", "label 3")
    assert (several.labels == np.select([picture == 100, picture == 110], [1, 2], 3)).all()


def test_a_ramp_leads_a_running_mean_farther() -> None:
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (5, 1))
    fixed, running = (
        region_growing(ramp, foreground=((2, 2),), rule=rule, tolerance=30.0).labels.sum(0) > 0
        for rule in ("seed", "mean")
    )
    assert np.flatnonzero(fixed).tolist() == list(range(10))
    assert running.sum() > fixed.sum()


def test_smallest_shares_out_everything() -> None:
    draw = np.random.default_rng(0)
    truth = np.add.outer(np.arange(30), np.arange(40)) > 34
    picture = np.clip(np.where(truth, 150, 90) + draw.normal(0, 12, truth.shape), 0, 255).astype(np.uint8)
    labels = region_growing(picture, foreground=((35, 25),), background=((2, 2),), rule="smallest").labels
    assert (labels == truth).mean() > 0.97
    assert components(labels == 1)[1] == 1


def test_volumes_and_corners() -> None:
    voxels = np.zeros((3, 3, 3), np.uint8)
    voxels[0, 0, 0] = voxels[1, 1, 1] = voxels[2, 2, 2] = 200
    volume = Volume.plain(voxels)
    assert region_growing(volume, foreground=((1, 1, 1),)).labels.sum() == 1
    assert region_growing(volume, foreground=((1, 1, 1),), connectivity=18).labels.sum() == 1
    assert region_growing(volume, foreground=((1, 1, 1),), connectivity=26).labels.sum() == 3


def test_one_colour_and_one_pixel() -> None:
    assert region_growing(np.full((5, 6), 7, np.uint8), foreground=((0, 0),)).labels.all()
    assert region_growing(np.full((1, 1, 3), 7, np.uint8), foreground=((0, 0),)).labels.all()


def test_what_is_refused() -> None:
    picture = np.zeros((4, 5), np.uint8)
    with pytest.raises(BadArgument, match="no seed"):
        region_growing(picture)
    with pytest.raises(BadArgument, match="outside the picture; allowed: x from 0 to 4, y from 0 to 3"):
        region_growing(picture, foreground=((5, 0),))
    with pytest.raises(BadArgument, match="marked as"):
        region_growing(picture, foreground=((1, 1),), background=((1, 1),))
    with pytest.raises(BadArgument, match="tolerance"):
        region_growing(picture, foreground=((1, 1),), tolerance=-1.0)
    with pytest.raises(BadImage):
        region_growing(np.full((2, 2), np.nan), foreground=((0, 0),))
