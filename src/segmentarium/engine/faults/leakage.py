"""The same picture on both sides of a split, to the bit or nearly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from segmentarium.engine.faults.finding import Finding, Hit, Severity, group
from segmentarium.engine.faults.survey import Sample, Survey

ALIKE = 0.87  # correlation of two signatures from which two pictures show the same
ROWS = 1024  # signatures compared at a time


def find(survey: Survey) -> Iterator[Finding]:
    """Pictures that stand in two splits."""
    splits: dict[str, list[Sample]] = {}
    for sample in survey.samples:
        if not sample.image.trouble:
            splits.setdefault(sample.split, []).append(sample)
    exact: list[Hit] = []
    near: list[Hit] = []
    for one, other in combinations(sorted(splits, key=_order), 2):
        exact.extend(same(splits[one], splits[other]))
        near.extend(similar(splits[one], splits[other]))
    yield from group(
        "duplicate-across-splits",
        Severity.WARNING,
        exact,
        what="the same picture stands in two splits, so scores are too good",
        allowed="each picture in one split",
        cure="remove it from one; `seg check --fix` drops it from train",
        fixable=True,
    )
    yield from group(
        "near-duplicate-across-splits",
        Severity.WARNING,
        near,
        what="nearly the same picture stands in two splits (a frame of one film, or a copy in other light)",
        allowed="pictures of one scene in one split",
        cure="split by scene or by film; `seg check --fix` drops it from train",
        fixable=True,
    )


def same(ones: Sequence[Sample], others: Sequence[Sample]) -> Iterator[Hit]:
    """Files of ``ones`` whose pixels equal those of a different file of ``others``."""
    known = {sample.image.digest: sample.image for sample in others}
    for sample in ones:
        twin = known.get(sample.image.digest)
        if twin is not None and twin.file != sample.image.file:
            yield Hit(sample.image.file, note=f"equals {twin.file}")


def similar(ones: Sequence[Sample], others: Sequence[Sample]) -> Iterator[Hit]:
    """Files of ``ones`` that look like one of ``others`` without being equal."""
    ones = [sample for sample in ones if sample.image.signature is not None]
    others = [sample for sample in others if sample.image.signature is not None]
    if not ones or not others:
        return
    right = _unit(others)
    digests = {sample.image.digest for sample in others}
    for start in range(0, len(ones), ROWS):
        part = ones[start : start + ROWS]
        alike = _unit(part) @ right.T
        for sample, row in zip(part, alike, strict=True):
            twin = others[int(row.argmax())].image
            if row.max() >= ALIKE and sample.image.digest not in digests:
                yield Hit(sample.image.file, note=f"resembles {twin.file}, correlation {row.max():.2f}")


def _unit(samples: Sequence[Sample]) -> np.ndarray:
    signatures = np.stack([s.image.signature for s in samples if s.image.signature is not None])
    vectors = signatures.astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(length, 1e-6)
    return unit


def _order(split: str) -> int:
    """Train first: it is where a duplicate is dropped."""
    return {"train": 0, "val": 1}.get(split, 2)
