"""Region mutual information: what the prediction of a neighbourhood tells of its truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.losses.evidence import Evidence, Scalar, ratio
from segmentarium.losses.term import Loss

SIDE = 3
"""Of a neighbourhood, in cells."""

ADDED = 5e-4
"""To the diagonal of what is inverted, and of what the logarithm is taken of: sums over cells, not means."""

FLOOR = 1e-6
"""Added to every probability."""


@dataclass(frozen=True, kw_only=True)
class RegionMutualInformation(Loss):
    """Sigmoid cross-entropy, and how little the prediction of a neighbourhood tells of its truth.

    Each class is a question of its own, also where classes exclude each other. Truth and probabilities are
    averaged over cells, zeros around the image and for void, and 3x3 cells are a vector. What is left of the
    covariance of the true ones when the predicted ones are known has a determinant; half its logarithm, over
    9, is the term. Classes are summed, images (of volumes: slices) averaged; it may be negative. The
    cross-entropy is summed over classes and averaged over pixels.

    Attributes:
        share: of the cross-entropy; the rest is the other term's.
        cell: side of a cell in pixels.

    Raises:
        BadArgument: neither pictures nor volumes.

    Source: Zhao et al. 2019, arXiv:1910.12037, section 3; cells, sums and added numbers as in the authors'
    code and in that of HMSA, arXiv:2005.10821.
    """

    share: float = 0.5
    cell: int = 4

    def of(self, evidence: Evidence) -> Scalar:
        worth = _slices(evidence.worth_map)
        known = worth > 0
        shape = (*evidence.logits.shape[:2], *evidence.space)
        logits = _slices(evidence.logits.reshape(shape)).masked_fill(~known, 0)
        truth = _slices(evidence.truth)
        entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        unknown = unexplained(self._cells(truth * known), self._cells(logits.sigmoid() * known + FLOOR))
        if evidence.class_weights is not None:
            unknown = unknown * evidence.class_weights
            entropy = entropy * evidence.class_weights[:, None, None]
        counted = known.flatten(1).any(1)
        sums = [(entropy * worth).sum(), worth.mean(1).sum(), (unknown.sum(1) * counted).sum(), counted.sum()]
        total = evidence.total(torch.stack(sums))
        by_pixel = ratio(total[0], total[1], empty=0.0)
        return self.share * by_pixel + (1 - self.share) * ratio(total[2], total[3], empty=0.0)

    def _cells(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k i j"]:
        """Means of cells, at least three each way."""
        short = [max(0, self.cell * (SIDE - 1) - side) for side in maps.shape[2:]]
        maps = functional.pad(maps, (0, short[1], 0, short[0]))
        return functional.avg_pool2d(maps, self.cell, self.cell, self.cell // 2)


def unexplained(
    truth: Float[Tensor, "b k i j"], prediction: Float[Tensor, "b k i j"]
) -> Float[Tensor, "b k"]:
    """Half the log-determinant of the truth's covariance that ``prediction`` leaves, over its nine axes."""
    true, found = (_neighbourhoods(maps) for maps in (truth, prediction))
    added = ADDED * torch.eye(SIDE**2, dtype=true.dtype, device=true.device)
    factor = torch.linalg.cholesky(found @ found.mT + added)
    explained = torch.linalg.solve_triangular(factor, found @ true.mT, upper=False)
    left = torch.linalg.cholesky(true @ true.mT - explained.mT @ explained + added)
    half: Tensor = left.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return (half / SIDE**2).to(prediction.dtype)


def _neighbourhoods(maps: Float[Tensor, "b k i j"]) -> Float[Tensor, "b k v n"]:
    """Vectors of cells without their mean, in double precision: determinants are products of nine."""
    cells = maps.double().unfold(2, SIDE, 1).unfold(3, SIDE, 1)
    vectors: Tensor = cells.flatten(4).flatten(2, 3).mT
    return vectors - vectors.mean(3, keepdim=True)


def _slices(maps: Float[Tensor, "b k *s"]) -> Float[Tensor, "n k h w"]:
    """Pictures as they are, volumes as their slices."""
    if maps.ndim not in (4, 5):
        raise BadArgument(
            f"RegionMutualInformation in {maps.ndim - 2} axes of space", allowed="2, or 3 slice by slice"
        )
    return maps if maps.ndim == 4 else maps.movedim(2, 1).flatten(0, 1)
