"""Nothing that is asked for is passed over: it enters the recipe, or it is refused in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from segmentarium.data import write_data_set
from segmentarium.engine.events import Finished, Note, Started, Step
from segmentarium.engine.fit import fit
from segmentarium.engine.recipe import Recipe
from segmentarium.engine.train import train
from segmentarium.engine.wishes import Wishes, settle
from segmentarium.errors import BadRecipe, BadRun


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(
        tmp_path_factory.mktemp("shapes") / "set", train=4, val=2, seed=3, size=(48, 48), classes=3
    )


@pytest.fixture(scope="module")
def begun(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps, two passes over the images, that was stopped after the fourth."""
    out = tmp_path_factory.mktemp("begun") / "run"
    settings = {"steps": 8, "batch": 2, "crop": [32, 32], "checkpoint_every": 2, "device": "cpu"}
    recipe = Recipe.from_dict({"model": "unet-tiny", "data": str(shapes), "train": settings})
    events = train(recipe, out=out, check_first=False)
    for event in events:
        if isinstance(event, Step) and event.step == 4:
            break
    events.close()  # type: ignore[attr-defined]
    return out


def resumed(out: Path, **wishes: Any) -> Wishes:
    return Wishes(**{"source": None, "out": out, "resume": True, **wishes})


@pytest.mark.parametrize(
    ("wish", "key"),
    [
        ({"model": "unet-small"}, "model was 'unet-tiny' and is 'unet-small'"),
        ({"crop": 48}, r"train\.crop was \[32, 32\] and is \[48, 48\]"),
        ({"batch": 4}, r"train\.batch was 2 and is 4"),
        ({"lr": 0.5}, r"train\.lr was 0\.001 and is 0\.5"),
        ({"amp": True}, r"train\.precision was '32' and is 'bf16'"),
        ({"seed": 9}, "seed was 0 and is 9"),
        ({"epochs": 5}, r"train\.steps was 8 and is 10 \(more steps would change the rates"),
        ({"settings": ("train.steps=60",)}, r"train\.steps was 8 and is 60"),
        ({"settings": ("augment.hflip=0",)}, r"augment\.hflip"),
    ],
)
def test_what_would_change_a_resumed_run_is_refused_by_name(
    wish: dict[str, Any], key: str, begun: Path
) -> None:
    with pytest.raises(BadRecipe, match=key):
        settle(resumed(begun, **wish))


@pytest.mark.parametrize(
    ("wish", "key", "value"),
    [
        ({"workers": 1}, "workers", 1),
        ({"device": "cuda:1"}, "device", "cuda:1"),
        ({"device": "auto"}, "device", "auto"),
        ({"time": "2m"}, "time_limit_s", 120.0),
        ({"settings": ("train.log_every=5",)}, "log_every", 5),
    ],
)
def test_what_changes_the_cost_alone_is_taken(
    wish: dict[str, Any], key: str, value: object, begun: Path
) -> None:
    recipe, made = settle(resumed(begun, **wish))
    assert made is None
    assert getattr(recipe.train, key) == value


def test_the_command_that_began_a_run_can_be_given_again(begun: Path, shapes: Path) -> None:
    same = {
        "source": shapes,
        "model": "unet-tiny",
        "crop": 32,
        "batch": 2,
        "lr": 1e-3,
        "epochs": 4,
        "amp": False,
    }
    assert settle(resumed(begun, **same))[0] == Recipe.read(begun / "recipe.toml")
    assert settle(resumed(begun, source=begun / "recipe.toml"))[0] == Recipe.read(begun / "recipe.toml")


def test_another_recipe_file_is_refused(begun: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(
        Recipe.read(begun / "recipe.toml").override(["train.lr=0.5"]).to_toml(), encoding="utf-8"
    )
    with pytest.raises(BadRecipe, match=r"train\.lr was 0\.001 and is 0\.5.*seg train -o .* --resume"):
        settle(resumed(begun, source=other))


def test_other_data_are_refused_and_moved_data_are_not(begun: Path, shapes: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(begun, tmp_path / "run"))
    other = write_data_set(tmp_path / "other", train=4, val=2, seed=4, size=(48, 48), classes=3)
    with pytest.raises(BadRun, match="not those the run began with"):
        list(fit(resumed(run, source=other)))
    moved = Path(shutil.copytree(shapes, tmp_path / "moved"))
    events = list(fit(resumed(run, source=moved)))
    assert [event.step for event in events if isinstance(event, Step)] == [5, 6, 7, 8]
    assert (run / "report.html").is_file()


def test_a_time_counts_from_the_resumption(begun: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(begun, tmp_path / "run"))
    events = list(fit(resumed(run, settings=("train.time_limit_s=0.001",))))
    assert any("from now" in event.text for event in events if isinstance(event, Note))
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].step) == ("time", 5)
    rest = list(fit(resumed(run, time="1h")))
    assert isinstance(rest[-1], Finished)
    assert (rest[-1].reason, rest[-1].step) == ("done", 8)


def test_going_on_and_beginning_anew_exclude_each_other(begun: Path) -> None:
    with pytest.raises(BadRecipe, match="--resume and --exist-ok came together"):
        settle(resumed(begun, exist_ok=True))


def test_before_the_first_checkpoint_a_wish_is_still_free(begun: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(begun / "recipe.toml", tmp_path / "run")
    assert settle(resumed(tmp_path / "run", lr=0.5))[0].train.lr == 0.5


def test_settings_win_over_passes_in_a_recipe_file_too(begun: Path, tmp_path: Path) -> None:
    flags = {"epochs": 5, "settings": ("train.steps=3",), "time": "5m"}
    recipe, _ = settle(Wishes(source=begun / "recipe.toml", out=tmp_path / "new", **flags))  # type: ignore[arg-type]
    assert (recipe.train.steps, recipe.train.time_limit_s) == (3, 300.0)


def test_mixed_precision_of_a_recipe_stays_what_it_is(begun: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.toml"
    half.write_text(
        Recipe.read(begun / "recipe.toml").override(['train.precision="16"']).to_toml(), encoding="utf-8"
    )

    def precision(amp: bool | None) -> str:
        return settle(Wishes(source=half, out=tmp_path / "new", amp=amp))[0].train.precision

    assert (precision(None), precision(True), precision(False)) == ("16", "16", "32")


def test_no_passes_at_all_are_refused(begun: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="0 epochs"):
        settle(Wishes(source=begun / "recipe.toml", out=tmp_path / "new", epochs=0))


@pytest.mark.parametrize("further", [{}, {"epochs": 2}])
def test_a_recipe_without_data_is_refused_where_data_lie(
    further: dict[str, Any], shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shapes)
    path = tmp_path / "paper.toml"
    path.write_text('model = "unet-tiny"\ndata = ""\n[train]\nsteps = 1\ncrop = [32, 32]\nbatch = 2\n')
    wishes: dict[str, Any] = {"source": path, "out": tmp_path / "run", "device": "cpu", **further}
    with pytest.raises(BadRecipe, match=r"names no data.*--set data=PATH"):
        list(fit(Wishes(**wishes)))
    assert not (tmp_path / "run").exists()
    for data in (".", str(shapes)):
        recipe, _ = settle(Wishes(**wishes, settings=(f"data={data}",)))
        events = train(recipe, out=tmp_path / Path(data).name / "told", check_first=False)
        assert isinstance(next(iter(events)), Started)
