"""Training by the border weight map: it runs, matters, resumes to the bit, is refused where it cannot be."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from segmentarium.data import open_data, write_data_set
from segmentarium.data.dataset import MaskReading
from segmentarium.engine.events import Event, Step
from segmentarium.engine.learner import Learner
from segmentarium.engine.prepare import prepare
from segmentarium.engine.recipe import Recipe
from segmentarium.engine.runfolder import RunFolder
from segmentarium.engine.train import train
from segmentarium.errors import BadData, BadRecipe

NUCLEI = Path(__file__).parents[3] / "src" / "segmentarium" / "data" / "nuclei"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn shapes whose masks number the objects."""
    root = write_data_set(
        tmp_path_factory.mktemp("data") / "things",
        train=4,
        val=2,
        size=(48, 48),
        seed=1,
        layout="segmentarium",
    )
    for split in ("train", "val"):
        shutil.rmtree(root / split / "masks")
        (root / split / "instances").rename(root / split / "masks")
    facts = {"classes": ["ground", "thing"], "mask_reading": "instances"}
    (root / "meta.json").write_text(json.dumps(facts), encoding="utf-8")
    return root


def recipe(data: Path, **changes: object) -> Recipe:
    settings = {
        "steps": 4, "batch": 4, "crop": [32, 32], "lr": 0.01, "deterministic": True, "checkpoint_every": 2,
        "device": "cpu", "border_w0": 10.0, "border_sigma_px": 3.0, "class_weights": "inverse_sqrt",
    }  # fmt: skip
    return Recipe.from_dict({"model": "unet-tiny", "data": str(data), "train": {**settings, **changes}})


@pytest.fixture(scope="module")
def calm(objects: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("calm") / "run"
    return out, list(train(recipe(objects), out=out, check_first=False))


def bits(out: Path) -> str:
    return hashlib.sha256((out / "weights" / "last.safetensors").read_bytes()).hexdigest()


def test_the_weights_change_what_is_learnt(
    calm: tuple[Path, list[Event]], objects: Path, tmp_path: Path
) -> None:
    plain = list(train(recipe(objects, border_w0=0.0), out=tmp_path / "run", check_first=False))
    first = [next(e.loss for e in events if isinstance(e, Step)) for events in (plain, calm[1])]
    assert first[0] != first[1]
    assert bits(tmp_path / "run") != bits(calm[0])


def test_a_run_goes_on_to_the_bit(calm: tuple[Path, list[Event]], objects: Path, tmp_path: Path) -> None:
    events = train(recipe(objects), out=tmp_path / "run", check_first=False)
    for event in events:
        if isinstance(event, Step) and event.step == 3:
            break
    events.close()  # type: ignore[attr-defined]
    list(train(recipe(objects, workers=2), out=tmp_path / "run", resume=True))
    assert bits(tmp_path / "run") == bits(calm[0])


def test_the_weights_of_classes_are_a_part_of_the_map(objects: Path, tmp_path: Path) -> None:
    """The paper adds them, where a loss that knew them, too, would multiply."""
    prepared = prepare(
        recipe(objects), RunFolder(tmp_path / "run"), resume=False, check_first=False, overwrite=False
    )
    assert prepared.borders is not None
    assert prepared.class_weights is not None
    assert prepared.borders.class_weights == pytest.approx(prepared.class_weights.tolist())
    assert prepared.learner().door.loss.class_weights is None
    batch = prepared.batches().batch_at(0)
    assert batch.weights is not None
    assert float(batch.weights[batch.labels == 1].max()) == pytest.approx(prepared.borders.class_weights[1])


def test_halves_take_their_weights_along(
    objects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Learner._accumulate, iter(range(100))

    def accumulate(self: Learner, *batch: torch.Tensor | None) -> dict[str, torch.Tensor]:
        if next(calls) == 0:
            raise torch.OutOfMemoryError("out of memory")
        return real(self, *batch)

    monkeypatch.setattr(Learner, "_accumulate", accumulate)
    events = list(train(recipe(objects, steps=1), out=tmp_path / "run", check_first=False))
    assert any(isinstance(event, Step) for event in events)


def test_masks_of_classes_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "shapes", train=2, val=1, size=(48, 48))
    with pytest.raises(BadData, match=r"hold classes, so borders between touching objects are not known"):
        next(train(recipe(data), out=tmp_path / "run", check_first=False))
    assert not (tmp_path / "run").exists()


def test_impossible_settings_are_refused(objects: Path) -> None:
    with pytest.raises(BadRecipe, match=r"border_w0: got -1"):
        recipe(objects, border_w0=-1.0)
    with pytest.raises(BadRecipe, match=r"border_sigma_px: got 0"):
        recipe(objects, border_sigma_px=0.0)


def test_the_bundled_nuclei_number_their_objects() -> None:
    data = open_data(NUCLEI)
    assert data.reading is MaskReading.INSTANCES
    assert int(data.objects(data.train[0]).max()) > 1
