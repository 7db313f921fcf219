"""Interactive graph cuts against all cuts there are, and what marks and models do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segmentarium.classical.crf.energy import contrast_weights
from segmentarium.classical.graph_cut import gaussian_costs, graph_cut, histogram_costs, seeded_cut
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import both_ends, neighbours
from segmentarium.values import Grid, Volume

pytestmark = pytest.mark.atlas("C12")


def energies(
    sides: np.ndarray, costs: np.ndarray, links: tuple[np.ndarray, ...], offsets: tuple[Any, ...]
) -> np.ndarray:
    """Of many cut-outs, the last two axes being those of the picture."""
    total = np.where(sides, costs[1], costs[0]).sum(axis=(-2, -1))
    for link, offset in zip(links, offsets, strict=True):
        first, second = both_ends(offset)
        differs = sides[(..., *first)] != sides[(..., *second)]
        total += (link[first] * differs).sum(axis=(-2, -1))
    return np.asarray(total)


def scene() -> np.ndarray:
    """A bright disk on dark ground, noisy."""
    y, x = np.mgrid[:40, :50]
    noise = np.random.default_rng(0).normal(0, 12, (40, 50, 3))
    disk = ((y - 20) ** 2 + (x - 25) ** 2 < 144)[..., None]
    return np.clip(np.where(disk, [190, 150, 60], [60, 80, 110]) + noise, 0, 255).astype(np.uint8)


DISK = (np.mgrid[:40, :50][0] - 20) ** 2 + (np.mgrid[:40, :50][1] - 25) ** 2 < 144


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("connectivity", [4, 8])
def test_no_labelling_of_4_by_4_is_cheaper(seed: int, connectivity: int) -> None:
    draw = np.random.default_rng(seed)
    offsets = neighbours(2, connectivity)
    values, costs = draw.random((4, 4, 1)) * 255, draw.normal(0, 0.7, (2, 4, 4))
    links = contrast_weights(values, offsets)
    known = np.zeros((4, 4), np.int32)
    known[0, 0], known[3, 2] = 1, 2
    inside, value = seeded_cut(costs, known, links, offsets)
    every = (np.arange(2**16)[:, None] >> np.arange(16) & 1).astype(bool).reshape(-1, 4, 4)
    kept = every[~every[:, 0, 0] & every[:, 3, 2]]
    best = energies(kept, costs, links, offsets).min()
    assert value == pytest.approx(best, abs=1e-9)
    assert energies(inside, costs, links, offsets) == pytest.approx(best, abs=1e-9)
    assert not inside[0, 0]
    assert inside[3, 2]


@pytest.mark.parametrize("model", ["gaussians", "histogram"])
def test_finds_a_disk_from_two_points(model: Any) -> None:
    seeds = np.zeros((40, 50), np.int32)
    seeds[18:23, 22:29], seeds[:3] = 2, 1
    labels = graph_cut(scene(), seeds=seeds, model=model, bins=4).labels
    assert (labels == DISK).mean() > 0.98
    assert [c.name for c in graph_cut(scene(), seeds=seeds).classes] == ["background", "foreground"]


def test_borders_alone_are_enough_where_marks_are_wide() -> None:
    seeds = np.zeros((40, 50), np.int32)
    seeds[14:27, 18:33] = 2
    seeds[:3], seeds[-3:], seeds[:, :3], seeds[:, -3:] = 1, 1, 1, 1
    labels = graph_cut(scene(), seeds=seeds, region=0.0, sigma=30.0).labels
    assert (labels == DISK).mean() > 0.98


def test_marks_are_never_relabelled() -> None:
    seeds = np.random.default_rng(3).integers(0, 3, (40, 50)).astype(np.int32)
    labels = graph_cut(scene(), seeds=seeds, region=50.0).labels
    assert (labels[seeds == 1] == 0).all()
    assert (labels[seeds == 2] == 1).all()


def test_volumes_are_cut_with_their_spacing() -> None:
    z, y, x = np.mgrid[:8, :16, :16]
    ball = (2 * (z - 4)) ** 2 + (y - 8) ** 2 + (x - 8) ** 2 < 30
    noise = np.random.default_rng(1).normal(0, 10, ball.shape)
    voxels = np.clip(60 + 120 * ball + noise, 0, 255).astype(np.uint8)
    volume = Volume(voxels, grid=Grid.plain(ball.shape, (2.0, 1.0, 1.0)))
    for connectivity in (None, 26):
        found = graph_cut(
            volume, foreground=[(8, 8, 4)], background=[(0, 0, 0), (15, 15, 7)], connectivity=connectivity
        )
        assert (found.labels == ball).mean() > 0.98
        assert found.spacing_mm == (2.0, 1.0, 1.0)


def test_a_constant_picture_keeps_its_marks_and_nothing_more() -> None:
    seeds = np.pad(np.zeros((7, 7), np.int32), 1, constant_values=1)
    seeds[4, 4] = 2
    labels = graph_cut(np.full((9, 9, 3), 77, np.uint8), seeds=seeds).labels
    assert labels.sum() == 1
    assert labels[4, 4] == 1


def test_the_same_seed_gives_the_same_labels() -> None:
    marks: Any = {"foreground": [(25, 20), (20, 22)], "background": [(2, 2), (45, 35)]}
    first, second = (graph_cut(scene(), **marks, seed=4).labels for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_costs_are_negative_logs_of_densities() -> None:
    values = np.random.default_rng(0).normal(100, 9, (40, 40, 1)).astype(np.float32)
    marked = np.ones((40, 40), bool)
    mean, spread = values.mean(dtype=float), values.std(dtype=float)
    wanted = ((values[..., 0] - mean) / spread) ** 2 / 2 + np.log(spread * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(gaussian_costs(values, marked, 1, 0), wanted, rtol=1e-5)
    cells, seen = np.unique(histogram_costs(values, marked, 8).round(12), return_counts=True)
    np.testing.assert_allclose(np.exp(-cells), (seen + 1) / (1600 + 8))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"foreground": [(3, 3)]}, "seeds mark the labels 2"),
        ({"foreground": [(3, 3)], "background": [(3, 3)]}, "marked as 2 and as 1"),
        ({"foreground": [(50, 3)], "background": [(0, 0)]}, "outside the picture"),
        ({"seeds": np.arange(2000, dtype=np.int32).reshape(40, 50) % 4}, "the seed 3"),
        ({"foreground": [(3, 3)], "background": [(0, 0)], "connectivity": 6}, "6 neighbours"),
        ({"foreground": [(3, 3)], "background": [(0, 0)], "region": -1.0}, "region = -1"),
        (
            {"foreground": [(3, 3)], "background": [(0, 0)], "model": "histogram", "bins": 256},
            "a histogram of 256 bins for each of 3 channels",
        ),
    ],
)
def test_says_what_cannot_be(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        graph_cut(scene(), **arguments)
