"""Batches: the same whatever rank, threads and start; fresh when files change; errors that name the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from segmentarium.data.dataset import DataSet, Pair
from segmentarium.data.loader import Batch, TrainBatches, val_samples
from segmentarium.data.memory import Memory
from segmentarium.data.normalise import Normalise
from segmentarium.data.pictures import Pictures
from segmentarium.data.transforms import Augment
from segmentarium.errors import BadData, BadImage, BadRecipe, SegError
from segmentarium.values.classes import VOID, Classes

LONG_AGO = 1_600_000_000


def write_pair(
    root: Path, stem: str, *, size: tuple[int, int] = (12, 10), label: int = 1, seed: int = 0
) -> Pair:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    mask = np.full(size, label, np.uint8)
    mask[: size[0] // 2] = 0
    pair = Pair(stem, root / f"{stem}.png", root / f"{stem}_mask.png")
    Picture.fromarray(pixels).save(pair.image)
    Picture.fromarray(mask).save(root / f"{stem}_mask.png")
    return pair


def data_set(root: Path, pairs: tuple[Pair, ...]) -> DataSet:
    classes = Classes.named("ground", "thing", "other")
    return DataSet(
        name="d", root=root, layout="folders", classes=classes, splits={"train": pairs, "val": pairs[:1]}
    )


@pytest.fixture
def drawn(tmp_path: Path) -> DataSet:
    return data_set(tmp_path, tuple(write_pair(tmp_path, f"p{i}", seed=i) for i in range(5)))


def batches(data: DataSet, **changes: object) -> TrainBatches:
    settings = {
        "normalise": Normalise.plain(3),
        "augment": Augment(foreground_crop=0.5),
        "crop": (8, 6),
        "batch": 4,
        "seed": 7,
        "cache_mb": 16.0,
    }
    told = {**settings, **changes}
    schedule = {key: told.pop(key) for key in ("batch", "seed", "rank", "world", "workers") if key in told}
    return TrainBatches(Pictures(data, **told), **schedule)


def same(one: Batch, other: Batch) -> bool:
    return bool(
        torch.equal(one.images, other.images)
        and torch.equal(one.labels, other.labels)
        and one.stems == other.stems
    )


def test_shapes_and_values(drawn: DataSet) -> None:
    batch = batches(drawn).batch_at(0)
    assert batch.images.shape == (4, 3, 8, 6)
    assert batch.labels.shape == (4, 8, 6)
    assert batch.labels.dtype == torch.int64
    assert set(batch.labels.unique().tolist()) <= {VOID, 0, 1}
    assert 0 <= batch.images.min() <= batch.images.max() <= 1


def test_each_epoch_holds_each_picture_once(drawn: DataSet) -> None:
    stems = [stem for batch in batches(drawn).batches(0, 5) for stem in batch.stems]
    epochs = [stems[i : i + 5] for i in range(0, 20, 5)]
    assert all(len(set(epoch)) == 5 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert batches(drawn).steps_per_epoch == 1.25


def test_a_step_does_not_depend_on_those_before_it(drawn: DataSet) -> None:
    run = list(batches(drawn).batches(0, 4))
    assert same(batches(drawn).batch_at(3), run[3])
    assert same(next(batches(drawn).batches(2, 3)), run[2])
    assert not same(batches(drawn, seed=8).batch_at(3), run[3])


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(drawn: DataSet, workers: int) -> None:
    plain = batches(drawn).batches(0, 6)
    threaded = batches(drawn, workers=workers).batches(0, 6)
    assert all(same(a, b) for a, b in zip(plain, threaded, strict=True))


def test_workers_leave_the_threads_of_the_network_alone(drawn: DataSet) -> None:
    before = torch.get_num_threads()
    for _ in batches(drawn, workers=2).batches(0, 2):
        assert torch.get_num_threads() == before


def test_processes_share_one_batch(drawn: DataSet) -> None:
    whole = batches(drawn).batch_at(1)
    parts = [batches(drawn, rank=rank, world=2).batch_at(1) for rank in (0, 1)]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
    with pytest.raises(BadRecipe, match="got 4 for 3 processes"):
        batches(drawn, world=3)


def test_channels_last_has_the_same_values(drawn: DataSet) -> None:
    plain, last = (
        batches(drawn, memory_format=f).batch_at(0) for f in (torch.contiguous_format, torch.channels_last)
    )
    assert last.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain.images, last.images)


@pytest.mark.parametrize("size", [(12, 10), (1, 1), (3, 40)])
def test_one_picture_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    data = data_set(tmp_path, (write_pair(tmp_path, "only", size=size),))
    batch = batches(data).batch_at(2)
    assert batch.stems == ("only",) * 4
    assert batch.images.shape == (4, 3, 8, 6)


def test_no_foreground_at_all(tmp_path: Path) -> None:
    data = data_set(tmp_path, (write_pair(tmp_path, "empty", label=0),))
    assert set(batches(data, augment=Augment(foreground_crop=1.0)).batch_at(0).labels.unique().tolist()) <= {
        VOID,
        0,
    }


def test_no_mask_at_all(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, "p")
    with pytest.raises(BadData, match="no training image has a mask"):
        batches(data_set(tmp_path, (Pair("p", pair.image, None),)))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_is_named(drawn: DataSet, workers: int) -> None:
    drawn.train[2].image.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(BadImage, match=r"p2\.png"):
        list(batches(drawn, workers=workers).batches(0, 3))


def test_whatever_goes_wrong_the_file_is_named(drawn: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(DataSet, "labels", burst)
    with pytest.raises(BadData, match=r"p\d\.png could not be prepared .*oh"):
        batches(drawn).batch_at(0)


def test_wrong_channels_name_the_file(drawn: DataSet) -> None:
    with pytest.raises(SegError, match=r"p\d\.png.*network of 5 channels"):
        batches(drawn, normalise=Normalise.plain(5)).batch_at(0)


def test_conversions_are_noted_once(drawn: DataSet) -> None:
    grey = batches(drawn, normalise=Normalise.plain(1))
    grey.batch_at(0)
    assert len(grey.notes) == 1
    assert "brightness" in grey.notes[0]


def settle(data: DataSet) -> None:
    """Pretend that the files are old: the memory keeps no file that was changed a moment ago."""
    for pair in data.train:
        for path in (pair.image, pair.mask):
            assert path is not None
            os.utime(path, (LONG_AGO, LONG_AGO))


def memory(data: DataSet, monkeypatch: pytest.MonkeyPatch, budget_mb: float = 16.0) -> Memory:
    monkeypatch.setattr("segmentarium.data.memory._SETTLED_S", -1e9)
    return batches(data, cache_mb=budget_mb).samples._memory


def test_pictures_are_decoded_once(drawn: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = memory(drawn, monkeypatch)
    assert kept.decoded(drawn.train[0]) is kept.decoded(drawn.train[0])
    assert len(kept) == 1
    assert kept.used_mb > 0


def test_an_edited_mask_is_never_ignored(drawn: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if its size is the same and its time of writing was put back."""
    kept, pair = memory(drawn, monkeypatch), drawn.train[0]
    settle(drawn)
    assert kept.decoded(pair).truth.max() == 1
    assert pair.mask is not None
    Picture.fromarray(np.full((12, 10), 2, np.uint8)).save(pair.mask)
    settle(drawn)
    assert (kept.decoded(pair).truth == 2).all()
    assert len(kept) == 1


def test_a_file_changed_a_moment_ago_is_not_trusted(drawn: DataSet) -> None:
    kept = batches(drawn).samples._memory
    kept.decoded(drawn.train[0])
    assert len(kept) == 0


def test_the_budget_holds(drawn: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = memory(drawn, monkeypatch, budget_mb=0.002)
    for pair in drawn.train:
        kept.decoded(pair)
    assert 0 < len(kept) < 5
    assert kept.used_mb <= 0.002


def test_val_samples_are_whole(drawn: DataSet) -> None:
    ((stem, image, labels),) = val_samples(drawn)
    assert stem == "p0"
    assert image.size == labels.shape == (12, 10)
