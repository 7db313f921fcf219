"""Fingerprint and plan: facts from data, a reason for each choice, the same recipe for the same wishes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmentarium.data import open_data, write_data_set
from segmentarium.engine.fingerprint import fingerprint
from segmentarium.engine.plan import plan, seconds_of
from segmentarium.engine.recipe import Recipe
from segmentarium.errors import BadData, BadRecipe


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_data_set(folder, train=4, val=2, seed=3, size=(48, 64), classes=3)
    return folder


def stripes(folder: Path, *, upright: bool) -> Path:
    """Sky above ground, or two classes without a place of their own."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "train" / name).mkdir(parents=True)
    for number in range(4):
        mask = np.zeros((32, 32), np.uint8)
        mask[16:] = 1
        if not upright:
            mask = np.rot90(mask, number)
        Image.fromarray(mask).save(folder / "train" / "masks" / f"{number}.png")
        picture = (mask[..., None] * 100 + rng.integers(0, 50, (32, 32, 3))).astype(np.uint8)
        Image.fromarray(picture).save(folder / "train" / "images" / f"{number}.png")
    return folder


def test_fingerprint_counts_what_is_there(shapes: Path) -> None:
    data = open_data(shapes)
    facts = fingerprint(data)
    assert facts.images == {"train": 4, "val": 2}
    assert facts.sizes["median"] == (48, 64)
    assert facts.channels == 3
    assert sum(facts.class_share.values()) == pytest.approx(1)
    counts = np.zeros(3)
    for pair in data.train:
        counts += np.bincount(data.labels(pair).ravel(), minlength=3)
    assert list(facts.class_share.values()) == pytest.approx(list(counts / counts.sum()))


@pytest.mark.parametrize("upright", [True, False])
def test_fingerprint_tells_up_from_down(tmp_path: Path, upright: bool) -> None:
    assert fingerprint(open_data(stripes(tmp_path, upright=upright))).upright is upright


def test_edited_labels_change_the_fingerprint(tmp_path: Path) -> None:
    write_data_set(tmp_path, train=2, val=1, seed=0, size=(32, 32), classes=3)
    before = fingerprint(open_data(tmp_path)).content
    mask = next((tmp_path).rglob("masks/*.png"))
    pixels = np.array(Image.open(mask))
    pixels[0, 0] = 1 - min(1, pixels[0, 0])
    edited = Image.fromarray(pixels)
    edited.save(mask)
    assert fingerprint(open_data(tmp_path)).content != before


def test_every_choice_has_a_reason(shapes: Path) -> None:
    made = plan(shapes, time="30s")
    assert {"model", "train.crop", "train.loss", "train.steps"} <= set(made.reasons)
    assert made.recipe.train.steps >= 20
    assert made.recipe.train.crop == (64, 64)
    assert made.forecast.seconds > 0
    assert made.forecast.memory_mb > 0


def test_the_same_wishes_give_the_same_recipe(shapes: Path) -> None:
    """A resumed run plans again only if it has no recipe yet; nothing measured may enter."""
    first, second = (plan(shapes, model="unet-tiny", steps=60, seed=7).recipe for _ in range(2))
    assert first == second
    assert first.train.steps == 60


def test_a_plan_is_a_recipe_file(shapes: Path, tmp_path: Path) -> None:
    made = plan(shapes, epochs=2, model="unet-tiny")
    path = tmp_path / "recipe.toml"
    made.write(path)
    assert Recipe.read(path) == made.recipe
    assert "# train.steps: 2 passes over 4 images" in path.read_text(encoding="utf-8")


def test_the_paper_network_is_planned_too(shapes: Path) -> None:
    """Valid convolutions want sizes of their own; the forecast must not trip over them."""
    made = plan(shapes, model="unet", steps=1, crop=32, batch=1)
    assert made.forecast.step_s > 0


@pytest.mark.parametrize("time", ["soon", "-3m", "0", "3 days"])
def test_a_time_that_cannot_be_read(time: str) -> None:
    with pytest.raises(BadRecipe, match="time"):
        seconds_of(time)


def test_no_epochs_is_refused(shapes: Path) -> None:
    with pytest.raises(BadRecipe, match="0 epochs"):
        plan(shapes, model="unet-tiny", epochs=0)


def test_all_void_is_refused(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / "train" / name).mkdir(parents=True)
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "train" / "masks" / "a.png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "train" / "images" / "a.png")
    (tmp_path / "meta.json").write_text(
        '{"name": "void", "classes": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}], "ignore_index": 255}'
    )
    with pytest.raises(BadData, match="void"):
        fingerprint(open_data(tmp_path))
