"""A plan: look at the data and the machine, and write a recipe, a reason for each choice, and a forecast.

That a fingerprint of the data decides the settings is nnU-Net's idea (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z); the rules are our own, for small budgets, and stand in the reasons it prints.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from segmentarium.data import DataSet, open_data
from segmentarium.data.transforms import Augment
from segmentarium.engine.choices import choose_augment, choose_model, choose_task, choose_train, for_volumes
from segmentarium.engine.device import Device, choose_device
from segmentarium.engine.fingerprint import Fingerprint, fingerprint
from segmentarium.engine.forecast import Forecast, measure
from segmentarium.engine.recipe import Recipe, Train
from segmentarium.engine.subject import Subject, subject_of
from segmentarium.errors import BadRecipe
from segmentarium.models import build
from segmentarium.nn import geometry_of
from segmentarium.values.files import atomic_text

DEFAULT_TIME_S = {"cpu": 15 * 60.0, "cuda": 60 * 60.0}
EVALUATIONS = 8
SHARE_FOR_STEPS = 0.85
"""Of the time asked for; the rest goes to evaluation, checkpoints and the report."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe, why it is so, and what it will cost.

    ``reasons`` has one sentence by recipe key; ``forecast`` was measured with the planned
    network on this machine.
    """

    recipe: Recipe
    reasons: dict[str, str]
    forecast: Forecast
    fingerprint: Fingerprint
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "recipe": self.recipe.as_dict(),
            "reasons": self.reasons,
            "forecast": self.forecast.as_dict(),
            "fingerprint": self.fingerprint.as_dict(),
            "notes": list(self.notes),
        }

    def write(self, path: Path) -> None:
        """Write the recipe as TOML with the reasons and the forecast above it; raises ``CannotWrite``."""
        lines = [f"# seg train {path.name}", f"# forecast: {self.forecast.sentence()}", "#"]
        lines += [f"# {key}: {reason}" for key, reason in self.reasons.items()]
        atomic_text(path, "\n".join(lines) + "\n\n" + self.recipe.to_toml())


def plan(
    data: str | Path | DataSet,
    *,
    model: str | None = None,
    task: str = "",
    time: str | float | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    crop: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Plan a training run.

    Args:
        task: ``semantic``, ``instance`` or ``panoptic``; empty for what the data set describes itself as.
        time: how long it may take: seconds, or text such as ``90s``, ``30m``, ``2h``. Without ``epochs`` it
            decides the number of steps; the default is 15 minutes on a CPU and an hour on a GPU.
        epochs: passes over the training images; decides the number of steps instead of ``time``.
        steps: the number of steps itself. With ``epochs`` or ``steps`` nothing measured on this machine
            enters the recipe, so that the same wishes give the same recipe everywhere.
        crop: side of the square training crop, in pixels.
        progress: called with images measured and images in all.

    Raises:
        BadData: the data set cannot be opened or has nothing to train on.
        BadRecipe: ``time`` cannot be read, or a wish is impossible.
    """
    data = data if isinstance(data, DataSet) else open_data(data)
    chosen = choose_device(device)
    facts = fingerprint(data, progress=progress)
    reasons: dict[str, str] = {}
    draft, subject = _draft(
        data, facts, chosen, reasons, model=model, task=task, crop=crop, batch=batch, seed=seed, wish=device
    )
    wanted, draft = draft.train.crop, with_valid_crop(draft)
    if draft.train.crop != wanted:
        reasons["train.crop"] = f"{draft.train.crop}: valid convolutions lose a border and want even poolings"
    forecast = measure(draft, subject, in_channels=facts.channels, device=chosen.name)
    recipe = replace(
        draft,
        train=_choose_length(draft.train, facts, forecast, chosen, Length(time, epochs, steps), reasons),
    )
    full = forecast.for_run(
        recipe, val_images=len(data.val), size=facts.sizes["median"], decoded_mb=facts.decoded_mb
    )
    return Plan(
        recipe=recipe, reasons=reasons, forecast=full, fingerprint=facts, notes=(*data.notes, chosen.why)
    )


def _draft(
    data: DataSet,
    facts: Fingerprint,
    device: Device,
    reasons: dict[str, str],
    *,
    model: str | None,
    task: str,
    crop: int | None,
    batch: int | None,
    seed: int,
    wish: str,
) -> tuple[Recipe, Subject]:
    """All but the length of the training."""
    task = choose_task(data, reasons, task=task, model=model)
    model = model or choose_model(facts, task, data.dimensions, device, reasons)
    subject = subject_of(data, model=model, task=task)
    wishes = {"crop": crop, "batch": batch, "device": wish}
    draft = Recipe(
        model=model,
        task=task,
        data=str(data.root),
        seed=seed,
        augment=_augment(data, facts, subject, reasons),
        train=choose_train(facts, device, wishes, reasons, own_loss=subject.by_masks),
    )
    return (for_volumes(draft, facts, reasons, crop=crop) if data.dimensions == 3 else draft), subject


def with_valid_crop(recipe: Recipe) -> Recipe:
    """The same recipe with a crop that its network takes: for unpadded networks it may have to grow."""
    with torch.device("meta"):
        border, input_side = geometry_of(build(recipe.model.partition("@")[0], classes=2))
    if not border:
        return recipe
    crop = tuple(input_side(max(1, side - 2 * border)) for side in recipe.train.crop)
    return replace(recipe, train=replace(recipe.train, crop=crop))


def _augment(data: DataSet, facts: Fingerprint, subject: Subject, reasons: dict[str, str]) -> Augment:
    """Of pictures; volumes have their own, see :func:`for_volumes`."""
    if data.dimensions == 3:
        return Augment()
    return choose_augment(facts, reasons, seek_rare=not subject.by_masks)


class Length(NamedTuple):
    """How long to train, as asked for: the first that is given, from the right."""

    time: str | float | None
    epochs: int | None
    steps: int | None


def seconds_of(time: str | float) -> float:
    """Seconds in ``90s``, ``30m``, ``1.5h`` or a number; raises ``BadRecipe``.

    >>> seconds_of("2m"), seconds_of("90"), seconds_of(5)
    (120.0, 90.0, 5.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(time))
    if not match or float(match[1]) <= 0:
        raise BadRecipe(
            f"a time of {time!r}", allowed="seconds, minutes or hours above 0", cure="for example --time 30m"
        )
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def steps_of_epochs(epochs: int, *, images: int, batch: int) -> int:
    """Steps in which each image is seen ``epochs`` times; raises ``BadRecipe``.

    >>> steps_of_epochs(3, images=10, batch=4)
    8
    """
    if epochs < 1:
        raise BadRecipe(f"{epochs} epochs", allowed="1 or more")
    return -(-epochs * images // batch)


def _choose_length(
    train: Train,
    facts: Fingerprint,
    forecast: Forecast,
    device: Device,
    length: Length,
    reasons: dict[str, str],
) -> Train:
    steps = _steps(train, facts, forecast, device, length, reasons)
    ema = 0.99 if steps >= 200 else 0.0
    if ema:
        reasons["train.ema"] = (
            "the running mean of weights scores better than the last ones after a short training"
        )
    return replace(
        train,
        steps=steps,
        warmup_steps=min(50, steps // 10),
        evaluate_every=max(1, -(-steps // EVALUATIONS)),
        checkpoint_every=max(1, min(200, steps // 20)),
        ema=ema,
    )


def _steps(
    train: Train,
    facts: Fingerprint,
    forecast: Forecast,
    device: Device,
    length: Length,
    reasons: dict[str, str],
) -> int:
    images = facts.images.get("train", facts.looked_at)
    if length.steps is not None:
        reasons["train.steps"] = "as asked for"
        return length.steps
    if length.epochs is not None:
        reasons["train.steps"] = f"{length.epochs} passes over {images} images in batches of {train.batch}"
        return steps_of_epochs(length.epochs, images=images, batch=train.batch)
    default = DEFAULT_TIME_S["cuda" if "cuda" in device.name else "cpu"]
    budget = default if length.time is None else seconds_of(length.time)
    asked = (
        f"{budget / 60:.0f} minutes by default (--time)"
        if length.time is None
        else f"{budget:.0f} s asked for"
    )
    reasons["train.steps"] = f"{asked}, {forecast.step_s:.2f} s a step measured here"
    return max(20, int(SHARE_FOR_STEPS * budget / forecast.step_s))
