"""Polygons become the same masks as with pycocotools, pixel by pixel; run-length code of every form too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as reference

from segmentarium.data.coco_instances import crop_of as ours
from segmentarium.data.coco_instances import read_instances
from segmentarium.errors import BadMask
from segmentarium.ops.crops import crop_of_runs
from segmentarium.ops.polygons import fill, fill_crop
from segmentarium.ops.rle import decode, encode

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SIZES = st.tuples(st.integers(1, 50), st.integers(1, 50))
CORNERS = st.integers(3, 11).flatmap(
    lambda n: st.one_of(
        arrays(np.float64, (n, 2), elements=st.floats(-20, 70)),
        arrays(np.float64, (n, 2), elements=st.integers(-40, 140).map(lambda v: v / 2)),
        arrays(np.float64, (n, 2), elements=st.integers(-3, 52)),
    )
)


def theirs(parts: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    codes = reference.frPyObjects([part.ravel().tolist() for part in parts], *size)
    return _decoded(reference.merge(codes))


def _decoded(code: dict) -> np.ndarray:
    return decode({"size": [int(v) for v in code["size"]], "counts": code["counts"].decode()})


@settings(max_examples=150)
@given(st.lists(CORNERS, min_size=1, max_size=3), SIZES)
def test_same_pixels(parts: list[np.ndarray], size: tuple[int, int]) -> None:
    expected = theirs(parts, size)
    assert (fill(parts, size) == expected).all()
    crop = fill_crop(parts, size)
    assert crop.mask.sum() == expected.sum()
    if expected.any():
        assert crop.mask.any(0)[[0, -1]].all()
        assert crop.mask.any(1)[[0, -1]].all()


@pytest.mark.parametrize("seed", range(4))
def test_same_pixels_in_large_pictures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        parts = [rng.uniform(-30, 530, (int(rng.integers(3, 120)), 2)) for _ in range(rng.integers(1, 4))]
        assert (fill(parts, (480, 500)) == theirs(parts, (480, 500))).all()


def test_far_corners_cost_nothing() -> None:
    part = np.array([[-1e6, -1e6], [1e6, -1e6], [1e6, 1e6], [-1e6, 1e6]])
    assert fill([part], (4, 5)).all()


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (np.zeros((2, 2)), "polygon of 2 points"),
        (np.array([[0, 0], [np.nan, 1], [2, 2.0]]), "coordinate nan"),
        (np.array([[0, 0], [np.inf, 1], [2, 2.0]]), "coordinate inf"),
        (np.array([[0, 0], [1e12, 1], [2, 2.0]]), "coordinate 1"),
    ],
)
def test_what_is_no_polygon(part: np.ndarray, words: str) -> None:
    with pytest.raises(BadMask, match=words):
        fill([part], (4, 4))


@given(arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_runs_as_crops(mask: np.ndarray) -> None:
    size = (int(mask.shape[0]), int(mask.shape[1]))
    counts = np.array(reference.frPyObjects({"size": list(size), "counts": _runs(mask)}, *size)["size"])
    assert tuple(counts) == size
    crop = crop_of_runs(np.array(_runs(mask)), size)
    full = np.zeros(size, bool)
    full[crop.window] = crop.mask
    assert (full == mask).all()
    assert (
        encode(mask)["counts"].encode()
        == reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    )


@pytest.mark.parametrize(
    ("counts", "words"), [([3, -1, 10], "run of -1"), ([3, 5], "8 pixels"), ([], "0 pixels")]
)
def test_runs_that_do_not_fit(counts: list[int], words: str) -> None:
    with pytest.raises(BadMask, match=words):
        crop_of_runs(np.array(counts, np.int64), (3, 4))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data sets (../shared/data) are not here")
@pytest.mark.parametrize("name", ["coco128_instances", "coco_person_fg"])
def test_every_real_annotation(name: str) -> None:
    path = SHARED / name / "train" / "instances.json"
    table = json.loads(path.read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in table["images"]}
    pictures = read_instances(path).pictures
    names = {image["id"]: image["file_name"] for image in table["images"]}
    seen = 0
    for place, row in enumerate(table["annotations"]):
        size = sizes[row["image_id"]]
        code = reference.frPyObjects(row["segmentation"], *size)
        code = reference.merge(code) if isinstance(code, list) else code
        expected = _decoded(code)
        one = next(a for a in pictures[names[row["image_id"]]].annotations if a.row == place)
        crop = ours(one, size=size, path=path, image="")
        assert crop.mask.sum() == expected.sum()
        assert (expected[crop.window] == crop.mask).all()
        seen += 1
    assert seen == len(table["annotations"]) > 50


def _runs(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel()
    turns = np.flatnonzero(np.diff(flat, prepend=False))
    return np.diff(turns, prepend=0, append=flat.size).tolist()
