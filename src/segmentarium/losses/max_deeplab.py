"""The losses of MaX-DeepLab: panoptic segmentation by queries that compete for each pixel.

The paper's equations and the published code differ, so both are here by name:

=============================  ============================  ====================================
piece                          ``paper``                     ``code``
=============================  ============================  ====================================
weight of an unmatched query   1                             share of its mask that lies in void
lowest weight of a term        0                             1e-5
loss of classes                sum over queries              mean over queries whose loss is not 0
loss of masks                  sum over truths               the same, divided by the queries
Dice of a pair, where p is     2 sum(p t)                    2 sum(p t) + 1
the probability of its mask    / (sum p + sum t)             / (sum p + sum t + 1)
the same where it is matched   the same                      sum(p t)
by, or is a weight                                           / ((sum p + sum t) / 2 + 1e-5)
mean over pixels               over all that count           over those whose loss is not 0
=============================  ============================  ====================================
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument, BadRecipe, UnknownName
from segmentarium.losses.matching import (
    HungarianMatcher,
    Pairs,
    at_least_single,
    class_probability,
    require_fitting,
)
from segmentarium.nn.outputs import Queries
from segmentarium.nn.truth import Truth

Form = Literal["paper", "code"]
Scalar = Float[Tensor, ""]

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"pq_class": 3.0, "pq_mask": 3.0, "mask_id": 0.3, "instance_discrimination": 1.0}
)
_FLOOR = 1e-5


class MaxDeepLabLoss(nn.Module):
    """PQ-style loss, cross-entropy of the mask that owns a pixel, and discrimination of instances.

    Mask logits are before the softmax over queries. Queries are matched for the probability of the truth's
    class times the Dice of the masks. All terms are means over the images; ``pq_class``, ``pq_mask``,
    ``mask_id`` and ``instance_discrimination`` say what each is. Arithmetic is in float32 at least.

    Void pixels count nowhere, but for the code's weight of unmatched queries.

    Args:
        form: the paper's equations, or what its published code computes.
        things: classes whose pixels learn to be told apart by instance.
        alpha: what positives count in the PQ-style loss; negatives count the rest.
        temperature: of the softmax over instances.
        weights: of the terms in ``loss``; a term without weight is left out.

    Raises:
        BadRecipe: there is no such form or term.

    Source: Wang et al. 2021, arXiv:2012.00759, sections 3.2 and 3.4. The code is deeplab2 at commit 3446c8d;
        where truths outnumber queries it gives one query two classes, which is not followed here.
    """

    def __init__(
        self,
        *,
        form: Form = "paper",
        things: Collection[int] = (),
        alpha: float = 0.75,
        temperature: float = 0.3,
        weights: Mapping[str, float] = WEIGHTS,
    ) -> None:
        super().__init__()
        _require_known("form", [form], _SIMILARITY)
        _require_known("loss term", weights, WEIGHTS)
        self.form, self.things, self.alpha = form, tuple(things), alpha
        self.temperature, self.weights = temperature, dict(weights)
        self.matcher = HungarianMatcher({_SIMILARITY[form]: 1.0})

    def forward(
        self, output: Queries, truths: Sequence[Truth], features: Float[Tensor, "b c *s"] | None = None
    ) -> dict[str, Scalar]:
        """Each term by its name, unweighted, and their weighted sum as ``loss``.

        Args:
            truths: disjoint masks, of the size of the output or a whole multiple of it (every n-th pixel is
                taken then). Pixels of no mask are void where ``void`` is not given.
            features: one vector of unit length a pixel, for ``instance_discrimination``.

        Raises:
            BadArgument: truths do not fit the output, or features are missing.
        """
        require_fitting(output, truths)
        truths = [_at_stride(truth, output.mask_logits.shape[2:]) for truth in truths]
        matches = self.matcher(output, truths)
        scenes = [
            Scene(
                at_least_single(output.class_logits[image]),
                at_least_single(output.mask_logits[image]).flatten(1),
                truth.masks.flatten(1),
                truth.classes.long(),
                _void(truth).flatten(),
                match.queries.to(output.mask_logits.device),
                match.truths.to(output.mask_logits.device),
                self.form,
            )
            for image, (truth, match) in enumerate(zip(truths, matches, strict=True))
        ]
        means = {name: self._mean(name, scenes, features) for name in self.weights}
        return means | {"loss": torch.stack([self.weights[n] * v for n, v in means.items()]).sum()}

    def _mean(self, name: str, scenes: Sequence[Scene], features: Float[Tensor, "b c *s"] | None) -> Scalar:
        if name == "instance_discrimination":
            if features is None:
                cure = "or leave instance_discrimination out of weights"
                raise BadArgument("no features came", allowed="one vector a pixel", cure=cure)
            each = [
                instance_discrimination(scene, at_least_single(own).flatten(1), self.things, self.temperature)
                for scene, own in zip(scenes, features, strict=True)
            ]
        elif name == "mask_id":
            each = [mask_id(scene) for scene in scenes]
        else:
            term = {"pq_class": pq_class, "pq_mask": pq_mask}[name]
            each = [term(scene, self.alpha) for scene in scenes]
        return torch.stack(each).mean()


@dataclass(frozen=True, eq=False)
class Scene:
    """One image: queries, truths, and which answers which.

    Attributes:
        masks: disjoint, none empty, none in void.
        queries, truths: of the matched pairs.
    """

    class_logits: Float[Tensor, "q k"]
    mask_logits: Float[Tensor, "q n"]
    masks: Bool[Tensor, "t n"]
    classes: Int[Tensor, " t"]
    void: Bool[Tensor, " n"]
    queries: Int[Tensor, " m"]
    truths: Int[Tensor, " m"]
    form: Form

    @cached_property
    def log_probs(self) -> Float[Tensor, "q n"]:
        """Of each query at each pixel; without meaning in void."""
        return self.mask_logits.masked_fill(self.void, 0).log_softmax(0)

    @cached_property
    def sums(self) -> Float[Tensor, "3 m"]:
        """Of matched pairs: sum(p t), sum p, sum t."""
        probs = self.log_probs.exp().masked_fill(self.void, 0)[self.queries]
        masks = self.masks[self.truths].to(probs.dtype)
        return torch.stack([(probs * masks).sum(1), probs.sum(1), masks.sum(1)])

    @cached_property
    def owner(self) -> Int[Tensor, " n"]:
        """The truth that each pixel belongs to, -1 for none."""
        numbers = torch.arange(1, len(self.masks) + 1, device=self.masks.device)
        return (self.masks * numbers[:, None]).sum(0) - 1

    def mean(self, losses: Float[Tensor, " any"], counts: Bool[Tensor, " any"]) -> Scalar:
        """Over what counts, or what of it is not 0; 0 where nothing does."""
        losses = losses.masked_fill(~counts, 0)
        number = counts.sum() if self.form == "paper" else losses.count_nonzero()
        return losses.sum() / number.clamp_min(1)


def similarity(pairs: Pairs) -> Float[Tensor, "q t"]:
    """Minus class probability times Dice, by which the paper matches."""
    both, answered, true = _competing_sums(pairs)
    return 2 * class_probability(pairs) * both / (answered[:, None] + true)


def floored_similarity(pairs: Pairs) -> Float[Tensor, "q t"]:
    """Minus class probability times Dice, by which the code matches."""
    both, answered, true = _competing_sums(pairs)
    return class_probability(pairs) * both / ((answered[:, None] + true) / 2 + _FLOOR)


_SIMILARITY = {"paper": similarity, "code": floored_similarity}


def pq_class(scene: Scene, alpha: float = 0.75) -> Scalar:
    """Cross-entropy of classes: of matched queries weighted with their Dice, of the others "no object".

    No gradient flows through weights.
    """
    classes = torch.full_like(scene.class_logits[:, 0], scene.class_logits.shape[1] - 1, dtype=torch.int64)
    classes[scene.queries] = scene.classes[scene.truths]
    losses = functional.cross_entropy(scene.class_logits, classes, reduction="none")
    both, answered, true = scene.sums.detach().unbind()
    if scene.form == "paper":
        weight = torch.ones_like(losses)
        weight[scene.queries] = 2 * both / (answered + true)
    else:
        weight = _share_in_void(scene)
        weight[scene.queries] = both / ((answered + true) / 2 + _FLOOR)
        weight = weight.clamp_min(_FLOOR)
    balance = torch.full_like(losses, 1 - alpha)
    balance[scene.queries] = alpha
    losses = losses * weight * balance
    return losses.sum() if scene.form == "paper" else scene.mean(losses, torch.ones_like(losses) > 0)


def pq_mask(scene: Scene, alpha: float = 0.75) -> Scalar:
    """1 - Dice of matched masks, weighted with the probability of their class.

    No gradient flows through weights. A truth that no query was left for has the lowest weight.
    """
    probs = scene.class_logits.detach().softmax(-1)[scene.queries, scene.classes[scene.truths]]
    both, answered, true = scene.sums.unbind()
    if scene.form == "paper":
        return alpha * (probs * (1 - 2 * both / (answered + true))).sum()
    owned = scene.log_probs.exp()[scene.queries].masked_fill(scene.owner < 0, 0).sum(1)
    losses = probs.clamp_min(_FLOOR) * (1 - (2 * both + 1) / (owned + true + 1))
    area = scene.masks.sum(1).to(losses.dtype)
    alone = (area / (area + 1)).index_fill(0, scene.truths, 0).sum() * _FLOOR
    return alpha / len(scene.mask_logits) * (losses.sum() + alone)


def mask_id(scene: Scene) -> Scalar:
    """Cross-entropy, over queries, of the one that answers the truth a pixel belongs to."""
    if not len(scene.queries):
        return scene.mask_logits[:0].sum()
    answer = scene.queries.new_full((len(scene.masks) + 1,), -1)  # the last for pixels of no truth
    answer[scene.truths] = scene.queries
    label = answer[scene.owner]
    losses = -scene.log_probs.gather(0, label.clamp_min(0)[None])[0]
    return scene.mean(losses, label >= 0)


def instance_discrimination(
    scene: Scene, features: Float[Tensor, "c n"], things: Collection[int], temperature: float = 0.3
) -> Scalar:
    """Cross-entropy, over truths, of a thing's pixel finding its own.

    Logits are products of the pixel's vector with each truth's mean vector, brought to unit length, over the
    temperature. Pixels of stuff learn nothing; stuff is among the answers.
    """
    if not len(scene.masks):
        return features[:0].sum()
    features = features.masked_fill(scene.void, 0)
    masks = scene.masks.to(features.dtype)
    means = functional.normalize(features @ masks.T / masks.sum(1), dim=0, eps=1e-6)
    logits = features.T @ means / temperature
    losses = functional.cross_entropy(logits, scene.owner.clamp_min(0), reduction="none")
    thing = torch.isin(scene.classes, torch.tensor(things, dtype=torch.int64, device=masks.device))
    return scene.mean(losses, thing[scene.owner] & (scene.owner >= 0))


def _competing_sums(
    pairs: Pairs,
) -> tuple[Float[Tensor, "q t"], Float[Tensor, " q"], Float[Tensor, " t"]]:
    probs = pairs.logits.softmax(0)
    return pairs.overlap(probs), probs.sum(1), pairs.masks.sum(1)


def _share_in_void(scene: Scene) -> Float[Tensor, " q"]:
    probs = scene.mask_logits.detach().softmax(0)
    return probs @ scene.void.to(probs.dtype) / (probs.sum(1) + _FLOOR)


def _at_stride(truth: Truth, size: Sequence[int]) -> Truth:
    """Every n-th pixel of the truth, without masks that vanish there."""
    masks, classes, void = truth
    have = masks.shape[1:]
    steps = {-(-old // new) for old, new in zip(have, size, strict=True)}
    step = steps.pop()
    if steps or [(old - 1) // step + 1 for old in have] != list(size):
        raise BadArgument(
            f"masks of {tuple(have)} came for an output of {tuple(size)}",
            allowed="the size of the output, or one a whole stride larger",
            cure="pad the images to a multiple of the stride",
        )
    every = (slice(None), *[slice(None, None, step)] * len(have))
    masks = masks[every]
    void = _void(Truth(masks, classes, None if void is None else void[every[1:]]))
    masks = masks & ~void
    if masks.device.type == "cpu" and len(masks) and int(masks.sum(0).max()) > 1:
        raise BadArgument("masks overlap", allowed="one mask a pixel", cure="give each pixel to one of them")
    seen = masks.flatten(1).any(1)
    return Truth(masks[seen], classes[seen], void)


def _void(truth: Truth) -> Bool[Tensor, " *s"]:
    return ~truth.masks.any(0) if truth.void is None else truth.void


def _require_known(kind: str, names: Collection[str], known: Mapping[str, object]) -> None:
    for name in names:
        if name not in known:
            unknown = UnknownName.among(kind, name, known)
            raise BadRecipe(unknown.came, allowed=unknown.allowed, cure=unknown.cure)
