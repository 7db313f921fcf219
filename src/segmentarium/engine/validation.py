"""Scores on the validation split in the midst of training, in memory that does not grow with it."""

from __future__ import annotations

from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from segmentarium.data.dataset import DataSet
from segmentarium.data.normalise import Normalise
from segmentarium.engine.load import SIDE_STEP
from segmentarium.engine.tiled import Eye, Tiling, label_bands
from segmentarium.metrics import ConfusionMatrix, SemanticScores


def score_split(
    network: nn.Module,
    data: DataSet,
    normalise: Normalise,
    fabric: Fabric,
    *,
    tile: tuple[int, int],
    split: str = "val",
) -> SemanticScores:
    """Score ``network`` as prediction would use it, on all images of a split that have a mask.

    Processes share the images out, and all return the scores of all.
    """
    tiling = Tiling(tile=tile, step=SIDE_STEP)
    eye = Eye(network.eval(), normalise, str(fabric.device))
    counts = ConfusionMatrix(len(data.classes), names=data.classes.names)
    pairs = [pair for pair in data.split(split) if pair.mask is not None]
    for pair in pairs[fabric.global_rank :: fabric.world_size]:
        truth = data.labels(pair)
        for band in label_bands(data.image(pair).pixels, eye, tiling):
            counts.update(band.labels, truth[band.top : band.top + len(band.labels)])
    if fabric.world_size > 1:
        matrix = torch.from_numpy(counts.matrix).to(fabric.device)
        counts.matrix = cast(Tensor, fabric.all_reduce(matrix, reduce_op="sum")).cpu().numpy()
    return counts.compute()
