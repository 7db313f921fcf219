"""Scoring: predictions against truth, image by image, in memory that does not grow with the data.

    evaluation = evaluate(load("unet@nuclei"), open_data("cells/"), out=Path("eval"))
    print(evaluation.scores.mean_iou, evaluation.intervals["mean_iou"])

:func:`score_pairs` is the core and knows neither models nor files; training scores its validation split with
it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Int64, Integer

from segmentarium.data.dataset import DataSet, Pair
from segmentarium.engine.gallery import strip, write_strip
from segmentarium.errors import BadData, BadMask, WeightsMismatch
from segmentarium.metrics import (
    DEFINITIONS,
    ConfusionMatrix,
    SemanticScores,
    Tally,
    bootstrap,
    bootstrap_mean,
    count_pairs,
)
from segmentarium.metrics.scores import HEADLINES, PER_CLASS
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.files import atomic_json, ensure_folder
from segmentarium.values.image import Image
from segmentarium.values.results import LabelMap

Progress: TypeAlias = Callable[[int, int], None]
Scored: TypeAlias = tuple[str, Integer[np.ndarray, "..."], Integer[np.ndarray, "..."]]
Interval: TypeAlias = tuple[float, float]


@runtime_checkable
class Segmenter(Protocol):
    """What is evaluated: anything with classes that turns an image into labels, as what ``load`` returns."""

    @property
    def classes(self) -> Classes: ...

    def __call__(self, image: Image, /) -> LabelMap: ...


@dataclass(frozen=True, kw_only=True)
class Case:
    """The scores of one image; None for classes it lacks. ``pixels`` counts those that are not void."""

    stem: str
    mean_iou: float
    pixel_accuracy: float
    pixels: int
    iou: dict[str, float | None]
    dice: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model is worth on a split.

    Attributes:
        scores: from one confusion matrix over all images.
        intervals: 95% interval over images, by name of score.
        class_intervals: the same for each class, by name of score, then of class.
        cases: one an image, in the order of the data.
        mean_iou_per_image: mean over images of the mean IoU of each, another number than ``scores.mean_iou``.
        seconds: from the first image to the last score.
        notes: what the reader must know, such as classes without pixels.
        provenance: model, data and versions, as far as known.
        tally: the counts of each image, which ``engine.explain`` reads; not written to disk.
    """

    split: str
    classes: Classes
    scores: SemanticScores
    intervals: dict[str, Interval]
    class_intervals: dict[str, dict[str, Interval]]
    cases: tuple[Case, ...]
    mean_iou_per_image: float
    seconds: float
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    tally: Tally | None = field(default=None, compare=False, repr=False)

    def worst(self, count: int = 20) -> tuple[Case, ...]:
        """The images of lowest mean IoU, the lowest first; images that are void altogether are left out."""
        scored = [case for case in self.cases if not np.isnan(case.mean_iou)]
        return tuple(sorted(scored, key=lambda case: (case.mean_iou, case.stem))[:count])

    def best(self, count: int = 3) -> tuple[Case, ...]:
        """The images of highest mean IoU, the highest first."""
        return self.worst(len(self.cases))[::-1][:count]

    def typical(self, count: int = 3) -> tuple[Case, ...]:
        """The images around the median of mean IoU."""
        ranked = self.worst(len(self.cases))
        start = max(0, (len(ranked) - count) // 2)
        return ranked[start : start + count]

    def as_dict(self) -> dict[str, Any]:
        """For machines: what ``summary.json`` holds; None where a score is undefined, as JSON has no nan."""
        scores = self.scores.as_dict()
        matrix, per_class, undefined = (scores.pop(key) for key in ("matrix", "per_class", "undefined"))
        for name, entry in per_class.items():
            for key, intervals in self.class_intervals.items():
                entry[f"{key}_interval"] = [plain(bound) for bound in intervals[name]]
        return {
            "split": self.split,
            "images": len(self.cases),
            "mean": {**scores, "mean_iou_per_image": plain(self.mean_iou_per_image)},
            "intervals": {key: [plain(bound) for bound in bounds] for key, bounds in self.intervals.items()},
            "per_class": per_class,
            "undefined": undefined,
            "notes": list(self.notes),
            "classes": self.classes.to_json(),
            "confusion_matrix": matrix,
            "cases": [_case_entry(case) for case in self.cases],
            "seconds": round(self.seconds, 3),
            "definitions": dict(DEFINITIONS),
            "provenance": self.provenance,
        }

    def write(self, folder: Path) -> Path:
        """Write ``summary.json`` into ``folder`` and return its path."""
        return atomic_json(ensure_folder(folder) / "summary.json", self.as_dict())


def score_pairs(
    pairs: Iterable[Scored], classes: Classes, *, split: str = "val", rounds: int = 1000, seed: int = 0
) -> Evaluation:
    """Score predictions against truth, one pair in memory at a time.

    Args:
        pairs: stem, predicted labels and true labels of each image; indices of ``classes``, void is ``VOID``.
        split: what the pairs are called in messages and results.
        rounds: of the bootstrap; 0 leaves the intervals out, for scores in the midst of training.

    Raises:
        BadData: there is no pair, or every pixel of truth is void.
        BadMask: a prediction differs from its truth in shape, or holds what is no class; the stem is named.
    """
    begin = time.perf_counter()
    total = ConfusionMatrix(len(classes), names=classes.names)
    cases, tallies = [], []
    for stem, prediction, truth in pairs:
        counts = _counted(stem, prediction, truth, len(classes))
        total.matrix += counts
        tallies.append(Tally.of(counts))
        cases.append(_case(stem, SemanticScores.of(counts, names=classes.names)))
    scores = total.compute()
    _refuse_nothing(split, images=len(cases), pixels=int(scores.pixels.sum()))
    per_image = np.array([case.mean_iou for case in cases])
    tally = Tally.stack(tallies)
    intervals, class_intervals = _intervals(tally, classes.names, rounds=rounds, seed=seed)
    if rounds:
        intervals["mean_iou_per_image"] = bootstrap_mean(per_image, rounds=rounds, seed=seed)
    return Evaluation(
        split=split,
        classes=classes,
        scores=scores,
        intervals=intervals,
        class_intervals=class_intervals,
        cases=tuple(cases),
        mean_iou_per_image=float(np.nanmean(per_image)),
        seconds=time.perf_counter() - begin,
        notes=_notes(split, scores, cases),
        tally=tally,
    )


def evaluate(
    model: Segmenter,
    data: DataSet,
    *,
    split: str = "val",
    out: Path | None = None,
    pictures: int = 20,
    progress: Progress | None = None,
) -> Evaluation:
    """Predict every image of a split and score it against its truth.

    Args:
        out: folder that receives ``summary.json`` and pictures of the ``worst``, ``typical`` and ``best``
        cases.
        pictures: how many of the worst; 0 draws none at all.
        progress: called with the number of images done and of all.

    Raises:
        UnknownName: the data set has no such split.
        BadData: the split is empty, or void everywhere.
        WeightsMismatch: model and data set have different classes; another order of the same names is fine.
    """
    pairs = tuple(pair for pair in data.split(split) if pair.mask is not None)
    mapping = class_mapping(model.classes, data.classes)
    evaluation = score_pairs(_predicted(model, data, pairs, mapping, progress), data.classes, split=split)
    evaluation = replace(
        evaluation,
        notes=evaluation.notes
        + _data_notes(data, split, len(pairs), reordered=model.classes.names != data.classes.names),
        provenance=_provenance(model, data),
    )
    if out is not None:
        evaluation.write(out)
        if pictures:
            _draw(evaluation, model, data, pairs, mapping, out, worst=pictures)
    return evaluation


def class_mapping(predicted: Classes, true: Classes) -> Int64[np.ndarray, " n"]:
    """Where each predicted class stands among the true ones, by name; a last entry takes ``VOID`` to itself.

    Raises:
        WeightsMismatch: the names are not the same; the message says which side lacks which.
    """
    missing = [name for name in true.names if name not in predicted.names]
    foreign = [name for name in predicted.names if name not in true.names]
    if missing or foreign:
        raise WeightsMismatch(
            f"the model knows {_listed(predicted.names)}, the data set holds {_listed(true.names)}",
            allowed="the same class names, in any order",
            cure=_nearest(foreign, missing) or "evaluate a model that was trained on these classes",
        )
    return np.array([*map(true.index_of, predicted.names), VOID], np.int64)


def _predicted(
    model: Segmenter,
    data: DataSet,
    pairs: Sequence[Pair],
    mapping: Int64[np.ndarray, " n"],
    progress: Progress | None,
) -> Iterator[Scored]:
    same = bool(np.array_equal(mapping[:-1], np.arange(len(mapping) - 1)))
    for done, pair in enumerate(pairs, start=1):
        labels = model(data.image(pair)).labels
        yield pair.stem, labels if same else mapping[labels], data.labels(pair)
        if progress is not None:
            progress(done, len(pairs))


def _draw(
    evaluation: Evaluation,
    model: Segmenter,
    data: DataSet,
    pairs: Sequence[Pair],
    mapping: Int64[np.ndarray, " n"],
    out: Path,
    *,
    worst: int,
) -> None:
    """Predict the chosen images once more and draw them; keeping all predictions could need any memory."""
    by_stem = {pair.stem: pair for pair in pairs}
    drawn: set[str] = set()
    for name, cases in (
        ("worst", evaluation.worst(worst)),
        ("best", evaluation.best()),
        ("typical", evaluation.typical()),
    ):
        for old in (out / name).glob("*_iou*.png"):
            old.unlink()
        for rank, case in enumerate(cases, start=1):
            if case.stem in drawn:
                continue
            drawn.add(case.stem)
            image, truth = data.image(by_stem[case.stem]), data.labels(by_stem[case.stem])
            picture = strip(image, truth, mapping[model(image).labels], data.classes)
            write_strip(out / name, rank, case.stem, case.mean_iou, picture)


def _counted(stem: str, prediction: Any, truth: Any, classes: int) -> Int64[np.ndarray, "k k"]:
    try:
        return count_pairs(prediction, truth, classes=classes)
    except BadMask as error:
        raise BadMask(f"{stem}: {error.came}", allowed=error.allowed, cure=error.cure) from error


def _case(stem: str, scores: SemanticScores) -> Case:
    return Case(
        stem=stem,
        mean_iou=scores.mean_iou,
        pixel_accuracy=scores.pixel_accuracy,
        pixels=int(scores.pixels.sum()),
        iou={n: None if np.isnan(v) else float(v) for n, v in zip(scores.names, scores.iou, strict=True)},
        dice={n: None if np.isnan(v) else float(v) for n, v in zip(scores.names, scores.dice, strict=True)},
    )


def _case_entry(case: Case) -> dict[str, Any]:
    numbers = {
        "mean_iou": plain(case.mean_iou),
        "pixel_accuracy": plain(case.pixel_accuracy),
        "pixels": case.pixels,
    }
    return {"stem": case.stem, **numbers, "iou": case.iou, "dice": case.dice}


def _intervals(
    tally: Tally, names: Sequence[str], *, rounds: int, seed: int
) -> tuple[dict[str, Interval], dict[str, dict[str, Interval]]]:
    """Intervals of the scores that are one number, and of those that are one a class."""
    if not rounds:
        return {}, {}
    spread = {key: bootstrap(tally, score, rounds=rounds, seed=seed) for key, score in _RESAMPLED.items()}
    single = {key: (float(low), float(high)) for key, (low, high) in spread.items() if key in HEADLINES}
    each = {
        key: {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
        for key, (low, high) in spread.items()
        if key in PER_CLASS
    }
    return single, each


_RESAMPLED = HEADLINES | PER_CLASS


def _refuse_nothing(split: str, *, images: int, pixels: int) -> None:
    if not images:
        raise BadData(
            f"split {split!r} has no image with a mask", allowed="at least one", cure="choose another split"
        )
    if not pixels:
        raise BadData(
            f"every pixel of the {images} masks in split {split!r} is void",
            allowed="at least one pixel with a class",
            cure="see `seg check`: the ignore value is perhaps a class",
        )


def _notes(split: str, scores: SemanticScores, cases: Sequence[Case]) -> tuple[str, ...]:
    notes = []
    unseen = [
        n
        for n, pixels in zip(scores.names, scores.pixels, strict=True)
        if not pixels and n not in scores.undefined
    ]
    void = [case.stem for case in cases if not case.pixels]
    if scores.undefined:
        notes.append(
            f"neither in truth nor in prediction, hence undefined and in no mean: {_listed(scores.undefined)}"
        )
    if unseen:
        notes.append(f"predicted but nowhere in truth, hence IoU 0: {_listed(unseen)}")
    if void:
        notes.append(f"void altogether, hence in no score: {_listed(void)}")
    if len(cases) == 1:
        notes.append(f"split {split!r} has one image: no interval can be given")
    return tuple(notes)


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


def _listed(names: Sequence[str], *, most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _nearest(foreign: Sequence[str], missing: Sequence[str]) -> str:
    """A hint where the two sides seem to spell one class in two ways."""
    for name in foreign:
        for near in get_close_matches(name, missing, n=1, cutoff=0.6):
            return f"is {name!r} of the model {near!r} of the data?"
    return ""
