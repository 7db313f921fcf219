"""What holds for every loss of shapes: ignored pixels, precision, gradients, absent classes, refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.losses.boundary import boundary, boundary_from_map
from segmentarium.losses.cldice import cl_dice, dice_cl_dice, soft_skeleton
from segmentarium.losses.hausdorff import hausdorff, log_hausdorff

Loss = Callable[..., Tensor]


def short(loss: Loss, **settings: object) -> Loss:
    return lambda probs, truth, worth, **more: loss(probs, truth, worth, iterations=2, **settings, **more)


LOSSES: dict[str, Loss] = {
    "boundary": boundary,
    "boundary_from_map": boundary_from_map,
    "hausdorff": hausdorff,
    "log_hausdorff": log_hausdorff,
    "cl_dice": short(cl_dice),
    "cl_dice monai": short(cl_dice, protocol="monai"),
    "dice_cl_dice": short(dice_cl_dice),
    "dice_cl_dice monai": short(dice_cl_dice, protocol="monai"),
}
each_loss = pytest.mark.parametrize("name", LOSSES)
pytestmark = pytest.mark.atlas("L14", "L15", "L31")


def scene(seed: int = 0, *, size: tuple[int, ...] = (7, 6)) -> tuple[Tensor, Tensor, Tensor]:
    """Two images of three classes; a fifth of the pixels is ignored, the others weigh 1 or 2."""
    draw = torch.Generator().manual_seed(seed)
    probs = (2 * torch.randn(2, 3, *size, generator=draw, dtype=torch.float64)).softmax(1)
    labels = torch.randint(0, 3, (2, *size), generator=draw)
    truth = functional.one_hot(labels, 3).movedim(-1, 1).double()
    worth = torch.tensor([0.0, 1, 1, 2, 1]).double()[torch.randint(0, 5, (2, 1, *size), generator=draw)]
    return probs, truth, worth


@each_loss
@settings(max_examples=8)
@given(
    seed=st.integers(0, 1000),
    junk=st.sampled_from([1.0, 1e30, float("nan"), float("-inf")]),
    volume=st.booleans(),
)
def test_ignored_pixels_change_nothing(name: str, seed: int, junk: float, volume: bool) -> None:
    probs, truth, worth = scene(seed, size=(4, 5, 3) if volume else (5, 6))
    ignored = (worth == 0).expand_as(probs)
    results = []
    for maps, truths in (
        (probs, truth),
        (probs.masked_fill(ignored, junk), truth.masked_fill(ignored, junk)),
    ):
        maps = maps.clone().requires_grad_()
        value = LOSSES[name](maps, truths, worth)
        results.append((value, *torch.autograd.grad(value, maps)))
    (clean, of_clean), (dirty, of_dirty) = results
    assert clean == dirty
    assert torch.equal(of_clean, of_dirty)
    assert not of_clean[ignored].any()


@each_loss
def test_a_margin_of_ignored_pixels_changes_nothing(name: str) -> None:
    probs, truth, worth = scene()
    margin = (2, 3, 4, 1)
    wide = [
        functional.pad(maps, margin, value=value) for maps, value in ((probs, 0.9), (truth, 1), (worth, 0))
    ]
    torch.testing.assert_close(LOSSES[name](*wide), LOSSES[name](probs, truth, worth))


@each_loss
@pytest.mark.parametrize(("size", "fast"), [((3, 3), False), ((3, 4, 3), True)])
def test_gradients(name: str, size: tuple[int, ...], fast: bool) -> None:
    probs, truth, worth = scene(size=size)
    probs.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: LOSSES[name](p, truth, worth), probs, fast_mode=fast)


@each_loss
def test_nothing_but_ignored_is_nothing(name: str) -> None:
    probs, truth, worth = scene()
    probs.requires_grad_()
    value = LOSSES[name](probs, truth, torch.zeros_like(worth))
    value.backward()
    assert value == 0
    assert probs.grad is not None
    assert not probs.grad.any()


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    probs, truth, worth = scene(size=(40, 50))
    low = probs.to(dtype).requires_grad_()
    value = LOSSES[name](low, truth.to(dtype), worth.to(dtype))
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(LOSSES[name](probs, truth, worth).item(), rel=0.01, abs=0.01)
    assert low.grad is not None
    assert low.grad.isfinite().all()


@each_loss
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_class_without_a_border(name: str, everywhere: bool) -> None:
    probs, truth, worth = scene()
    truth[:, 1] = float(everywhere)
    value = LOSSES[name](probs.requires_grad_(), truth, worth, classes=[1])
    value.backward()
    assert value.isfinite()
    assert probs.grad is not None
    assert probs.grad.isfinite().all()
    assert not probs.grad[:, [0, 2]].any()
    if name == "boundary":  # the stated policy: no border, no distance
        assert value == 0


@each_loss
def test_a_perfect_prediction_is_the_best(name: str) -> None:
    probs, truth, worth = scene()
    distances_or_truth = -truth if name == "boundary_from_map" else truth
    values = [
        LOSSES[name](p, distances_or_truth, worth) for p in (truth, (truth + probs) / 2, probs, 1 - truth)
    ]
    assert values == sorted(values)
    if not name.startswith("boundary"):
        assert values[0].item() == pytest.approx(0, abs=1e-4)


@each_loss
def test_a_batch_in_parts_is_the_batch(name: str) -> None:
    probs, truth, worth = scene()
    whole = LOSSES[name](probs, truth, worth)
    kept: list[Tensor] = []

    def note(sums: Tensor) -> Tensor:
        kept.append(sums)
        return sums

    for part in (slice(0, 1), slice(1, 2)):
        LOSSES[name](probs[part], truth[part], worth[part], total=note)
    sums = [
        first + second for first, second in zip(kept[: len(kept) // 2], kept[len(kept) // 2 :], strict=True)
    ]
    queue = iter(sums)
    assert LOSSES[name](probs, truth, worth, total=lambda _: next(queue)).item() == pytest.approx(
        whole.item()
    )


def test_a_line_keeps_its_skeleton_and_a_bar_its_middle() -> None:
    bar = torch.zeros(1, 1, 7, 20)
    bar[..., 2:5, 3:17] = 1
    skeleton = soft_skeleton(bar, iterations=3)[0, 0]
    assert (skeleton[3, 4:16] == 1).all()
    assert not skeleton[[0, 1, 2, 4, 5, 6], 5:15].any()
    line = torch.zeros(1, 1, 7, 7)
    line[..., 3, :] = 1
    assert torch.equal(soft_skeleton(line), line)


def test_a_broken_tube_costs_more_than_a_thin_one() -> None:
    tube = torch.zeros(1, 1, 9, 40)
    tube[..., 3:6, :] = 1
    thin, broken = tube.clone(), tube.clone()
    thin[..., [3, 5], :] = 0
    broken[..., 15:25] = 0
    worth = torch.ones(1, 1, 9, 40)
    assert cl_dice(thin, tube, worth, iterations=3) < 0.01 < cl_dice(broken, tube, worth, iterations=3)


def test_distances_follow_the_spacing() -> None:
    probs, truth, worth = scene()
    for loss, power in ((boundary, 1), (hausdorff, 2)):
        plain = loss(probs, truth, worth)
        torch.testing.assert_close(loss(probs, truth, worth, spacing=(3.0, 3.0)), 3**power * plain)


def test_all_shifts_of_the_toy() -> None:
    truth = torch.zeros(1, 1, 8, 8)
    truth[..., 2:6, 2:6] = 1
    probs, worth = 0.3 + 0.5 * truth, torch.ones(1, 1, 8, 8)
    got = {shift: boundary(probs, truth, worth, shift=shift).item() for shift in (1.0, 0.0, 0.5)}
    assert got == pytest.approx({1.0: 0.3384, 0.0: 0.1384, 0.5: 0.1259}, abs=5e-5)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape hook, as in production: it would refuse before we do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@each_loss
def test_what_does_not_fit_is_told(name: str, unchecked: None) -> None:
    probs, truth, worth = scene()
    for arguments, settings_of, told in (
        ((probs, truth[:, :2], worth), {}, "truth: shape"),
        ((probs, truth, worth[:, 0]), {}, "worth: shape"),
        ((probs[0], truth[0], worth[0]), {}, "probs: "),
        ((probs, truth, worth), {"classes": [3]}, "classes: "),
        ((probs, truth, worth), {"classes": []}, "classes: "),
        ((probs.logit(), truth, worth), {}, "probs: values from"),
    ):
        with pytest.raises(BadArgument, match=told):
            LOSSES[name](*arguments, **settings_of)
    if name != "boundary_from_map":
        with pytest.raises(BadArgument, match="truth: values from"):
            LOSSES[name](probs, 2 * truth, worth)


def test_numbers_that_do_not_fit_are_told() -> None:
    arguments = scene()
    for call, told in (
        (lambda: hausdorff(*arguments, alpha=0.0), "alpha: "),
        (lambda: hausdorff(*arguments, spacing=(1.0, -1.0)), "spacing: "),
        (lambda: boundary(*arguments, shift=2.0), "shift: "),
        (lambda: cl_dice(*arguments, smooth=0.0), "smooth: "),
        (lambda: cl_dice(*arguments, iterations=-1), "iterations: "),
        (lambda: dice_cl_dice(*arguments, alpha=1.5), "alpha: "),
    ):
        with pytest.raises(BadArgument, match=told):
            call()


def test_an_unknown_protocol_is_told(unchecked: None) -> None:
    with pytest.raises(UnknownName, match="did you mean 'monai'"):
        cl_dice(*scene(), protocol="monay")  # type: ignore[arg-type]


def test_distances_get_no_gradient_and_no_memory_of_truth() -> None:
    probs, truth, worth = scene()
    truth.requires_grad_()
    boundary(probs.requires_grad_(), truth, worth).backward()
    assert truth.grad is None or not truth.grad.any()
    assert np.isfinite(probs.grad.numpy()).all()  # type: ignore[union-attr]
