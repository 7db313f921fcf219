"""What a network is to learn of a data set: which task, which classes, in which order.

A network's raw output can give some tasks, a data set can teach some; of those that both can, the one that
says most is taken, unless the recipe names another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Int64

from segmentarium.data.dataset import DataSet
from segmentarium.engine.catalogue import GIVES
from segmentarium.errors import BadData, BadRecipe
from segmentarium.models import ModelName, dimensions
from segmentarium.values.classes import Classes
from segmentarium.weights.cards import read_card

Task: TypeAlias = Literal["panoptic", "instance", "semantic"]

TASKS: tuple[Task, ...] = get_args(Task)
"""The one that says most first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What is learned.

    Attributes:
        output: the network's raw output, as its card names it.
        classes: those that the network counts, in its order: all of the data set, or the things among them
            (``instance``), or things before stuff (``panoptic``).
        index: where each class of the data set stands in ``classes``; -1 for those not learned.
    """

    task: Task
    output: str
    classes: Classes
    index: Int64[np.ndarray, " k"]

    @classmethod
    def plain(cls, *names: str) -> Subject:
        """Every pixel one of some classes, with no data set behind them."""
        return cls(
            task="semantic", output="semantic", classes=Classes.named(*names), index=np.arange(len(names))
        )

    @property
    def things(self) -> int | None:
        """How many of the classes are countable, in a task that tells them apart."""
        return sum(c.thing for c in self.classes) if self.task == "panoptic" else None

    @property
    def by_masks(self) -> bool:
        """Whether the network learns masks, not a class for every pixel."""
        return self.output != "semantic"


def output_of(model: str) -> str:
    """The raw output of the network that ``model`` names."""
    return read_card(ModelName.parse(model).architecture).output


def subject_of(data: DataSet, *, model: str, task: str = "") -> Subject:
    """What ``model`` learns of ``data``.

    Args:
        task: ``semantic``, ``instance`` or ``panoptic``; empty to let network and data decide.

    Raises:
        BadRecipe: there is no such task, or the network cannot give it.
        BadData: the data set cannot teach it.
    """
    output = output_of(model)
    _require_dimensions(data, model)
    _require_names(data, model)
    chosen = _chosen(data, output, model, task)
    order = _order(data, chosen)
    index = np.full(len(data.classes), -1)
    index[order] = np.arange(len(order))
    things = set(data.things)
    learned = Classes(replace(data.classes[i], thing=i in things) for i in order)
    return Subject(task=chosen, output=output, classes=learned, index=index)


def _require_dimensions(data: DataSet, model: str) -> None:
    known = dimensions(model)
    if known != data.dimensions:
        kinds = {2: "pictures", 3: "volumes"}
        raise BadRecipe(
            f"recipe.model: {model} is for {kinds[known]}, and {data.root} holds {kinds[data.dimensions]}",
            allowed=f"a network of {kinds[data.dimensions]}",
            cure="`seg models` lists them, for example unet_3d-small for volumes and unet-small for pictures",
        )


def _require_names(data: DataSet, model: str) -> None:
    """Refuse networks whose parts have no names: a score against classes would be one of chance."""
    if read_card(ModelName.parse(model).architecture).family == "unsupervised":
        raise BadRecipe(
            f"recipe.model: {model} finds parts without names, not the classes of {data.root}",
            allowed="a network that learns from labels",
            cure="in the repository, python examples/train_wnet.py PICTURES -o RUN learns without",
        )


def _chosen(data: DataSet, output: str, model: str, task: str) -> Task:
    given = GIVES[output]
    if task and task not in TASKS:
        raise BadRecipe(f"recipe.task: got {task!r}", allowed=", ".join(TASKS))
    if task and task not in given:
        raise BadRecipe(
            f"recipe.task: {model} cannot learn {task} segmentation",
            allowed=", ".join(given),
            cure="`seg models --task` lists the networks for a task",
        )
    possible: list[Task] = [one for one in TASKS if one in given and one in data.tasks and task in ("", one)]
    if not possible:
        raise BadData(
            f"{data.root} teaches {' and '.join(data.tasks) or 'nothing'}",
            allowed=f"data for {' or '.join((task,) if task else given)} segmentation, which {model} learns",
            cure="choose another model (`seg models`), or give annotations of that kind",
        )
    return possible[0]


def _order(data: DataSet, task: Task) -> list[int]:
    everything = range(len(data.classes))
    if task == "semantic":
        return list(everything)
    things = sorted(data.things)
    if task == "instance":
        if not things:
            raise BadData(f"no class of {data.root} is countable", cure='mark one in meta.json: "isthing": 1')
        return things
    return things + [i for i in everything if i not in set(things)]
