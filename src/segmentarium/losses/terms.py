"""Terms that losses are made of.

Each takes log-probabilities, the class of each pixel and the worth of each pixel, 0 for void. All are ratios
of sums over the batch, so that kinds can be added, and all are 0 with zero gradient where nothing is counted.
The sums pass through ``total``, which may add those of other processes.

Classes are never expanded to a one-hot tensor: sums over the pixels of a class are gathered by index.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

LogProbs = Float[Tensor, "b k n"]
Labels = Int[Tensor, "b n"]
Weight = Float[Tensor, "b n"]
Scalar = Float[Tensor, ""]
Total = Callable[[Float[Tensor, " ..."]], Float[Tensor, " ..."]]
Term = Callable[[LogProbs, Labels, Weight, Total], Scalar]

_TINY = 1e-12


def cross_entropy(log_probs: LogProbs, labels: Labels, weight: Weight, total: Total) -> Scalar:
    """Mean negative log-likelihood of the true class."""
    return _mean(-_of_truth(log_probs, labels), weight, total)


def focal(log_probs: LogProbs, labels: Labels, weight: Weight, total: Total) -> Scalar:
    """Cross-entropy in which a pixel whose class was given probability p counts (1 - p)^2.

    Source: Lin et al. 2017, arXiv:1708.02002, equation 4 with gamma = 2.
    """
    log_true = _of_truth(log_probs, labels)
    surprise = -torch.expm1(log_true)  # 1 - p, exact also where p is nearly 1
    return _mean(-surprise.square() * log_true, weight, total)


def dice(log_probs: LogProbs, labels: Labels, weight: Weight, total: Total) -> Scalar:
    """1 - 2 sum(p t) / (sum p + sum t) of each class over the batch, averaged over the classes that occur.

    A class without a pixel has no overlap to gain; its false alarms are charged to the classes they are taken
    from.

    Source: Milletari et al. 2016, arXiv:1606.04797, section 3, with plain sums in place of squares.
    """
    hit, predicted, true = _overlap(log_probs, labels, weight, total)
    return _over_present(1 - 2 * hit / (predicted + true).clamp_min(_TINY), true)


def jaccard(log_probs: LogProbs, labels: Labels, weight: Weight, total: Total) -> Scalar:
    """1 - sum(p t) / sum(p + t - p t) of each class over the batch, averaged over the classes that occur.

    Source: Rahman and Wang 2016, "Optimizing Intersection-over-Union in Deep Neural Networks", equation 3.
    """
    hit, predicted, true = _overlap(log_probs, labels, weight, total)
    return _over_present(1 - hit / (predicted + true - hit).clamp_min(_TINY), true)


TERMS: dict[str, Term] = {"cross_entropy": cross_entropy, "dice": dice, "focal": focal, "jaccard": jaccard}


def _of_truth(log_probs: LogProbs, labels: Labels) -> Float[Tensor, "b n"]:
    return log_probs.gather(1, labels[:, None])[:, 0]


def _mean(values: Float[Tensor, "b n"], weight: Weight, total: Total) -> Scalar:
    sums = total(torch.stack([(values * weight).sum(), weight.sum()]))
    return sums[0] / sums[1].clamp_min(_TINY)


def _overlap(log_probs: LogProbs, labels: Labels, weight: Weight, total: Total) -> Float[Tensor, "3 k"]:
    """Weighted sums for each class: probability on its own pixels, probability anywhere, pixels."""
    nothing = weight.new_zeros(log_probs.shape[1])
    hit = nothing.index_add(0, labels.flatten(), (_of_truth(log_probs, labels).exp() * weight).flatten())
    predicted = torch.einsum("bkn,bn->k", log_probs.exp(), weight)
    true = nothing.index_add(0, labels.flatten(), weight.flatten())
    return total(torch.stack([hit, predicted, true]))


def _over_present(losses: Float[Tensor, " k"], true: Float[Tensor, " k"]) -> Scalar:
    present = (true > 0).to(losses.dtype)
    return (losses * present).sum() / present.sum().clamp_min(1)
