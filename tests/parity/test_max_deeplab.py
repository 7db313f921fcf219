"""The losses of MaX-DeepLab: the published code's recorded numbers, and twins written pixel by pixel.

``max_deeplab.toml`` holds what the published code computed. Of the paper's form there is no implementation to
record: the twin is a reconstruction from the equations, in loops.
"""

from __future__ import annotations

import tomllib
from itertools import permutations
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rule import uniform
from torch import Tensor

from segmentarium.errors import BadArgument, BadRecipe
from segmentarium.losses.matching import Truth
from segmentarium.losses.max_deeplab import WEIGHTS, MaxDeepLabLoss
from segmentarium.nn.outputs import Queries

pytestmark = pytest.mark.atlas("L23", "L24", "L25")

RECORD = tomllib.loads(Path(__file__).with_name("max_deeplab.toml").read_text(encoding="utf-8"))
CASES = {name: case for name, case in RECORD.items() if isinstance(case, dict)}
TERMS = tuple(WEIGHTS)
BATCH, SIDE, CHANNELS, KINDS, REGIONS, THINGS = 2, 9, 6, 5, 6, (0, 1, 2)


def predictions(seed: int, slots: int = 12, scale: float = 5.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, mask logits and class logits, pixels before channels."""
    features = 2 * uniform((BATCH, SIDE, SIDE, CHANNELS), seed, 0) - 1
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    masks = scale * (2 * uniform((BATCH, SIDE, SIDE, slots), seed, 1) - 1)
    return features, masks, scale * (2 * uniform((BATCH, slots, KINDS + 1), seed, 2) - 1)


def regions(seed: int, side: int = SIDE, void: float = 0.15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The region of each pixel (nearest of six seeds), the kind of each region, and holes."""
    seeds = side * uniform((BATCH, REGIONS, 2), seed, 3)
    kinds = (KINDS * uniform((BATCH, REGIONS), seed, 4)).astype(int)
    row, column = np.mgrid[:side, :side]
    away = (row[..., None] - seeds[:, None, None, :, 0]) ** 2 + (
        column[..., None] - seeds[:, None, None, :, 1]
    ) ** 2
    return away.argmin(-1), kinds, uniform((BATCH, side, side), seed, 5) < void


def truths_of(seed: int, *, crowd: bool = False, **how: Any) -> list[Truth]:
    truths = []
    for region, kinds, hole in zip(*regions(seed, **how), strict=True):
        things = [(region == i, k) for i, k in enumerate(kinds) if k in THINGS and not (crowd and i == 0)]
        stuff = [(np.isin(region, np.flatnonzero(kinds == k)), k) for k in range(KINDS) if k not in THINGS]
        masks = np.stack([mask & ~hole for mask, _ in things + stuff])
        classes = torch.tensor([int(kind) for _, kind in things + stuff])
        truths.append(Truth(torch.from_numpy(masks), classes, torch.from_numpy(hole)))
    return truths


def scene(seed: int, dtype: torch.dtype, **how: Any) -> tuple[Queries, list[Truth], Tensor]:
    of_truth = {key: how.pop(key) for key in ("crowd", "side", "void") if key in how}
    features, masks, classes = (torch.from_numpy(x).to(dtype) for x in predictions(seed, **how))
    output = Queries(classes.requires_grad_(), masks.movedim(-1, 1).contiguous().requires_grad_())
    return output, truths_of(seed, **of_truth), features.movedim(-1, 1).contiguous().requires_grad_()


def alone(output: Queries, features: Tensor, image: int) -> tuple[Queries, Tensor]:
    one = slice(image, image + 1)
    return Queries(output.class_logits[one], output.mask_logits[one]), features[one]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_recorded_numbers_of_the_published_code(name: str, dtype: torch.dtype) -> None:
    case = CASES[name]
    if name == "confident" and dtype == torch.float64:
        pytest.skip("which losses are exactly 0, and so are not counted, depends on the precision")
    how = {key: case[key] for key in ("seed", "slots", "scale", "void", "crowd", "side") if key in case}
    output, truths, features = scene(how.pop("seed"), dtype, **how)
    loss = MaxDeepLabLoss(form="code", things=THINGS, weights=dict.fromkeys(TERMS, 1.0))
    whole = loss(output, truths, features)
    for term in TERMS:
        assert whole[term].item() == pytest.approx(np.mean(case[term]), rel=RECORD["tolerance"])
        for image in range(BATCH):
            one, own = alone(output, features, image)
            assert loss(one, truths[image : image + 1], own)[term].item() == pytest.approx(
                case[term][image], rel=RECORD["tolerance"]
            )
    gradients = list(
        torch.autograd.grad(BATCH * whole["loss"], [features, output.mask_logits, output.class_logits])
    )
    gradients[1] = gradients[1] + of_crowds(output, truths)
    for gradient, expected in zip(gradients, case["gradients"], strict=True):
        ordered = gradient.movedim(1, -1) if gradient.ndim == 4 else gradient
        probe = np.cos(np.arange(gradient.numel())) @ ordered.double().numpy().ravel()
        assert probe == pytest.approx(expected, rel=RECORD["tolerance"], abs=RECORD["tolerance"] * 0.02)


def of_crowds(output: Queries, truths: list[Truth]) -> Tensor:
    """A gradient that the published code has and its loss has not.

    Labelled pixels of no mask have labels that are all zero, so that ``mask_id`` is 0 there, but TensorFlow's
    fused cross-entropy takes labels to add up to 1 and returns the softmax as its gradient.
    """
    owned = torch.stack([truth.masks.any(0) for truth in truths])
    crowd = ~owned & ~torch.stack([truth.void for truth in truths])
    if not crowd.any():
        return torch.zeros_like(output.mask_logits)
    probs = output.mask_logits.detach().softmax(1)
    return probs * (crowd / owned.sum((1, 2), keepdim=True))[:, None]


def softmax(row: np.ndarray) -> np.ndarray:
    powers = [exp(x - max(row)) for x in row]
    return np.array([p / sum(powers) for p in powers])


def twin(
    form: str, class_logits: np.ndarray, mask_logits: np.ndarray, truth: Truth, alpha: float
) -> dict[str, float]:
    """``pq_class``, ``pq_mask`` and ``mask_id`` of one image, sum by sum; matching by trying everything."""
    masks, void = truth.masks.numpy(), truth.void.numpy()
    kinds = [int(kind) for kind, mask in zip(truth.classes, masks, strict=True) if mask.any()]
    masks = [mask for mask in masks if mask.any()]
    slots = len(class_logits)
    p = [softmax(row) for row in class_logits]
    at = {(y, x): softmax(mask_logits[:, y, x]) for y, x in np.ndindex(void.shape)}
    known = [place for place in at if not void[place]]
    owned = [place for place in known if any(mask[place] for mask in masks)]

    def sums(i: int, q: int, where: list[tuple[int, int]]) -> tuple[float, float, float]:
        both = sum(at[place][q] for place in where if masks[i][place])
        return both, sum(at[place][q] for place in where), float(masks[i].sum())

    def overlap(i: int, q: int) -> float:
        both, answered, true = sums(i, q, known)
        return 2 * both / (answered + true) if form == "paper" else both / ((answered + true) / 2 + 1e-5)

    alike = [[p[q][kind] * overlap(i, q) for q in range(slots)] for i, kind in enumerate(kinds)]
    best = max(
        permutations(range(slots), len(kinds)), key=lambda o: sum(alike[i][q] for i, q in enumerate(o))
    )
    classes, dices = [], 0.0
    for q in range(slots):
        if q in best:
            i = best.index(q)
            weight = overlap(i, q) if form == "paper" else max(overlap(i, q), 1e-5)
            classes.append(alpha * weight * -log(p[q][kinds[i]]))
            both, answered, true = sums(i, q, known if form == "paper" else owned)
            plain = 1 - (
                2 * both / (answered + true) if form == "paper" else (2 * both + 1) / (answered + true + 1)
            )
            dices += alpha * (p[q][kinds[i]] if form == "paper" else max(p[q][kinds[i]], 1e-5)) * plain
        else:
            inside = sum(at[place][q] for place in at if void[place])
            share = max(inside / (sum(at[place][q] for place in at) + 1e-5), 1e-5)
            classes.append((1 - alpha) * (1 if form == "paper" else share) * -log(p[q][-1]))
    ids = [-log(at[place][best[i]]) for i, mask in enumerate(masks) for place in owned if mask[place]]
    return {
        "pq_class": sum(classes) if form == "paper" else sum(classes) / slots,
        "pq_mask": dices if form == "paper" else dices / slots,
        "mask_id": sum(ids) / len(ids),
    }


@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize("alpha", [0.75, 0.3])
def test_equals_its_slow_twin(form: str, alpha: float) -> None:
    for seed in (11, 12):
        output, truths, features = scene(seed, torch.float64, slots=6, crowd=True)
        truths = [Truth(t.masks[:4], t.classes[:4], t.void) for t in truths]
        weights = dict.fromkeys(("pq_class", "pq_mask", "mask_id"), 1.0)
        loss = MaxDeepLabLoss(form=form, alpha=alpha, weights=weights)
        for image in range(BATCH):
            one, _ = alone(output, features, image)
            got = loss(one, truths[image : image + 1])
            numbers = one.class_logits[0].detach().numpy(), one.mask_logits[0].detach().numpy()
            for term, expected in twin(form, *numbers, truths[image], alpha).items():
                assert got[term].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_instances_are_told_apart_as_written(form: str) -> None:
    output, truths, features = scene(13, torch.float64)
    weights = {"instance_discrimination": 1.0}
    for image, truth in enumerate(truths):
        one, own = alone(output, features, image)
        got = MaxDeepLabLoss(form=form, things=THINGS, temperature=0.5, weights=weights)(one, [truth], own)
        g = own[0].detach().numpy()
        masks = [mask.numpy() for mask in truth.masks]
        means = [g[:, mask].mean(1) / np.linalg.norm(g[:, mask].mean(1)) for mask in masks if mask.any()]
        kinds = [int(k) for k, mask in zip(truth.classes, masks, strict=True) if mask.any()]
        masks = [mask for mask in masks if mask.any()]
        losses = [
            -log(softmax(np.array([g[:, y, x] @ mean for mean in means]) / 0.5)[i])
            for i, mask in enumerate(masks)
            if kinds[i] in THINGS
            for y, x in zip(*np.nonzero(mask), strict=True)
        ]
        assert got["loss"].item() == pytest.approx(np.mean(losses), rel=1e-9)


def test_the_two_forms_differ() -> None:
    output, truths, features = scene(14, torch.float64)
    values = {
        form: MaxDeepLabLoss(form=form, things=THINGS)(output, truths, features) for form in ("paper", "code")
    }
    for term in ("pq_class", "pq_mask"):
        assert abs((values["paper"][term] / values["code"][term]).item() - 1) > 0.1
    torch.testing.assert_close(values["paper"]["mask_id"], values["code"]["mask_id"])


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_nothing_under_void_matters_in_the_paper(seed: int) -> None:
    output, truths, features = scene(seed, torch.float64, void=0.4)
    void = torch.stack([truth.void for truth in truths])[:, None]
    loss = MaxDeepLabLoss(things=THINGS)
    first = loss(output, truths, features)
    noise = torch.full_like(output.mask_logits, torch.inf)
    other = Queries(
        output.class_logits, torch.where(void, noise, output.mask_logits).detach().requires_grad_()
    )
    strange = torch.where(void, torch.nan, features).detach().requires_grad_()
    painted = [truth._replace(masks=truth.masks | truth.void) for truth in truths]
    second = loss(other, painted, strange)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name])
    before = torch.autograd.grad(first["loss"], [output.class_logits, output.mask_logits, features])
    after = torch.autograd.grad(second["loss"], [other.class_logits, other.mask_logits, strange])
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b)
    assert not after[1][void.expand_as(after[1])].any()
    assert not after[2][void.expand_as(after[2])].any()


@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize("term", ["mask_id", "instance_discrimination"])
def test_gradients(form: str, term: str) -> None:
    output, truths, features = scene(15, torch.float64, slots=8)
    loss = MaxDeepLabLoss(form=form, things=THINGS, weights={term: 1.0})
    one, own = alone(output, features, 0)
    leaves = [t.detach().requires_grad_() for t in (*one[:2], own)]
    assert torch.autograd.gradcheck(
        lambda c, m, f: loss(Queries(c, m), truths[:1], f)["loss"], leaves, fast_mode=True
    )


@pytest.mark.parametrize("form", ["paper", "code"])
def test_weights_carry_no_gradient(form: str) -> None:
    """Class logits move ``pq_class`` only, mask logits ``pq_mask`` only."""
    output, truths, _ = scene(16, torch.float64)
    loss = MaxDeepLabLoss(form=form, weights={"pq_class": 1.0, "pq_mask": 1.0})
    terms = loss(output, truths)
    (none,) = torch.autograd.grad(terms["pq_class"], output.mask_logits, retain_graph=True, allow_unused=True)
    assert none is None
    (none,) = torch.autograd.grad(terms["pq_mask"], output.class_logits, allow_unused=True)
    assert none is None


@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite(form: str, dtype: torch.dtype) -> None:
    output, truths, features = scene(17, torch.float32, scale=3000.0)
    halves = Queries(*(t.detach().to(dtype).requires_grad_() for t in output[:2]))
    loss = MaxDeepLabLoss(form=form, things=THINGS)(halves, truths, features.detach().to(dtype))["loss"]
    assert loss.dtype == torch.float32
    assert all(g.isfinite().all() for g in (loss, *torch.autograd.grad(loss, list(halves[:2]))))


@pytest.mark.parametrize("form", ["paper", "code"])
def test_few_queries_and_empty_images(form: str) -> None:
    output, truths, features = scene(18, torch.float64, slots=2)
    nothing = Truth(truths[0].masks[:0], truths[0].classes[:0])
    loss = MaxDeepLabLoss(form=form, things=THINGS)
    for some in (truths, [nothing, truths[1]], [nothing, nothing]):
        terms = loss(output, some, features)
        gradients = torch.autograd.grad(terms["loss"], [*output[:2], features])
        assert all(t.isfinite().all() for t in (*terms.values(), *gradients))
    assert terms["mask_id"].item() == terms["instance_discrimination"].item() == 0


def test_bad_input() -> None:
    output, truths, features = scene(19, torch.float64)
    with pytest.raises(BadArgument, match="no features came"):
        MaxDeepLabLoss()(output, truths)
    with pytest.raises(BadArgument, match="masks overlap"):
        MaxDeepLabLoss()(
            output, [truths[0]._replace(masks=truths[0].masks | True, void=None), truths[1]], features
        )
    with pytest.raises(BadArgument, match=r"masks of \(9, 9\) came for an output of \(7, 9\)"):
        MaxDeepLabLoss()(output._replace(mask_logits=output.mask_logits[:, :, :7]), truths, features)
    with pytest.raises(BadRecipe, match="pq_mask"):
        MaxDeepLabLoss(weights={"pq_masks": 1.0})
