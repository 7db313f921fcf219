"""The one door: any raw output, any task that it can give, one result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.nn.outputs import Queries, Regions, Semantic, SemanticRegions
from segmentarium.post.panoptic_rules import RULES
from segmentarium.post.pasting import PASTE
from segmentarium.post.query_instances import INSTANCES
from segmentarium.post.query_labels import SEMANTIC
from segmentarium.post.regions import MERGES, painted, region_instances
from segmentarium.post.semantic import Part, finish_semantic
from segmentarium.values.classes import Classes
from segmentarium.values.results import Instances, LabelMap, Panoptic

Output = Semantic | Queries | Regions | SemanticRegions
Result = LabelMap | Instances | Panoptic

TASKS = ("semantic", "instance", "panoptic")
DEFAULT = "mask2former"
"""The rule for queries whose network names none."""


def finish(
    output: Output,
    *,
    task: str,
    size: tuple[int, ...],
    classes: Classes,
    rule: str = "",
    window: Part | None = None,
    probs: bool = False,
    ignore_id: int = 255,
    settings: Mapping[str, Any] | None = None,
) -> Result:
    """The result of one image from a network's raw output.

    Args:
        output: of a batch of one (see :func:`part`).
        task: "semantic", "instance" or "panoptic".
        size: height and width that the output stands for, and that boxes are in pixels of; of volumes, depth
            first.
        rule: a network's ``readout``: for queries a name of ``RULES``, for regions one of ``PASTE``.
        window: where the image lies in ``size``, if it was padded.
        probs: whether to keep the probabilities of all classes; only for ``Semantic``.
        ignore_id: what void pixels of a label map are called in files.
        settings: numbers of the rule that differ from the paper's, by the names in its signature.

    Raises:
        BadArgument: the output cannot give the task, classes do not fit, or answers for more than one image.
        UnknownName: a task, rule or setting that does not exist.
    """
    if task not in TASKS:
        raise UnknownName.among("task", task, TASKS)
    if probs and not (isinstance(output, Semantic) and task == "semantic"):
        raise BadArgument(f"probabilities of {type(output).__name__}", allowed="probs for Semantic alone")
    if isinstance(output, Semantic):
        _require(task == "semantic", "Semantic alone gives no instances", "the task semantic")
        _settled(finish_semantic, {}, settings)
        return finish_semantic(output, size, classes, probs=probs, window=window, ignore_id=ignore_id)
    if isinstance(output, SemanticRegions) and task == "instance":
        output, rule = output.regions, ""
    _require(len(size) == 2, f"{type(output).__name__} of a volume", "pictures; for volumes Semantic alone")
    finisher, named = _finisher(output, task, rule)
    chosen = _settled(finisher, named, settings)
    result: Result = finisher(output, size=size, classes=classes, window=window, **chosen)
    return replace(result, ignore_id=ignore_id) if isinstance(result, LabelMap) else result


def part(output: Output, index: int) -> Any:
    """What an output says of one image of its batch, without auxiliary maps, as a batch of one."""
    if isinstance(output, SemanticRegions):
        return SemanticRegions(part(output.semantic, index), part(output.regions, index))
    if isinstance(output, Semantic):
        return Semantic(output.logits[index : index + 1])
    if isinstance(output, Queries):
        one = slice(index, index + 1)
        boxes = None if output.boxes is None else output.boxes[one]
        return Queries(output.class_logits[one], output.mask_logits[one], boxes=boxes)
    here = output.image == index
    kept = {name: field[here] for name, field in output._asdict().items() if field is not None}
    return Regions(**kept | {"image": kept["image"] * 0})


def _finisher(output: Output, task: str, rule: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function for a task, and what the rule sets of its arguments."""
    if isinstance(output, Queries):
        tables: dict[str, Mapping[str, Callable[..., Any]]] = {
            "semantic": SEMANTIC,
            "instance": INSTANCES,
            "panoptic": RULES,
        }
        return _named(tables[task], rule or DEFAULT), {}
    if isinstance(output, Regions):
        _require(task == "instance", f"Regions alone give no {task} map: they know no stuff", "instance")
        _named(PASTE, rule or "detectron2")
        return region_instances, {"pasting": rule or "detectron2"}
    merge = _named(MERGES, rule or "heuristic")
    return (merge if task == "panoptic" else painted), {}


def _named(table: Mapping[str, Callable[..., Any]], rule: str) -> Callable[..., Any]:
    if rule not in table:
        raise UnknownName.among("rule", rule, table)
    return table[rule]


def _settled(
    finisher: Callable[..., Any], named: dict[str, Any], settings: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the rule sets and what the caller does; names that the finisher does not have are refused."""
    given = {"output", "size", "classes", "window", "probs", "ignore_id"}
    known = set(signature(finisher).parameters) - given
    for name in settings or {}:
        if name not in known:
            raise UnknownName.among("setting of the rule", name, known)
    return named | dict(settings or {})


def _require(good: bool, came: str, allowed: str) -> None:
    if not good:
        raise BadArgument(came, allowed=allowed)
