"""What comes out: regions with numbers and mean colours, or names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pil

from segmentarium.classical.levels import levels
from segmentarium.classical.partition import cut_out, is_partition, named, regions, renumbered


def test_regions_are_numbered_as_a_scan_meets_them() -> None:
    found, count = renumbered(np.array([[7, 7, 3], [9, 3, 3]]))
    assert (found.tolist(), count) == ([[0, 0, 1], [2, 1, 1]], 3)
    far, count = renumbered(np.array([[10**9, -5], [10**9, 8]]))
    assert (far.tolist(), count) == ([[0, 1], [0, 2]], 3)
    rng = np.random.default_rng(0)
    labels = rng.integers(-3, 40, (30, 20)).astype(np.int16)
    found, count = renumbered(labels)
    seen = list(dict.fromkeys(labels.ravel().tolist()))
    assert count == len(seen)
    assert found.ravel().tolist() == [seen.index(value) for value in labels.ravel()]


def test_regions_have_their_mean_colours_and_can_be_saved(tmp_path: Path) -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[:, 2] = (90, 60, 30)
    picture[0, 2] = (91, 60, 30)
    result = regions(np.array([[4, 4, 1], [4, 4, 1]]), levels(picture))
    assert [c.color for c in result.classes] == [(0, 0, 0), (90, 60, 30)]
    assert is_partition(result)
    with Pil.open(result.save(tmp_path / "parts.png")) as saved:
        assert np.asarray(saved).tolist() == [[0, 0, 1], [0, 0, 1]]


def test_more_regions_than_a_byte_holds(tmp_path: Path) -> None:
    labels = np.arange(400).reshape(20, 20)
    result = regions(labels, levels(np.zeros((20, 20), np.uint8)))
    with Pil.open(result.save(tmp_path / "many.png")) as saved:
        assert np.array_equal(np.asarray(saved), labels)


def test_names_have_colours_and_a_background_has_none() -> None:
    picture = levels(np.zeros((1, 3), np.uint8))
    cut = cut_out(np.array([[True, False, True]]), picture)
    assert cut.labels.tolist() == [[1, 0, 1]]
    assert cut.classes.names == ("background", "foreground")
    assert cut.classes[0].color == (0, 0, 0)
    phases = named(np.array([[0, 1, 2]]), ("phase 1", "phase 2", "phase 3"), picture)
    assert (0, 0, 0) not in [c.color for c in phases.classes]
    assert not is_partition(cut)
    assert not is_partition(phases)
