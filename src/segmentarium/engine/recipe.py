"""A recipe: all that decides a training run, in one TOML file, read strictly.

    recipe = Recipe.read("recipes/unet-camvid.toml").override(["train.steps=60"])

An unknown key, a wrong type or an impossible value is refused in one sentence; an integer is taken where a
number is wanted, nothing else is coerced. What :meth:`Recipe.to_toml` writes, :meth:`Recipe.read` reads back.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union

from segmentarium.data.transforms import Augment
from segmentarium.data.volume_augment import Augment3d
from segmentarium.errors import BadRecipe, SegError

USUAL_LOSS: dict[str, float] = {"cross_entropy": 1.0}

__all__ = ["Augment", "Augment3d", "Recipe", "Train", "Volumes"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """How the network is trained.

    Attributes:
        steps: optimiser steps in all.
        batch: images a step, over all processes together.
        crop: height and width of what the network sees, in pixels; of volumes depth, height and width.
        lr: peak learning rate.
        optimizer: of all but ``adamw``, ``weight_decay`` is added to the gradient.
        momentum: of ``sgd`` and ``rmsprop``; the first beta of ``adamw`` and ``adam``.
        nesterov: whether the momentum of ``sgd`` is Nesterov's; most papers before 2020 mean the plain one.
        warmup_steps: steps in which the rate rises linearly from 0 to ``lr``.
        schedule: fall after the warm-up: ``poly``, ``cosine``, ``exponential``, or none (``constant``).
        power: of ``poly``.
        decay: what each step multiplies the rate by, of ``exponential``.
        loss: weight of each loss by name, or a table of its ``weight`` and settings. Networks that answer
            with queries have a loss of their own and take its numbers here, such as ``points``; two-stage
            ones take none.
        backbone_lr: share of ``lr`` for the encoder (0.1 in the papers that begin with its trained weights).
        class_weights: weight of a class by its share of training pixels.
        border_w0: what a pixel between two touching objects counts on top, U-Net's ``w0`` (10 in the paper);
            0 for none. It needs masks that number objects.
        border_sigma_px: over how many pixels of the crop that fades (5 in the paper).
        precision: ``32``, or mixed ``bf16`` or ``16`` (with loss scaling).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        workers: threads that prepare batches ahead; 0 prepares each when it is needed.
        evaluate_every: steps between evaluations on the validation split; 0 evaluates at the end only.
        checkpoint_every: steps between checkpoints; 0 writes one at the end only.
        deterministic: the same bits on the same machine, at some cost of speed; for resuming to the bit.
        ema: decay of the running mean of weights that is evaluated and published; 0 for none.
        clip_norm: largest norm of the gradient; 0 does not clip.
        time_limit_s: stop cleanly after so many seconds of training.
        log_every: steps between ``Step`` events.
    """

    steps: int = 1000
    batch: int = 8
    crop: tuple[int, ...] = (256, 256)
    lr: float = 1e-3
    weight_decay: float = 0.01
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop"] = "adamw"
    momentum: float = 0.9
    nesterov: bool = True
    warmup_steps: int = 50
    schedule: Literal["poly", "cosine", "exponential", "constant"] = "poly"
    power: float = 0.9
    decay: float = 1.0
    loss: dict[str, float | dict[str, Any]] = field(default_factory=lambda: dict(USUAL_LOSS))
    backbone_lr: float = 1.0
    class_weights: Literal[
        "none", "inverse_sqrt", "median_frequency", "inverse", "enet", "effective_number"
    ] = "none"
    border_w0: float = 0.0
    border_sigma_px: float = 5.0
    precision: Literal["32", "bf16", "16"] = "32"
    device: str = "auto"
    workers: int = 0
    evaluate_every: int = 0
    checkpoint_every: int = 100
    deterministic: bool = False
    ema: float = 0.0
    clip_norm: float = 0.0
    time_limit_s: float | None = None
    log_every: int = 1

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if any(v < least for v in (value if isinstance(value, tuple) else (value,))):
                raise BadRecipe(f"recipe.train.{name}: got {_shown(value)}", allowed=f"at least {least}")
        for name in ("lr", "border_sigma_px", "power", "decay"):
            if getattr(self, name) <= 0:
                raise BadRecipe(f"recipe.train.{name}: got {getattr(self, name)}", allowed="a number above 0")
        for name in ("ema", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise BadRecipe(
                    f"recipe.train.{name}: got {getattr(self, name)}", allowed="0 up to, but not, 1"
                )
        weights = [w.get("weight", 1.0) if isinstance(w, dict) else w for w in self.loss.values()]
        if (self.loss and not any(weights)) or any(not isinstance(w, int | float) or w < 0 for w in weights):
            raise BadRecipe(
                f"recipe.train.loss: got {self.loss}", allowed="at least one term with a weight above 0"
            )
        if len(self.crop) not in (2, 3):
            raise BadRecipe(
                f"recipe.train.crop: got {_shown(list(self.crop))}",
                allowed="[height, width], or [depth, height, width]",
            )
        if self.time_limit_s is not None and self.time_limit_s <= 0:
            raise BadRecipe(f"recipe.train.time_limit_s: got {self.time_limit_s}", allowed="a number above 0")

    @property
    def patch(self) -> tuple[int, int, int]:
        """The crop of volumes."""
        depth, height, width = self.crop
        return depth, height, width

    @property
    def window(self) -> tuple[int, int]:
        """The crop of pictures."""
        height, width = self.crop
        return height, width


_LEAST = {
    "steps": 1, "batch": 1, "crop": 1, "log_every": 1, "weight_decay": 0, "warmup_steps": 0, "workers": 0,
    "evaluate_every": 0, "checkpoint_every": 0, "clip_norm": 0, "border_w0": 0, "backbone_lr": 0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Volumes:
    """What volumes are brought to before a network sees them.

    Attributes:
        spacing_mm: along depth, height and width; empty leaves every volume as it is.
        modality: ``MR``, ``CT`` or another; empty to guess. It decides how intensities are normalised.
    """

    spacing_mm: tuple[float, ...] = ()
    modality: str = ""

    def __post_init__(self) -> None:
        if len(self.spacing_mm) not in (0, 3) or any(step <= 0 for step in self.spacing_mm):
            raise BadRecipe(
                f"recipe.volumes.spacing_mm: got {list(self.spacing_mm)}",
                allowed="three lengths above 0, or none",
            )

    @property
    def target_mm(self) -> tuple[float, float, float] | None:
        """The spacing wanted, if any."""
        return (self.spacing_mm[0], self.spacing_mm[1], self.spacing_mm[2]) if self.spacing_mm else None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides a training run.

    Attributes:
        model: ``architecture``, ``architecture-variant`` or ``architecture-variant@weights`` to start from.
        task: ``semantic``, ``instance`` or ``panoptic``; empty takes the one that says most of those that
            data and model allow.
        refine: ``crf_rnn`` for a fully connected field behind the network, learnt with it; empty for none.
        encoder_weights: what the encoder begins with: ``timm`` for the weights that timm publishes, or the
            path of a state dict of that timm model; empty to begin from nothing.
        data: path of a data set; relative paths are relative to where the command is given.
        seed: of everything random; the same seed gives the same batches.
        volumes: what is asked for volumes alone.
        augment3d: as ``augment``, of volumes.
        expect: score name → lowest and highest value that the finished run should reach, e.g. ``mean_iou``.
    """

    model: str = "unet-tiny"
    task: str = ""
    refine: Literal["", "crf_rnn"] = ""
    encoder_weights: str = ""
    data: str = ""
    seed: int = 0
    train: Train = field(default_factory=Train)
    augment: Augment = field(default_factory=Augment)
    volumes: Volumes = field(default_factory=Volumes)
    augment3d: Augment3d = field(default_factory=Augment3d)
    expect: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a TOML file; every fault is a :class:`BadRecipe` that begins with the path."""
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
            return cls.from_dict(table)
        except OSError as error:
            raise BadRecipe(f"{path}: {error.strerror}", cure="give the path of a recipe") from error
        except UnicodeDecodeError as error:
            raise BadRecipe(f"{path}: is not UTF-8 text", allowed="a TOML file") from error
        except tomllib.TOMLDecodeError as error:  # names line and column; a key given twice ends here too
            raise BadRecipe(f"{path}: {error}", allowed="TOML, every key once") from error
        except BadRecipe as error:
            raise BadRecipe(f"{path}: {error.came}", allowed=error.allowed, cure=error.cure) from error

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Recipe:
        """Build a recipe from plain tables; raises :class:`BadRecipe`."""
        recipe: Recipe = _build(cls, table, "recipe")
        return recipe

    @property
    def data_folder(self) -> str:
        """Where the data set lies; an empty text, which would mean the current folder, is a ``BadRecipe``."""
        if not self.data.strip():
            raise BadRecipe(
                "recipe.data: the recipe names no data",
                allowed="the folder of a data set; . is the current one",
                cure="add --set data=PATH, or write data into the recipe",
            )
        return self.data

    def as_dict(self) -> dict[str, Any]:
        """Plain tables, as :meth:`from_dict` takes them; settings that are ``None`` are left out.

        So are tables that say nothing new and are for volumes where pictures are learnt, or the other way.
        """
        other = {"augment": Augment()} if len(self.train.crop) == 3 else _OF_VOLUMES
        idle = {name for name, usual in other.items() if getattr(self, name) == usual}
        return {key: value for key, value in _plain(asdict(self)).items() if value != {} and key not in idle}

    def override(self, settings: Iterable[str]) -> Recipe:
        """A new recipe with ``key.key=value`` settings, values in TOML; a bare word is a string."""
        table = self.as_dict()
        for setting in settings:
            dotted, equals, text = setting.partition("=")
            if not equals:
                raise BadRecipe(
                    f"setting {setting!r}", allowed="key=value", cure="for example train.steps=60"
                )
            *parents, last = (key.strip() for key in dotted.split("."))
            inner = table
            for parent in parents:
                inner = inner.setdefault(parent, {})
                if not isinstance(inner, dict):
                    raise BadRecipe(f"setting {setting!r}: {parent!r} holds a value, not a table")
            inner[last] = _value_of(text)
        return Recipe.from_dict(table)

    def to_toml(self) -> str:
        """The recipe as a TOML file."""
        table = self.as_dict()
        lines = [f"{_key(k)} = {_toml(v)}" for k, v in table.items() if not isinstance(v, dict)]
        for name, inner in table.items():
            if isinstance(inner, dict):
                lines += ["", f"[{_key(name)}]", *(f"{_key(k)} = {_toml(v)}" for k, v in inner.items())]
        return "\n".join(lines) + "\n"

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """Dotted keys whose values differ, with this recipe's value and the other's."""
        mine, theirs = flatten(self.as_dict()), flatten(other.as_dict())
        keys = [*mine, *(key for key in theirs if key not in mine)]
        return {k: (mine.get(k), theirs.get(k)) for k in keys if mine.get(k) != theirs.get(k)}


_OF_VOLUMES: dict[str, Any] = {"volumes": Volumes(), "augment3d": Augment3d()}


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


# --- the strict reader ---


def _build(cls: Any, table: Any, where: str) -> Any:
    if not isinstance(table, Mapping):
        raise BadRecipe(f"{where}: expected a table, got {_shown(table)}")
    kinds = typing.get_type_hints(cls)
    known = [f.name for f in fields(cls)]
    for key in table:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else ""
            raise BadRecipe(
                f"{where}: unknown key {key!r}", allowed="" if near else ", ".join(known), cure=hint
            )
    try:
        return cls(**{key: _read(kinds[key], value, f"{where}.{key}") for key, value in table.items()})
    except BadRecipe:
        raise
    except (SegError, ValueError) as error:  # a part of the recipe that lives on a lower floor says no
        raise BadRecipe(f"{where}: {error}") from error


def _read(kind: Any, value: Any, where: str) -> Any:
    """``value`` as ``kind``, or a :class:`BadRecipe` that says where."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return _build(kind, value, where)
    if origin in (Union, types.UnionType):
        return _read(_fitting(inner, value), value, where)
    if kind is Any:
        return value
    if origin is Literal and value in inner and type(value) is str:
        return value
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _read(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        return _read_tuple(inner, value, where)
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    if origin is Literal:
        near = get_close_matches(str(value), inner, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else ""
        raise BadRecipe(f"{where}: got {_shown(value)}", allowed=", ".join(map(repr, inner)), cure=hint)
    raise BadRecipe(f"{where}: expected {_kind_name(kind)}, got {_shown(value)}")


def _fitting(kinds: Sequence[Any], value: Any) -> Any:
    """The kind out of several that a value is meant as: a table where one may stand, else the first."""
    tables = [kind for kind in kinds if typing.get_origin(kind) is dict and isinstance(value, Mapping)]
    return (tables or [kind for kind in kinds if kind is not type(None)])[0]


def _read_tuple(inner: tuple[Any, ...], values: Sequence[Any], where: str) -> tuple[Any, ...]:
    kinds = inner[:1] * len(values) if inner[1:] == (...,) else inner
    if len(kinds) != len(values):
        raise BadRecipe(f"{where}: expected {len(kinds)} values, got {len(values)}")
    return tuple(
        _read(kind, value, f"{where}[{i}]") for i, (kind, value) in enumerate(zip(kinds, values, strict=True))
    )


def _kind_name(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        return "a list of " + ("" if inner[1:] == (...,) else f"{len(inner)} ") + _kind_name(inner[0])
    if typing.get_origin(kind) is dict:
        return "a table"
    return {float: "a number", bool: "true or false"}.get(kind, getattr(kind, "__name__", str(kind)))


def _shown(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)


def _value_of(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    return table["value"] if len(table) == 1 else text.strip()


# --- the writer ---


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, str):  # JSON's escapes are TOML's, but for the delete character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return _shown(value)
