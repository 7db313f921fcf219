"""Scoring: a model against the truth of a split, image by image, in memory that does not grow with the data.

    evaluation = evaluate(load("unet@nuclei"), open_data("cells/"), out=Path("eval"))
    print(evaluation.scores.mean_iou, evaluation.intervals["mean_iou"])

The task, and with it the metric, is the model's affair; :mod:`segmentarium.engine.scoring` has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Int64, Integer

from segmentarium.data.dataset import DataSet, Pair
from segmentarium.engine.gallery import strip_of, write_strip
from segmentarium.engine.scoring import Evaluation, Scorer, SemanticEvaluation, SemanticScorer, scorer_for
from segmentarium.engine.scoring.evaluation import listed
from segmentarium.errors import WeightsMismatch
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.instances import Instances
from segmentarium.values.panoptic import Panoptic
from segmentarium.values.results import LabelMap
from segmentarium.values.volume import Volume

__all__ = ["Evaluation", "Segmenter", "class_mapping", "evaluate", "score_pairs"]

Progress: TypeAlias = Callable[[int, int], None]
Scored: TypeAlias = tuple[str, Integer[np.ndarray, "..."], Integer[np.ndarray, "..."]]
AnyResult: TypeAlias = LabelMap | Instances | Panoptic


@runtime_checkable
class Segmenter(Protocol):
    """What is evaluated: anything with classes that turns an image into a result, as what ``load`` returns.

    ``task`` and ``dimensions`` are read off it where it has them; otherwise it labels pictures.
    """

    @property
    def classes(self) -> Classes: ...

    def __call__(self, image: Any, /) -> AnyResult: ...


def score_pairs(
    pairs: Iterable[Scored], classes: Classes, *, split: str = "val", rounds: int = 1000, seed: int = 0
) -> SemanticEvaluation:
    """Score labels against true labels, one pair in memory at a time.

    Args:
        pairs: stem, predicted labels and true labels of each image; indices of ``classes``, void is ``VOID``.
        split: what the pairs are called in messages and results.
        rounds: of the bootstrap; 0 leaves the intervals out.

    Raises:
        BadData: there is no pair, or every pixel of truth is void.
        BadMask: a prediction differs from its truth in shape, or holds what is no class; the stem is named.
    """
    begin = time.perf_counter()
    scorer = SemanticScorer(classes)
    for pair in pairs:
        scorer.update(*pair)
    return scorer.evaluation(split, seconds=time.perf_counter() - begin, rounds=rounds, seed=seed)


def evaluate(
    model: Segmenter,
    data: DataSet,
    *,
    split: str = "val",
    out: Path | None = None,
    pictures: int = 20,
    progress: Progress | None = None,
) -> Evaluation:
    """Predict every image of a split and score it against its truth by the metric of the model's task.

    Args:
        out: folder that receives ``summary.json`` and pictures of the ``worst``, ``typical`` and ``best``
            cases.
        pictures: how many of the worst; 0 draws none at all.
        progress: called with the number of images done and of all.

    Raises:
        UnknownName: the data set has no such split.
        BadData: the split is empty, void everywhere, or without truth for the task.
        WeightsMismatch: model and data set have different classes; another order of the same names is fine.
    """
    begin = time.perf_counter()
    exam = Exam.of(model, data, split)
    for done, pair in enumerate(exam.pairs, start=1):
        exam.scorer.update(pair.stem, exam.answer(pair), exam.truth(pair))
        if progress is not None:
            progress(done, len(exam.pairs))
    evaluation = exam.scorer.evaluation(split, seconds=time.perf_counter() - begin)
    evaluation = replace(
        evaluation,
        notes=evaluation.notes
        + _data_notes(data, split, len(exam.pairs), reordered=model.classes.names != exam.learned.names),
        provenance=_provenance(model, data),
    )
    if out is not None:
        evaluation.write(out)
        if pictures:
            _draw(evaluation, exam, out, worst=pictures)
    return evaluation


class Exam:
    """A model before a split: its answers in the classes of the data, and the truth that fits them."""

    def __init__(
        self, model: Segmenter, data: DataSet, pairs: Sequence[Pair], *, task: str, dimensions: int
    ) -> None:
        self.model, self.data, self.pairs, self.task = model, data, tuple(pairs), task
        self.dimensions = dimensions
        self.classes = Classes(replace(c, thing=i in data.things) for i, c in enumerate(data.classes))
        self.learned = Classes(self.classes[i] for i in data.things) if task == "instance" else self.classes
        self.scorer: Scorer = scorer_for(task, self.classes, dimensions=dimensions)
        self._mapping = class_mapping(model.classes, self.classes, needed=self.learned)

    @classmethod
    def of(cls, model: Segmenter, data: DataSet, split: str) -> Exam:
        """The exam in the model's own task, on the images of ``split`` that have a truth for it."""
        task, dimensions = getattr(model, "task", "semantic"), getattr(model, "dimensions", 2)
        if task == "semantic":
            pairs = tuple(pair for pair in data.split(split) if pair.mask is not None)
        else:
            pairs = data.segmented(split)
        return cls(model, data, pairs, task=task, dimensions=dimensions)

    def image(self, pair: Pair) -> Any:
        return self.data.volume(pair) if self.dimensions == 3 else self.data.image(pair)

    def answer(self, pair: Pair) -> AnyResult:
        """The prediction, in indices of the data's classes."""
        return translated(self.model(self.image(pair)), self._mapping, self.classes)

    def truth(self, pair: Pair) -> Any:
        return self.data.labels(pair) if self.task == "semantic" else self.data.segments(pair)


def translated(result: AnyResult, mapping: Int64[np.ndarray, " n"], classes: Classes) -> AnyResult:
    """``result`` in other classes; ``mapping`` tells where each of its own stands among them."""
    if isinstance(result, Instances):
        return replace(result, classes_of=mapping[result.classes_of].astype(np.int32), classes=classes)
    if isinstance(result, Panoptic):
        segments = tuple(replace(s, class_index=int(mapping[s.class_index])) for s in result.segments)
        return replace(result, segments=segments, classes=classes)
    same = bool(np.array_equal(mapping[:-1], np.arange(len(mapping) - 1)))
    return replace(
        result, labels=result.labels if same else mapping[result.labels], classes=classes, probs=None
    )


def class_mapping(
    predicted: Classes, true: Classes, *, needed: Classes | None = None
) -> Int64[np.ndarray, " n"]:
    """Where each predicted class stands among the true ones, by name; a last entry takes ``VOID`` to itself.

    Args:
        needed: the true classes that the model must know; all of them if not given.

    Raises:
        WeightsMismatch: the names are not the same; the message says which side lacks which.
    """
    missing = [name for name in (needed or true).names if name not in predicted.names]
    foreign = [name for name in predicted.names if name not in true.names]
    if missing or foreign:
        raise WeightsMismatch(
            f"the model knows {listed(predicted.names)}, the data set holds {listed((needed or true).names)}",
            allowed="the same class names, in any order",
            cure=_nearest(foreign, missing) or "evaluate a model that was trained on these classes",
        )
    return np.array([*map(true.index_of, predicted.names), VOID], np.int64)


def _draw(evaluation: Evaluation, exam: Exam, out: Path, *, worst: int) -> None:
    """Predict the chosen images once more and draw them; keeping all predictions could need any memory."""
    by_stem = {pair.stem: pair for pair in exam.pairs}
    drawn: set[str] = set()
    for old in (out / "montage").glob("[0-9][0-9][0-9]_*.png"):
        old.unlink()
    for name, cases in (
        ("worst", evaluation.worst(worst)),
        ("best", evaluation.best()),
        ("typical", evaluation.typical()),
    ):
        for old in (out / name).glob("[0-9][0-9][0-9]_*.png"):
            old.unlink()
        for rank, case in enumerate(cases, start=1):
            if case.stem in drawn:
                continue
            drawn.add(case.stem)
            pair = by_stem[case.stem]
            image, answer = exam.image(pair), exam.answer(pair)
            picture = strip_of(image, exam.truth(pair), answer, exam.classes)
            write_strip(out / name, rank, case.stem, case.score, picture, score=evaluation.headline)
            if rank == 1 and isinstance(image, Volume) and isinstance(answer, LabelMap):
                sheet = answer.montage(image)
                write_strip(out / "montage", rank, case.stem, case.score, sheet, score=evaluation.headline)


def _data_notes(data: DataSet, split: str, used: int, *, reordered: bool) -> tuple[str, ...]:
    notes = []
    without = len(data.split(split)) - used
    if without:
        notes.append(f"left out, having no mask: {without} of {used + without} images")
    if reordered:
        notes.append(
            "the model lists the classes in another order than the data set; they were matched by name"
        )
    return tuple(notes)


def _provenance(model: Segmenter, data: DataSet) -> dict[str, Any]:
    """Where the numbers come from, as far as the model tells."""
    told: Mapping[str, Any] = getattr(model, "facts", {})
    device = getattr(model, "device", None)
    facts = {
        "name": getattr(model, "name", None),
        "path": getattr(model, "path", None),
        "device": getattr(device, "name", device),
        **{key: told.get(key) for key in ("licence", "data", "step")},
    }
    return {
        "model": {key: str(value) for key, value in facts.items() if value not in (None, "")},
        "data": {"name": data.name, "layout": data.layout, "terms": data.terms, "notes": list(data.notes)},
    }


def _nearest(foreign: Sequence[str], missing: Sequence[str]) -> str:
    """A hint where the two sides seem to spell one class in two ways."""
    for name in foreign:
        for near in get_close_matches(name, missing, n=1, cutoff=0.6):
            return f"is {name!r} of the model {near!r} of the data?"
    return ""
