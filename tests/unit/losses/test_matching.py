"""The assignment of least cost, and the costs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.losses.matching import (
    HungarianMatcher,
    Pairs,
    Truth,
    assign,
    class_probability,
    cross_entropy,
    dice,
    focal,
)
from segmentarium.nn.outputs import Queries

pytestmark = pytest.mark.atlas("L28")

COSTS = {class_probability: 2.0, cross_entropy: 5.0, dice: 5.0}


def brute_force(cost: np.ndarray) -> float:
    """The least total over every assignment there is."""
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    rows = range(cost.shape[0])
    return min(sum(cost[row, column] for row, column in zip(rows, order, strict=True))
               for order in permutations(range(cost.shape[1]), cost.shape[0]))  # fmt: skip


def sides(most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, most), st.integers(1, most))


@given(sides(6).flatmap(lambda s: arrays(np.float64, s, elements=st.floats(-5, 5, width=32))))
def test_equals_brute_force(cost: np.ndarray) -> None:
    queries, truths = (index.numpy() for index in assign(cost))
    assert len(queries) == min(cost.shape)
    assert len(set(truths)) == len(truths)
    assert (np.diff(queries) > 0).all()
    assert cost[queries, truths].sum() == pytest.approx(brute_force(cost), abs=1e-12)


def test_equals_brute_force_at_seven() -> None:
    cost = np.random.default_rng(0).random((7, 7))
    assert cost[tuple(i.numpy() for i in assign(cost))].sum() == pytest.approx(brute_force(cost))


@given(sides(5).flatmap(lambda s: arrays(np.float64, s, elements=st.integers(0, 2))))
def test_ties_go_to_the_lowest_index(cost: np.ndarray) -> None:
    queries, truths = (index.tolist() for index in assign(cost))
    total = cost[queries, truths].sum()
    assert total == brute_force(cost)
    held = dict(zip(queries, truths, strict=True))
    for query, truth in held.items():
        for lower in range(query):
            if lower not in held:
                assert cost[lower, truth] != cost[query, truth]
            elif held[lower] > truth:
                crossed = cost[lower, truth] + cost[query, held[lower]]
                assert crossed != cost[lower, held[lower]] + cost[query, truth]
        for lower in set(range(truth)) - set(truths):
            assert cost[query, lower] != cost[query, truth]


def test_equal_queries_and_equal_truths() -> None:
    cost = np.array([[3.0, 1.0], [0.0, 5.0], [0.0, 5.0], [3.0, 0.0], [3.0, 0.0]])
    queries, truths = assign(cost)
    assert (queries.tolist(), truths.tolist()) == ([1, 3], [0, 1])
    queries, truths = assign(np.zeros((3, 5)))
    assert (queries.tolist(), truths.tolist()) == ([0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_matched_last(bad: float) -> None:
    cost = np.array([[bad, 1e6], [1.0, 2.0], [bad, bad]])
    queries, truths = assign(cost)
    assert dict(zip(queries.tolist(), truths.tolist(), strict=True)) == {0: 1, 1: 0}
    assert len(assign(np.full((3, 2), bad)).queries) == 2


@pytest.mark.parametrize("shape", [(4, 0), (0, 4), (0, 0)])
def test_without_queries_or_truths(shape: tuple[int, int]) -> None:
    queries, truths = assign(np.zeros(shape))
    assert queries.shape == truths.shape == (0,)
    assert queries.dtype == torch.int64


def scene(
    seed: int = 0,
    *,
    counts: tuple[int, ...] = (3, 0, 6),
    queries: int = 5,
    kinds: int = 4,
    size: tuple[int, ...] = (6, 7),
    scale: int = 2,
) -> tuple[Queries, list[Truth]]:
    draw = torch.Generator().manual_seed(seed)
    large = tuple(scale * side for side in size)
    output = Queries(
        2 * torch.randn(len(counts), queries, kinds + 1, generator=draw, dtype=torch.float64),
        2 * torch.randn(len(counts), queries, *size, generator=draw, dtype=torch.float64),
    )
    truths = [
        Truth(
            torch.rand(count, *large, generator=draw) < 0.3, torch.randint(0, kinds, (count,), generator=draw)
        )
        for count in counts
    ]
    return output, truths


def slow_costs(pairs: Pairs) -> dict[str, Tensor]:
    """Pair by pair, from torch's own losses."""
    table = {
        name: torch.zeros(len(pairs.logits), len(pairs.masks)) for name in ("class", "ce", "focal", "dice")
    }
    for q, logits in enumerate(pairs.logits):
        for t, mask in enumerate(pairs.masks):
            each = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
            p = logits.sigmoid()
            wrong = torch.where(mask == 1, 1 - p, p)
            table["class"][q, t] = -pairs.class_logits[q].softmax(0)[pairs.classes[t]]
            table["ce"][q, t] = each.mean()
            table["focal"][q, t] = (torch.where(mask == 1, 0.25, 0.75) * wrong**2 * each).mean()
            table["dice"][q, t] = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
    return table


def test_costs_equal_their_slow_twins() -> None:
    output, truths = scene(counts=(4,), scale=1)
    masks = truths[0].masks.flatten(1).double()
    pairs = Pairs(output.class_logits[0], truths[0].classes, output.mask_logits[0].flatten(1), masks)
    slow = slow_costs(pairs)
    for cost, name in ((class_probability, "class"), (cross_entropy, "ce"), (focal, "focal"), (dice, "dice")):
        torch.testing.assert_close(cost(pairs).float(), slow[name].float())


@pytest.mark.parametrize("points", [None, 64])
@pytest.mark.parametrize("size", [(6, 7), (3, 4, 5)])
def test_a_batch_is_its_images(points: int | None, size: tuple[int, ...]) -> None:
    output, truths = scene(size=size)
    matcher = HungarianMatcher(COSTS, points=points)
    drawn = torch.rand(3, points or 1, len(size), dtype=torch.float64)
    together = matcher(output, truths, draw=lambda shape: drawn)
    assert [len(match.queries) for match in together] == [3, 0, 5]
    for i, match in enumerate(together):
        one = Queries(output.class_logits[i : i + 1], output.mask_logits[i : i + 1])
        (alone,) = matcher(one, truths[i : i + 1], draw=lambda shape, i=i: drawn[i : i + 1])
        assert torch.equal(match.queries, alone.queries)
        assert torch.equal(match.truths, alone.truths)


@pytest.mark.parametrize("points", [None, 400])
def test_the_answer_is_found(points: int | None) -> None:
    """Queries that hold the truths, in another order, are given to them."""
    _, (truth,) = scene(counts=(5,), scale=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    masks = 20 * truth.masks[order].double() - 10
    output = Queries(10 * functional.one_hot(truth.classes[order], 5).double()[None], masks[None])
    draw = torch.Generator().manual_seed(0)
    (match,) = HungarianMatcher(COSTS, points=points)(output, [truth], draw=draw)
    assert torch.equal(match.truths, order)


def test_any_function_may_be_a_cost() -> None:
    output, truths = scene(counts=(2,))

    def favour_late_queries(pairs: Pairs) -> Tensor:
        return -torch.arange(float(len(pairs.logits)))[:, None].expand(-1, len(pairs.masks)).double()

    (match,) = HungarianMatcher({favour_late_queries: 1.0})(output, truths)
    assert match.queries.tolist() == [3, 4]


@pytest.mark.parametrize("points", [None, 300])
@settings(max_examples=15)
@given(seed=st.integers(0, 1000))
def test_nothing_under_void_matters(points: int | None, seed: int) -> None:
    output, truths = scene(seed, counts=(3, 4), scale=1)
    draw = torch.Generator().manual_seed(seed)
    void = torch.rand(2, 6, 7, generator=draw) < 0.4
    drawn = torch.rand(2, points or 1, 2, generator=draw, dtype=torch.float64)
    matcher = HungarianMatcher(COSTS, points=points)
    first = [truth._replace(void=own) for truth, own in zip(truths, void, strict=True)]
    noise = torch.where(torch.rand(output.mask_logits.shape, generator=draw) < 0.5, torch.nan, 90.0).double()
    other = output._replace(mask_logits=torch.where(void[:, None], noise, output.mask_logits))
    second = [
        truth._replace(masks=truth.masks ^ own, void=own) for truth, own in zip(truths, void, strict=True)
    ]
    for a, b in zip(
        matcher(output, first, draw=lambda _: drawn),
        matcher(other, second, draw=lambda _: drawn),
        strict=True,
    ):
        assert torch.equal(a.queries, b.queries)
        assert torch.equal(a.truths, b.truths)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("points", [None, 64])
def test_half_precision_is_computed_in_single(dtype: torch.dtype, points: int | None) -> None:
    output, truths = scene()
    half = Queries(output.class_logits.to(dtype), 1000 * output.mask_logits.to(dtype))
    drawn = torch.rand(3, points or 1, 2)
    matcher = HungarianMatcher(COSTS, points=points)
    single = Queries(half.class_logits.float(), half.mask_logits.float())
    for a, b in zip(
        matcher(half, truths, draw=lambda _: drawn),
        matcher(single, truths, draw=lambda _: drawn),
        strict=True,
    ):
        assert torch.equal(a.truths, b.truths)


def test_bad_input() -> None:
    output, truths = scene()
    matcher = HungarianMatcher(COSTS)
    with pytest.raises(BadArgument, match="2 truths came for 3"):
        matcher(output, truths[:2])
    with pytest.raises(BadArgument, match=r"truths\[0\].classes goes from 0 to 4"):
        matcher(output, [truths[0]._replace(classes=torch.tensor([0, 4, 2])), *truths[1:]])
    with pytest.raises(BadArgument, match=r"truths\[0\].classes goes from -1"):
        matcher(output, [truths[0]._replace(classes=torch.tensor([0, -1, 2])), *truths[1:]])
    with pytest.raises(BadArgument, match="3 masks of"):
        matcher(output, [truths[0]._replace(classes=torch.tensor([0])), *truths[1:]])
    with pytest.raises(BadArgument, match="one size for the whole batch"):
        matcher(output, [*truths[:2], Truth(torch.zeros(1, 3, 3, dtype=torch.bool), torch.tensor([0]))])
    with pytest.raises(BadArgument, match="0 costs"):
        HungarianMatcher({})
    with pytest.raises(BadArgument, match="on 0 points"):
        HungarianMatcher(COSTS, points=0)
