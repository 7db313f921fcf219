"""The strict reader, the writer, and the overrides of recipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentarium.data.transforms import Augment
from segmentarium.engine.recipe import Recipe, Train
from segmentarium.errors import BadRecipe

RECIPES = Path(__file__).parents[3] / "recipes"

WHOLE = """
model = "unet-small"
data = "cells, größe ☃"
seed = 3

[train]
steps = 60
crop = [48, 64]
lr = 6e-5
loss = { cross_entropy = 1, dice = 0.5 }

[augment]
vflip = 0.5

[expect]
mean_iou = [0.5, 1]
"""


def read(text: str, tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return Recipe.read(path)


def test_a_file_is_read_and_the_rest_has_defaults(tmp_path: Path) -> None:
    recipe = read(WHOLE, tmp_path)
    assert recipe.model == "unet-small"
    assert recipe.train == Train(steps=60, crop=(48, 64), lr=6e-5, loss={"cross_entropy": 1.0, "dice": 0.5})
    assert recipe.augment == Augment(vflip=0.5)
    assert recipe.expect == {"mean_iou": (0.5, 1.0)}


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    recipe = read(WHOLE, tmp_path).override(
        ["train.time_limit_s=90", "train.lr=1e-5", 'data="a\\"\\\\\\n\\u007f"']
    )
    assert read(recipe.to_toml(), tmp_path) == recipe
    assert Recipe.from_dict(recipe.as_dict()) == recipe


@given(
    lr=st.floats(1e-300, 1e300),
    data=st.text(st.characters(codec="utf-8")),
    key=st.text(min_size=1),
    seed=st.integers(),
)
def test_any_value_survives_the_file(lr: float, data: str, key: str, seed: int) -> None:
    import tomllib

    recipe = Recipe(data=data, seed=seed, train=Train(lr=lr), expect={key: (0.0, 1.0)})
    if "\ud800" <= max(data + key) <= "\udfff" or any("\ud800" <= c <= "\udfff" for c in data + key):
        return
    assert Recipe.from_dict(tomllib.loads(recipe.to_toml())) == recipe


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[train]\nstep = 1", "recipe.train: unknown key 'step'; did you mean 'steps'?"),
        ("[tain]\nsteps = 1", "recipe: unknown key 'tain'; did you mean 'train'?"),
        ("[train]\nsteps = 'many'", "recipe.train.steps: expected int, got 'many'"),
        ("[train]\nsteps = 1.0", "recipe.train.steps: expected int, got 1.0"),
        ("[train]\nsteps = true", "recipe.train.steps: expected int, got true"),
        ("[train]\nsteps = 0", "recipe.train.steps: got 0; allowed: at least 1"),
        ("[train]\nlr = '1e-4'", "recipe.train.lr: expected a number, got '1e-4'"),
        ("[train]\nlr = nan", "recipe.train.lr: expected a number, got nan"),
        ("[train]\nlr = 0", "recipe.train.lr: got 0.0; allowed: a number above 0"),
        ("[train]\nema = 1", "recipe.train.ema: got 1.0; allowed: 0 up to, but not, 1"),
        ("[train]\ncrop = [48]", "recipe.train.crop: got [48]"),
        ("[train]\ncrop = [48, 0]", "recipe.train.crop: got (48, 0); allowed: at least 1"),
        ("[train]\ncrop = 48", "recipe.train.crop: expected a list of int, got 48"),
        ("[train]\nloss = 1", "recipe.train.loss: expected a table, got 1"),
        ("[train]\nloss = { dice = 0 }", "recipe.train.loss: got {"),
        ("[train]\noptimizer = 'adan'", "did you mean 'adam'?"),
        ("[train]\nprecision = 16", "recipe.train.precision: got 16; allowed: '32', 'bf16', '16'"),
        ("[train]\ndeterministic = 1", "recipe.train.deterministic: expected true or false, got 1"),
        ("[augment]\nhflip = 2", "recipe.augment.hflip"),
        ("train = 3", "recipe.train: expected a table, got 3"),
        ("[train]\nsteps = 1\nsteps = 2\n", "line 3"),
        ("model = ", "end of document"),
    ],
)
def test_a_fault_is_told_in_one_sentence(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe) as error:
        read(text, tmp_path)
    assert told in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "recipe.toml"))
    assert "\n" not in str(error.value)


def test_a_missing_or_binary_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="No such file"):
        Recipe.read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadRecipe, match="not UTF-8"):
        Recipe.read(tmp_path / "binary.toml")


def test_overrides_take_toml_values_and_bare_words() -> None:
    recipe = Recipe().override(
        ["train.steps=60", "model=unet-small", "train.loss.dice=2", "train.crop=[8, 16]"]
    )
    assert (recipe.train.steps, recipe.model, recipe.train.crop) == (60, "unet-small", (8, 16))
    assert recipe.train.loss == {"cross_entropy": 1.0, "dice": 2.0}


def test_a_loss_may_have_settings(tmp_path: Path) -> None:
    recipe = Recipe().override(["train.loss.focal={ weight = 2.0, gamma = 3 }"])
    assert recipe.train.loss == {"cross_entropy": 1.0, "focal": {"weight": 2.0, "gamma": 3}}
    assert read(recipe.to_toml(), tmp_path) == recipe
    assert recipe.override(["train.loss.focal.gamma=4"]).train.loss["focal"] == {"weight": 2.0, "gamma": 4}
    for wrong in ("train.loss.focal={ weight = -1.0 }", "train.loss.focal=many", "train.loss={ dice = 0 }"):
        with pytest.raises(BadRecipe, match=r"recipe\.train\.loss"):
            Recipe().override([wrong])


@pytest.mark.parametrize(
    "setting", ["train.steps", "train.step=1", "train.steps=many", "model.x=1", "train.steps=1\nseed=2"]
)
def test_an_override_is_read_as_strictly(setting: str) -> None:
    with pytest.raises(BadRecipe):
        Recipe().override([setting])


def test_differences_name_the_keys() -> None:
    other = Recipe().override(["train.lr=0.5", "train.time_limit_s=5"])
    assert Recipe().differences(other) == {"train.lr": (0.001, 0.5), "train.time_limit_s": (None, 5.0)}


def test_only_tables_that_matter_are_written(tmp_path: Path) -> None:
    flat, deep = Recipe(), Recipe().override(["train.crop=[8, 16, 16]"])
    assert "augment" in flat.as_dict()
    assert "augment3d" not in flat.as_dict()
    assert "augment" not in deep.as_dict()
    assert {"augment3d", "volumes"} <= set(deep.as_dict())
    bent = deep.override(["augment.hflip=0.0", "volumes.spacing_mm=[2.5, 1.0, 1.0]"])
    assert bent.as_dict()["augment"]["hflip"] == 0.0
    assert bent.volumes.target_mm == (2.5, 1.0, 1.0)
    for recipe in (flat, deep, bent):
        assert read(recipe.to_toml(), tmp_path) == recipe
    with pytest.raises(BadRecipe, match="spacing_mm"):
        deep.override(["volumes.spacing_mm=[1.0, 0.0, 1.0]"])


@pytest.mark.parametrize("data", ["", " "])
def test_a_recipe_without_data_does_not_mean_the_current_folder(data: str) -> None:
    with pytest.raises(BadRecipe, match=r"names no data.*--set data=PATH"):
        _ = Recipe(data=data).data_folder
    assert Recipe(data=data).override(["data=."]).data_folder == "."


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_of_ours_names_its_command_and_its_band(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"# seg train recipes/{path.name} -o runs/")
    recipe = Recipe.read(path)
    assert recipe.data_folder.startswith("../shared/data/")
    assert bool(recipe.expect) == (path.stem != "unetr-hippocampus")  # it was not run to its end
    assert all(0 < low < high < 1 and high - low <= 0.3 for low, high in recipe.expect.values())


def test_a_recipe_on_made_data_says_how_to_make_it() -> None:
    path = RECIPES / "fc_densenet-camvid.toml"
    made = Recipe.read(path).data
    told = re.search(r"python (examples/\w+\.py) (\S+) (\S+)", path.read_text(encoding="utf-8"))
    assert told is not None
    assert (RECIPES.parent / told[1]).is_file()
    assert told[3] == made


@pytest.mark.parametrize("path", sorted((RECIPES / "papers").glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_of_a_paper_asks_for_data(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# seg train recipes/papers/{path.name} --set data=PATH"
    recipe = Recipe.read(path)
    assert (recipe.data, recipe.expect) == ("", {})
