"""The border weight map in batches: objects keep their numbers, and the map is that of the crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from segmentarium.data import open_data, write_data_set
from segmentarium.data.borders import Borders
from segmentarium.data.dataset import DataSet, MaskReading, Pair
from segmentarium.data.loader import Batch, TrainBatches
from segmentarium.data.normalise import Normalise
from segmentarium.data.pictures import Pictures
from segmentarium.data.transforms import Augment, augmented
from segmentarium.errors import BadData
from segmentarium.ops.border_weights import border_weights
from segmentarium.values.classes import VOID, Classes

BEND = Augment(scale=(0.7, 1.4), vflip=0.5, rot90=True, elastic=1.0, elastic_px=2.0, foreground_crop=0.5)
CROP = (24, 28)


def write_pair(root: Path, stem: str, numbers: np.ndarray) -> Pair:
    """A picture whose brightness is ten times the number of its object, and its 16-bit mask."""
    pair = Pair(stem, root / f"{stem}.png", root / f"{stem}_mask.png")
    Picture.fromarray((10 * numbers).astype(np.uint8)).save(pair.image)
    Picture.fromarray(numbers.astype(np.uint16)).save(root / f"{stem}_mask.png")
    return pair


def cells(seed: int) -> np.ndarray:
    """Nine squares in three rows; those of a row touch, one column of ground divides two of them."""
    numbers = np.zeros((40, 36), np.int32)
    for number in range(9):
        row, column = divmod(number, 3)
        numbers[2 + 13 * row : 12 + 13 * row, 2 + 11 * column : 13 + 11 * column] = number + 1
    numbers[:, 12 + seed % 2] = 0
    return numbers


@pytest.fixture
def numbered(tmp_path: Path) -> DataSet:
    pairs = tuple(write_pair(tmp_path, f"p{seed}", cells(seed)) for seed in range(3))
    return DataSet(
        name="cells",
        root=tmp_path,
        layout="folders",
        classes=Classes.named("ground", "cell"),
        splits={"train": pairs, "val": pairs[:1]},
        reading=MaskReading.INSTANCES,
        ignore_ids=(9,),
    )


def batches(data: DataSet, borders: Borders | None, *, workers: int = 0) -> TrainBatches:
    samples = Pictures(
        data, normalise=Normalise.plain(1), augment=BEND, crop=CROP, borders=borders, cache_mb=16.0
    )
    return TrainBatches(samples, batch=4, seed=5, workers=workers)


def crops(data: DataSet, made: TrainBatches, step: int) -> list[np.ndarray]:
    """The numbers of the objects in the crops of a batch, by the transforms alone."""
    found = []
    for position in range(4 * step, 4 * step + 4):
        pair = made._pair(position)
        decoded = made.samples._memory.decoded(pair)
        found.append(
            augmented(
                decoded.pixels,
                data.objects(pair),
                augment=BEND,
                crop=CROP,
                seed=(5, 1, position),
                anchors=decoded.anchors,
            )[1]
        )
    return found


def test_weights_are_those_of_the_objects_in_the_crop(numbered: DataSet) -> None:
    made = batches(numbered, Borders(w0=7.0, sigma_px=3.0, class_weights=(0.5, 2.0)))
    for step in range(3):
        batch = made.batch_at(step)
        assert batch.weights is not None
        for objects, weights, labels in zip(
            crops(numbered, made, step), batch.weights, batch.labels, strict=True
        ):
            expected = border_weights(objects, w0=7.0, sigma=3.0, class_weights=(0.5, 2.0))
            np.testing.assert_array_equal(weights.numpy(), expected)
            np.testing.assert_array_equal(labels.numpy(), np.minimum(objects, 1))


def test_touching_objects_stay_two(numbered: DataSet) -> None:
    """The ground between two cells counts more than the ground far from any."""
    made = batches(numbered, Borders())
    seen = [number for objects in crops(numbered, made, 0) for number in np.unique(objects)]
    assert len(set(seen)) > 4
    weights = made.batch_at(0).weights
    assert weights is not None
    assert weights.max() > 5
    assert weights.min() == 1


def test_images_and_labels_are_those_without_weights(numbered: DataSet) -> None:
    plain, weighed = (batches(numbered, borders).batch_at(2) for borders in (None, Borders()))
    assert torch.equal(plain.images, weighed.images)
    assert torch.equal(plain.labels, weighed.labels)
    assert plain.weights is None
    assert VOID in plain.labels.unique()


def test_threads_change_nothing(numbered: DataSet) -> None:
    def same(one: Batch, other: Batch) -> bool:
        assert one.weights is not None
        assert other.weights is not None
        return torch.equal(one.weights, other.weights) and torch.equal(one.labels, other.labels)

    plain = batches(numbered, Borders()).batches(0, 4)
    threaded = batches(numbered, Borders(), workers=3).batches(0, 4)
    assert all(same(one, other) for one, other in zip(plain, threaded, strict=True))


def test_objects_are_numbers_and_labels_their_classes(numbered: DataSet) -> None:
    pair = numbered.train[0]
    objects = numbered.objects(pair)
    assert set(np.unique(objects)) == {VOID, 0, 1, 2, 3, 4, 5, 6, 7, 8}
    np.testing.assert_array_equal(numbered.labels(pair), np.minimum(objects, 1))


def test_masks_of_classes_are_refused(tmp_path: Path) -> None:
    data = open_data(write_data_set(tmp_path / "shapes", train=2, val=1, size=(32, 32)))
    with pytest.raises(BadData, match=r"hold classes.*masks that number objects.*border_w0=0"):
        batches(data, Borders())
    with pytest.raises(BadData, match="hold classes"):
        data.objects(data.train[0])
