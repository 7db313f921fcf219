"""Inputs of the recorded read-outs, by the rule of ``rule.py``: nothing of them is stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from rule import uniform
from torch import Tensor
from torch.nn.functional import interpolate

from segmentarium.nn.outputs import Queries, Regions
from segmentarium.values.classes import Class, Classes, distinct_color

SEED = 2917
THINGS, STUFF = 4, 3
CLASSES = Classes(
    Class(id=i, name=f"c{i}", color=distinct_color(i), thing=i < THINGS) for i in range(THINGS + STUFF)
)


@dataclass(frozen=True)
class Scene:
    """``sharp`` is how far logits are spread; masks of ``masks`` cells stand for ``size`` pixels.

    ``overlap`` is the share that MaskFormer's rule asks for: 0.8 is the paper's, less keeps more of a crowd.
    """

    queries: int
    masks: tuple[int, int]
    size: tuple[int, int]
    sharp: float
    overlap: float


SCENES = {
    "few": Scene(8, (13, 17), (49, 65), 3.0, 0.8),
    "many": Scene(30, (16, 20), (64, 80), 2.0, 0.15),
    "even": Scene(20, (12, 16), (48, 64), 4.0, 0.3),
}


def spread(shape: tuple[int, ...], index: int, *, reach: float = 1.0) -> Tensor:
    """Numbers from -reach to reach, in double precision."""
    return torch.from_numpy((2 * uniform(shape, SEED, index) - 1) * reach)


def queries_of(name: str) -> Queries:
    """Smooth masks, and classes of which many are sure."""
    scene, index = SCENES[name], 10 * list(SCENES).index(name)
    labels = spread((1, scene.queries, len(CLASSES) + 1), index, reach=3 * scene.sharp)
    smooth = interpolate(spread((1, scene.queries, 4, 5), index + 1), scene.masks, mode="bilinear")
    rough = spread((1, scene.queries, *scene.masks), index + 2, reach=0.3)
    return Queries(labels.float(), (2 * scene.sharp * (smooth + rough - 0.2)).float())


SIZE = (72, 90)


def regions_of(count: int = 14) -> Regions:
    """Overlapping objects, some of them beyond the picture, with a few equal scores."""
    corners = spread((count, 2), 100, reach=45) + 35
    sides = spread((count, 2), 101, reach=22) + 26
    scores = torch.from_numpy(np.round(uniform((count,), SEED, 102), 1))
    return Regions(
        torch.zeros(count, dtype=torch.int64),
        torch.cat([corners, corners + sides], 1).float(),
        scores.float(),
        torch.from_numpy((uniform((count,), SEED, 103) * THINGS).astype(np.int64)),
        (interpolate(spread((1, count, 6, 6), 104, reach=4), (14, 14), mode="bilinear")[0] + 1.5).float(),
    )


def semantic_logits() -> Tensor:
    """A score for each class of stuff, and last one for all things."""
    smooth = interpolate(spread((1, STUFF + 1, 5, 6), 105, reach=3), (18, 23), mode="bilinear")
    return smooth.float()
