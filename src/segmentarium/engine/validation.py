"""Scores on the validation split in the midst of training, in memory that does not grow with it."""

from __future__ import annotations

import torch.distributed
from lightning_fabric import Fabric

from segmentarium.data.dataset import DataSet
from segmentarium.engine.evaluate import Exam, Segmenter
from segmentarium.engine.scoring import Brief, Scorer


def score_split(model: Segmenter, data: DataSet, fabric: Fabric, *, split: str = "val") -> Brief:
    """Score ``model`` on all images of a split that have a truth.

    Processes share the images out, and all return the scores of all.
    """
    exam = Exam.of(model, data, split)
    for pair in exam.pairs[fabric.global_rank :: fabric.world_size]:
        exam.scorer.update(pair.stem, exam.answer(pair), exam.truth(pair))
    return _united(exam.scorer, fabric).brief()


def _united(scorer: Scorer, fabric: Fabric) -> Scorer:
    """The scorers of all processes in one, merged in the order of the processes."""
    if fabric.world_size == 1:
        return scorer
    parts: list[Scorer | None] = [None] * fabric.world_size
    torch.distributed.all_gather_object(parts, scorer)
    first, *others = (part for part in parts if part is not None)
    for other in others:
        first.merge(other)
    return first
