"""What holds for every loss by name and every kind of task: one convention, void, gradients, precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segmentarium.errors import BadArgument, BadMask, BadRecipe
from segmentarium.losses import TERMS, CrossEntropy, Dice, Focal, Loss, SemanticLoss
from segmentarium.nn import Semantic

KINDS = ("exclusive", "binary", "overlapping")
QUESTIONS_ONLY = {"binary_cross_entropy", "balanced_cross_entropy"}
EXCLUSIVE_ONLY = {"unified_focal"}
CASES = [
    (name, kind)
    for name in TERMS
    for kind in KINDS
    if not (name in QUESTIONS_ONLY and kind == "exclusive")
    and not (name in EXCLUSIVE_ONLY and kind != "exclusive")
]
pytestmark = pytest.mark.atlas("L31")


def made(name: str) -> Loss:
    settings = {"ohem": {"least": 5}, "cl_dice": {"iterations": 2}, "dice_cl_dice": {"iterations": 2}}
    return TERMS[name](**settings.get(name, {}))


def scene(
    kind: str, seed: int = 0, *, size: tuple[int, ...] = (5, 6), dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Logits and labels with some void; void covers all classes of a pixel, as shape losses want."""
    draw = torch.Generator().manual_seed(seed)
    classes = 1 if kind == "binary" else 3
    logits = 2 * torch.randn(2, classes, *size, generator=draw, dtype=torch.float64)
    shape = (2, classes, *size) if kind == "overlapping" else (2, *size)
    labels = torch.randint(0, 3 if kind == "exclusive" else 2, shape, generator=draw)
    void = torch.rand((2, *size), generator=draw) < 0.2
    labels = labels.masked_fill(void[:, None] if kind == "overlapping" else void, -1)
    return logits.to(dtype), labels


def void_of(logits: Tensor, labels: Tensor) -> Tensor:
    return (labels < 0 if labels.ndim == logits.ndim else (labels < 0)[:, None]).expand_as(logits)


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_void_reaches_neither_value_nor_gradient(name: str, kind: str, dtype: torch.dtype) -> None:
    logits, labels = scene(kind, dtype=dtype)
    found = []
    for junk in (0.0, 1e30, float("nan"), -float("inf")):
        dirty = logits.masked_fill(void_of(logits, labels), junk).requires_grad_()
        value = made(name)(dirty, labels)
        value.backward()
        assert dirty.grad is not None
        found.append((value.detach(), dirty.grad))
    for value, gradient in found[1:]:
        assert torch.equal(value, found[0][0])
        assert torch.equal(gradient, found[0][1])
    assert (found[0][1][void_of(logits, labels)] == 0).all()
    assert found[0][1].abs().sum() > 0


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_all_void_is_0_without_gradient(name: str, kind: str) -> None:
    for dtype in (torch.float32, torch.float64):
        logits, labels = scene(kind, dtype=dtype)
        logits.requires_grad_()
        value = made(name)(logits, torch.full_like(labels, -1))
        value.backward()
        assert value.item() == 0
        assert logits.grad is not None
        assert (logits.grad == 0).all()


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if "hausdorff" not in case[0]])
def test_gradient_is_that_of_the_value(name: str, kind: str) -> None:
    logits, labels = scene(kind, size=(3, 3))
    loss = made(name)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits.requires_grad_(), atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_single_precision_has_the_numbers_of_double(name: str, kind: str) -> None:
    results = []
    for dtype in (torch.float32, torch.float64):
        logits, labels = scene(kind, 3, size=(20, 31), dtype=dtype)
        logits.requires_grad_()
        value = made(name)(logits, labels)
        value.backward()
        assert logits.grad is not None
        results.append((value.detach().double(), logits.grad.double()))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-6)
    scale = results[1][1].abs().max()
    torch.testing.assert_close(results[0][1] / scale, results[1][1] / scale, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite(name: str, kind: str, dtype: torch.dtype) -> None:
    logits, labels = scene(kind)
    for scale in (1, 1e4):
        half = (scale * logits).clamp(-6e4, 6e4).to(dtype).requires_grad_()
        value = made(name)(half, labels)
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert half.grad is not None
        assert half.grad.isfinite().all()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_volumes_and_channels_last(name: str, kind: str) -> None:
    logits, labels = scene(kind, size=(4, 5, 6), dtype=torch.float32)
    assert made(name)(logits, labels).isfinite()
    flat, flat_labels = scene(kind, size=(6, 7), dtype=torch.float32)
    last = flat.to(memory_format=torch.channels_last)
    torch.testing.assert_close(made(name)(last, flat_labels), made(name)(flat, flat_labels))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_better_predictions_cost_less(name: str, kind: str) -> None:
    _, labels = scene(kind, size=(8, 9))
    if kind == "exclusive":
        truth = torch.nn.functional.one_hot(labels.clamp_min(0), 3).movedim(-1, 1)
    else:
        truth = labels.clamp_min(0).reshape(2, -1, 8, 9)
    logits = truth - 0.5
    assert made(name)(3 * logits, labels) < made(name)(logits, labels) < made(name)(-logits, labels)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), weights=st.tuples(st.floats(0, 3), st.floats(0, 3)))
def test_sums_and_multiples_compose(seed: int, weights: tuple[float, float]) -> None:
    logits, labels = scene("exclusive", seed)
    parts = CrossEntropy()(logits, labels), Dice()(logits, labels)
    both = weights[0] * CrossEntropy() + Dice() * weights[1]
    torch.testing.assert_close(both(logits, labels), weights[0] * parts[0] + weights[1] * parts[1])
    by_name = SemanticLoss({"cross_entropy": weights[0], "dice": weights[1]})(Semantic(logits), labels.int())
    torch.testing.assert_close(by_name["loss"], both(logits, labels))


def test_settings_of_a_recipe_reach_the_loss() -> None:
    logits, labels = scene("exclusive")
    by_name = SemanticLoss({"focal": {"weight": 2.0, "gamma": 3.0}})(Semantic(logits), labels.int())
    torch.testing.assert_close(by_name["loss"], 2 * Focal(gamma=3.0)(logits, labels))
    with pytest.raises(BadRecipe, match=r"loss focal: unknown setting 'gama'; allowed: weight, gamma = 2.0"):
        SemanticLoss({"focal": {"gama": 3.0}})


def test_a_class_without_pixels_stays_finite() -> None:
    logits, labels = scene("exclusive")
    for name in TERMS:
        if name not in QUESTIONS_ONLY:
            assert made(name)(logits, labels.clamp_max(1)).isfinite(), name


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(2, 5, 6), r"labels of type float32; allowed: whole numbers"),
        (torch.zeros(2, 5, 5, dtype=torch.long), r"labels of shape \(2, 5, 5\) for logits of shape"),
        (torch.zeros(2, 2, 5, 6, dtype=torch.long), r"labels of shape \(2, 2, 5, 6\)"),
    ],
)
def test_what_does_not_fit_is_refused(labels: Tensor, message: str) -> None:
    logits, _ = scene("exclusive")
    with pytest.raises(BadArgument, match=message):
        Dice()(logits, labels)


def test_refusals_name_what_to_do() -> None:
    logits, labels = scene("exclusive")
    with pytest.raises(BadMask, match="class index 255 came to a network of 3 classes"):
        Dice()(logits, labels.masked_fill(labels < 0, 255))
    with pytest.raises(BadArgument, match="weight of shape"):
        Dice()(logits, labels, weight=torch.ones(2, 5))
    with pytest.raises(BadArgument, match="exclusive classes"):
        TERMS["binary_cross_entropy"]()(logits, labels)
    with pytest.raises(BadArgument, match="one number where classes may overlap"):
        Focal(alpha=[0.1, 0.9])(*scene("binary"))
    with pytest.raises(BadArgument, match="a list of 3 numbers"):
        Focal(alpha=[0.1, 0.9])(logits, labels)
