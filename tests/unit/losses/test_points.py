"""Maps read at points, and the choice of points."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.losses.points import _gathered, drawing, sample, sample_together, uncertain_points

pytestmark = pytest.mark.atlas("L27")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def torchs_own(maps: Tensor, points: Tensor) -> Tensor:
    """``grid_sample``, one map and one set at a time."""
    grid = (2 * points - 1).view(1, -1, *[1] * (points.shape[-1] - 1), points.shape[-1])
    read = functional.grid_sample(maps[None, None], grid, align_corners=False)
    return read.flatten()


@pytest.mark.parametrize("size", [(5, 8), (1, 3), (3, 4, 5)])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bool])
def test_sample_is_grid_sample(size: tuple[int, ...], kind: torch.dtype) -> None:
    maps = torch.randn(4, *size, generator=seeded(), dtype=torch.float64)
    maps = maps > 0 if kind == torch.bool else maps.to(kind)
    dtype = torch.float32 if kind == torch.float32 else torch.float64
    points = 1.2 * torch.rand(4, 50, len(size), generator=seeded(1), dtype=dtype) - 0.1
    numbers = maps.to(points.dtype)
    own = torch.stack([torchs_own(*pair) for pair in zip(numbers, points, strict=True)])
    torch.testing.assert_close(sample(maps, points), own)
    shared = torch.stack([torchs_own(one, points[0]) for one in numbers])
    torch.testing.assert_close(sample(maps, points[0]), shared)
    rows = torch.tensor([3, 1, 1, 0])
    mixed = torch.stack([torchs_own(numbers[row], own) for row, own in zip(rows, points, strict=True)])
    torch.testing.assert_close(sample(maps, points, rows=rows), mixed)
    torch.testing.assert_close(sample(maps, points[0], rows=rows), shared[rows])


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bool])
def test_the_compiled_loop_is_the_gather(kind: torch.dtype) -> None:
    """The one runs on the CPU without gradients, the other everywhere."""
    maps = torch.randn(5, 9, 11, generator=seeded())
    maps = maps > 0 if kind == torch.bool else maps.to(kind)
    points = torch.rand(40, 2, generator=seeded(1), dtype=torch.float32 if kind != torch.float64 else kind)
    both = sample_together([(maps, points), (maps[:2, 1:], points[:30])])
    torch.testing.assert_close(both[0], _gathered(maps, points))
    torch.testing.assert_close(both[1], _gathered(maps[:2, 1:], points[:30]))


def test_together_is_one_by_one_also_for_maps_that_learn() -> None:
    maps = torch.randn(3, 6, 7, generator=seeded()).requires_grad_()
    points = torch.rand(10, 2, generator=seeded(1))
    torch.testing.assert_close(sample_together([(maps, points)])[0], sample(maps, points))
    assert sample_together([(maps, points)])[0].requires_grad


def test_the_centre_of_a_pixel_reads_the_pixel() -> None:
    maps = torch.arange(6.0).view(1, 2, 3)
    points = torch.tensor([[0.5 / 3, 0.25], [2.5 / 3, 0.75], [1.0 / 3, 0.25]])
    torch.testing.assert_close(sample(maps, points), torch.tensor([[0.0, 5.0, 0.5]]))


@pytest.mark.parametrize("shared", [True, False])
def test_gradients(shared: bool) -> None:
    maps = torch.randn(2, 3, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    points = torch.rand(2, 5, 2, generator=seeded(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda m: sample(m, points[0] if shared else points), (maps,))


def test_without_maps_or_points() -> None:
    for maps in (torch.zeros(0, 3, 3), torch.zeros(0, 3, 3, dtype=torch.bool)):
        assert sample(maps, torch.rand(7, 2)).shape == (0, 7)
        assert sample(maps, torch.rand(0, 7, 2)).shape == (0, 7)


def test_most_points_are_the_least_decided_candidates() -> None:
    logits = torch.randn(3, 6, 7, generator=seeded())
    candidates, fresh = torch.rand(3, 60, 2, generator=seeded(1)), torch.rand(3, 5, 2, generator=seeded(2))
    asked = []

    def draw(shape: tuple[int, ...]) -> Tensor:
        asked.append(shape)
        return candidates if shape == (3, 60, 2) else fresh

    points = uncertain_points(logits, 20, draw=draw)
    assert asked == [(3, 60, 2), (3, 5, 2)]
    for mask, own, given in zip(logits, points, candidates, strict=True):
        doubt = -torchs_own(mask, given).abs()
        best = given[doubt.argsort(descending=True)[:15]]
        torch.testing.assert_close(own[:15], best)
    torch.testing.assert_close(points[:, 15:], fresh)


def test_the_rest_may_be_candidates_that_were_not_selected() -> None:
    logits = torch.randn(3, 6, 7, generator=seeded())
    candidates = torch.rand(3, 60, 2, generator=seeded(1))
    points = uncertain_points(logits, 20, draw=lambda shape: candidates, rest="unselected")
    for own, given in zip(points, candidates, strict=True):
        assert len(own.unique(dim=0)) == 20
        assert {tuple(p) for p in own.tolist()} <= {tuple(p) for p in given.tolist()}


def test_void_is_avoided() -> None:
    logits = torch.ones(2, 4, 4)
    logits[:, :, :2] = 0  # the undecided half
    void = torch.zeros(1, 4, 4, dtype=torch.bool)
    void[:, :, :2] = True
    points = uncertain_points(
        logits,
        40,
        draw=drawing(seeded(), logits.device),
        importance=1.0,
        void=void,
        images=torch.tensor([0, 0]),
    )
    # a third of 120 candidates lies where only known pixels are read, which is enough for nearly all
    assert (sample(void, points, rows=torch.tensor([0, 0])) == 0).float().mean() > 0.9


def test_seeds() -> None:
    logits = torch.randn(2, 5, 5, generator=seeded())

    def chosen(seed: int) -> Tensor:
        return uncertain_points(logits, 16, draw=drawing(seeded(seed), logits.device))

    assert torch.equal(chosen(3), chosen(3))
    assert not torch.equal(chosen(3), chosen(4))
    torch.manual_seed(5)
    first = uncertain_points(logits, 16, draw=drawing(None, logits.device))
    torch.manual_seed(5)
    assert torch.equal(first, uncertain_points(logits, 16, draw=drawing(None, logits.device)))


def test_bad_input() -> None:
    with pytest.raises(BadArgument, match="3 coordinates came for maps of 2 axes"):
        sample(torch.zeros(1, 4, 4), torch.rand(5, 3))
    draw = drawing(None, torch.device("cpu"))
    for bad in ({"oversample": 0.5}, {"importance": 1.5}):
        with pytest.raises(BadArgument, match="importance from 0 to 1"):
            uncertain_points(torch.zeros(1, 4, 4), 8, draw=draw, **bad)
    with pytest.raises(BadArgument, match="count=0"):
        uncertain_points(torch.zeros(1, 4, 4), 0, draw=draw)
