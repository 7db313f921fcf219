"""Scoring of volumes as medicine does it: case by case, structure by structure, distances in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Integer

from segmentarium.engine.scoring.evaluation import Brief, Case, Evaluation, listed, refuse_nothing
from segmentarium.errors import BadMask
from segmentarium.metrics import bootstrap_mean, count_pairs
from segmentarium.metrics.surface_scores import SurfaceDistances, SurfaceScores
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import Classes
from segmentarium.values.results import LabelMap

_DISTANCES = ("hd95", "assd", "nsd")


@dataclass(frozen=True, kw_only=True)
class VolumeCase(Case):
    """One volume; scores by structure, None where it is in neither truth nor prediction."""

    dice: dict[str, float | str | None]
    hd95_mm: dict[str, float | str | None]

    def as_dict(self) -> dict[str, Any]:
        return {"stem": self.stem, "mean_dice": plain(self.score), "dice": self.dice, "hd95_mm": self.hd95_mm}


@dataclass(frozen=True, kw_only=True)
class VolumeEvaluation(Evaluation):
    """What a model of volumes is worth.

    Attributes:
        dice: of each case and structure; nan where it is in neither truth nor prediction.
        surfaces: distances in mm; ``nsd`` with a tolerance of 1 mm.
    """

    task: ClassVar[str] = "semantic"
    headline: ClassVar[str] = "mean_dice"

    cases: tuple[VolumeCase, ...]
    structures: tuple[str, ...]
    dice: Float[np.ndarray, "n k"]
    surfaces: SurfaceScores

    def means(self) -> dict[str, Any]:
        distances = {
            f"{name}{'' if name == 'nsd' else '_mm'}": plain(self.surfaces.overall[name].mean)
            for name in _DISTANCES
        }
        return {"mean_dice": plain(float(np.nanmean(self.dice))), **distances}

    def details(self) -> dict[str, Any]:
        per_class = {
            name: {
                "dice": plain(_mean(self.dice[:, k])),
                "hd95_mm": plain(self.surfaces.per_class[name]["hd95"].mean),
                "assd_mm": plain(self.surfaces.per_class[name]["assd"].mean),
                "nsd": plain(self.surfaces.per_class[name]["nsd"].mean),
            }
            for k, name in enumerate(self.structures)
        }
        return {
            "per_class": per_class,
            "undefined": list(self.surfaces.undefined),
            "definitions": {
                "mean_dice": "Dice of each structure in each case, mean over both; a structure that is in"
                " neither truth nor prediction of a case is left out there.",
                "hd95_mm": "95% of the surface of either side is nearer than this to the other, in mm;"
                " infinite where one side is empty, and then in no mean.",
                "assd_mm": "Mean distance between the surfaces, both ways together, in mm.",
                "nsd": "Share of both surfaces that is within 1 mm of the other.",
                "interval": "Between these bounds lie 95% of the scores of resampled cases (bootstrap).",
            },
        }


class VolumeScorer:
    """Measures every structure of each case; the first class is the ground and no structure."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self._surfaces = SurfaceDistances(len(classes), names=classes.names, tolerance=1.0)
        self._stems: list[str] = []
        self._dice: list[Float[np.ndarray, " k"]] = []

    def update(self, stem: str, prediction: LabelMap, truth: Integer[np.ndarray, "d h w"], /) -> None:
        if prediction.labels.shape != truth.shape:
            raise BadMask(
                f"{stem}: a prediction of {prediction.labels.shape} for a truth of {truth.shape} voxels",
                allowed="equal shapes",
            )
        counts = count_pairs(prediction.labels, truth, classes=len(self.classes)).astype(np.float64)
        both = counts.sum(0) + counts.sum(1)
        with np.errstate(invalid="ignore"):
            dice = 2 * np.diag(counts) / both
        self._dice.append(dice[1:])
        self._surfaces.update(prediction.labels, truth, spacing=prediction.spacing_mm or 1.0)
        self._stems.append(stem)

    def merge(self, other: VolumeScorer, /) -> None:
        self._surfaces.merge(other._surfaces)
        self._stems += other._stems
        self._dice += other._dice

    def brief(self) -> Brief:
        dice = np.array(self._dice)
        per_class = {name: _mean(dice[:, k]) for k, name in enumerate(self.classes.names[1:])}
        return Brief(headline="mean_dice", mean={"mean_dice": _mean(dice)}, per_class=per_class)

    def evaluation(
        self, split: str, /, *, seconds: float, rounds: int = 1000, seed: int = 0
    ) -> VolumeEvaluation:
        refuse_nothing(split, images=len(self._stems))
        dice, surfaces, names = np.array(self._dice), self._surfaces.compute(), self.classes.names[1:]
        distances = surfaces.per_case["hd95"]
        cases = tuple(
            VolumeCase(
                stem=stem,
                score=_mean(dice[i]),
                dice={n: plain(float(v)) for n, v in zip(names, dice[i], strict=True)},
                hd95_mm={n: plain(float(v)) for n, v in zip(names, distances[i], strict=True)},
            )
            for i, stem in enumerate(self._stems)
        )
        per_case = np.array([case.score for case in cases])
        missed = [case.stem for case in cases if "inf" in case.hd95_mm.values()]
        return VolumeEvaluation(
            split=split,
            classes=self.classes,
            structures=names,
            dice=dice,
            surfaces=surfaces,
            cases=cases,
            intervals={"mean_dice": bootstrap_mean(per_case, rounds=rounds, seed=seed)} if rounds else {},
            seconds=seconds,
            notes=(f"a structure is missed or invented altogether in: {listed(missed)}",) if missed else (),
        )


def _mean(values: Float[np.ndarray, "..."]) -> float:
    """Of what is defined; nan if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
