"""What a user asks of a training run, and the recipe that comes of it.

Nothing that is asked for is passed over: it enters the recipe, or it is refused in one sentence. When a run
is resumed, whatever would change what it computes is refused (``RunFolder.require_same_settings``); so the
command that began a run can be given again, with ``--resume``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segmentarium.data import open_data
from segmentarium.engine.plan import Plan, plan, seconds_of, steps_of_epochs, with_valid_crop
from segmentarium.engine.recipe import Recipe
from segmentarium.engine.runfolder import RunFolder
from segmentarium.errors import BadRecipe


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a user asks of a training run; ``None`` leaves the choice to the plan or the recipe.

    ``source`` is a data set or a recipe (``.toml``); ``time`` reads ``90s``, ``30m`` or ``2h``; ``settings``
    are ``key.key=value`` and win over everything.
    """

    source: Path | None
    out: Path
    model: str | None = None
    task: str | None = None
    seed: int | None = None
    resume: bool = False
    exist_ok: bool = False
    settings: tuple[str, ...] = ()
    time: str | None = None
    epochs: int | None = None
    crop: int | None = None
    batch: int | None = None
    lr: float | None = None
    workers: int | None = None
    amp: bool | None = None
    device: str | None = None

    def steps(self) -> int | None:
        """The number of steps if ``settings`` name it; then nothing measured enters the recipe."""
        for setting in reversed(self.settings):
            key, _, value = setting.partition("=")
            if key.strip() == "train.steps" and value.strip().isdecimal():
                return int(value)
        return None

    def applied(self, recipe: Recipe) -> Recipe:
        """``recipe`` with the flags, but for those of length, and then the settings."""
        mixed = recipe.train.precision != "32"
        flags: dict[str, Any] = {
            "model": self.model and f'"{self.model}"',
            "task": self.task and f'"{self.task}"',
            "seed": self.seed,
            "train.crop": self.crop and [self.crop] * len(recipe.train.crop),
            "train.batch": self.batch,
            "train.lr": self.lr,
            "train.workers": self.workers,
            "train.device": self.device and f'"{self.device}"',
            "train.precision": None if self.amp in (None, mixed) else ('"bf16"' if self.amp else '"32"'),
        }
        told = [f"{key}={value}" for key, value in flags.items() if value is not None]
        return recipe.override([*told, *self.settings])

    def lengthened(self, recipe: Recipe) -> Recipe:
        """``recipe`` as long as ``epochs`` and ``time`` say; a time is a limit, counted from the start."""
        told = []
        if self.epochs is not None:
            images = len(open_data(recipe.data_folder).train)
            steps = steps_of_epochs(self.epochs, images=images, batch=recipe.train.batch)
            told.append(f"train.steps={steps}")
        if self.time is not None:
            told.append(f"train.time_limit_s={seconds_of(self.time)}")
        return recipe.override([*told, *self.settings])


def settle(wishes: Wishes) -> tuple[Recipe, Plan | None]:
    """The recipe to train by: the run's own when resuming, the file's, or a planned one; then the wishes.

    Raises:
        BadRecipe: neither data nor recipe were named, or a wish cannot be met.
        BadData: the data set cannot be planned for.
    """
    if wishes.resume and wishes.exist_ok:
        raise BadRecipe(
            "--resume and --exist-ok came together",
            allowed="one of them",
            cure="--resume goes on with a run, --exist-ok begins it anew",
        )
    folder = RunFolder(wishes.out)
    if wishes.resume and folder.recipe.is_file():
        recipe = _resumed(wishes, folder)
        if folder.checkpoints.exists():
            folder.require_same_settings(recipe)
        return recipe, None
    if wishes.source is None:
        raise BadRecipe(
            "neither data nor recipe was named", cure="give a folder or a .toml: seg train DATA -o RUN"
        )
    if wishes.source.suffix == ".toml":
        return _changed(Recipe.read(wishes.source), wishes), None
    return _planned(wishes, wishes.source)


def _resumed(wishes: Wishes, folder: RunFolder) -> Recipe:
    """The run's recipe with the wishes; a recipe or data that are named count as wishes, too."""
    source = wishes.source
    if source is not None and source.suffix == ".toml":
        return _changed(Recipe.read(source), wishes)
    recipe = Recipe.read(folder.recipe)
    return _changed(replace(recipe, data=str(source)) if source else recipe, wishes)


def _changed(recipe: Recipe, wishes: Wishes) -> Recipe:
    return with_valid_crop(wishes.lengthened(wishes.applied(recipe)))


def _planned(wishes: Wishes, data: Path) -> tuple[Recipe, Plan]:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadRecipe(
            "several processes would each make a plan of their own",
            allowed="a recipe",
            cure=f"write one first: seg plan {data} -o recipe.toml",
        )
    made = plan(
        data,
        model=wishes.model,
        task=wishes.task or "",
        time=wishes.time,
        epochs=wishes.epochs,
        steps=wishes.steps(),
        crop=wishes.crop,
        batch=wishes.batch,
        seed=wishes.seed or 0,
        device=wishes.device or "auto",
    )
    recipe = with_valid_crop(wishes.applied(made.recipe))
    if wishes.time is not None and (wishes.epochs, wishes.steps()) != (None, None):
        recipe = recipe.override([f"train.time_limit_s={seconds_of(wishes.time)}"])
    return recipe, replace(made, recipe=recipe)
