"""The loss of mask classification: by hand, void, empty images, precision, processes."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segmentarium.errors import UnknownName
from segmentarium.losses.mask_classification import SETTINGS, MaskClassificationLoss, Setting
from segmentarium.losses.matching import Truth
from segmentarium.nn.outputs import Queries

pytestmark = pytest.mark.atlas("L26", "L27")

FEW = Setting(points=60)
DENSE = SETTINGS["maskformer"]
BOTH = pytest.mark.parametrize("setting", [FEW, DENSE], ids=["points", "pixels"])


def scene(
    seed: int = 0,
    *,
    counts: tuple[int, ...] = (3, 2),
    queries: int = 4,
    size: tuple[int, ...] = (5, 6),
    layers: int = 1,
    dtype: torch.dtype = torch.float64,
) -> tuple[Queries, list[Truth]]:
    draw = torch.Generator().manual_seed(seed)

    def layer(aux: tuple[Queries, ...] = ()) -> Queries:
        classes = torch.randn(len(counts), queries, 4, generator=draw, dtype=torch.float64)
        masks = 2 * torch.randn(len(counts), queries, *size, generator=draw, dtype=torch.float64)
        return Queries(classes.to(dtype).requires_grad_(), masks.to(dtype).requires_grad_(), aux)

    output = layer(tuple(layer() for _ in range(layers - 1)))
    return output, [
        Truth(torch.rand(n, *size, generator=draw) < 0.4, torch.randint(0, 3, (n,), generator=draw))
        for n in counts
    ]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_by_hand() -> None:
    """One truth, two queries, 2 x 2 pixels: the second query answers it."""
    masks = torch.tensor([[[[0.0, 0.0], [0.0, 0.0]], [[2.0, -2.0], [-2.0, -2.0]]]])
    output = Queries(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), masks)
    truth = Truth(torch.tensor([[[True, False], [False, False]]]), torch.tensor([0]))
    setting = Setting(points=None, class_weight=2.0, mask_weight=3.0, dice_weight=4.0)
    terms = MaskClassificationLoss(setting)(output, [truth])
    right = 1 / (1 + 2.718281828459045**-2.0)
    certain = 2.718281828459045 / (1 + 2.718281828459045)
    expected = {
        "class": -(1.0 * log(certain) + 0.1 * log(certain)) / 1.1,
        "mask": -log(right),
        "dice": 1 - (2 * right + 1) / (right + 3 * (1 - right) + 1 + 1),
    }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-6)
    whole = 2 * expected["class"] + 3 * expected["mask"] + 4 * expected["dice"]
    assert terms["loss"].item() == pytest.approx(whole, rel=1e-6)


@BOTH
@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_nothing_under_void_matters(setting: Setting, seed: int) -> None:
    output, truths = scene(seed)
    draw = torch.Generator().manual_seed(seed)
    void = torch.rand(2, 5, 6, generator=draw) < 0.3
    loss = MaskClassificationLoss(setting)
    plain = [
        truth._replace(masks=truth.masks & ~own, void=own) for truth, own in zip(truths, void, strict=True)
    ]
    painted = [
        truth._replace(masks=truth.masks | own, void=own) for truth, own in zip(truths, void, strict=True)
    ]
    strange = torch.where(void[:, None], torch.full_like(output.mask_logits, torch.inf), output.mask_logits)
    other = Queries(output.class_logits, strange.detach().requires_grad_())
    first, second = loss(output, plain, draw=seeded()), loss(other, painted, draw=seeded())
    for name, value in first.items():
        torch.testing.assert_close(value, second[name])
    before = torch.autograd.grad(first["loss"], output[:2])
    after = torch.autograd.grad(second["loss"], other[:2])
    torch.testing.assert_close(before, after)
    assert not after[1][void[:, None].expand_as(after[1])].any()


@BOTH
def test_void_nowhere_is_no_void(setting: Setting) -> None:
    output, truths = scene()
    known = [truth._replace(void=torch.zeros(5, 6, dtype=torch.bool)) for truth in truths]
    loss = MaskClassificationLoss(setting)
    one, other = loss(output, truths, draw=seeded()), loss(output, known, draw=seeded())
    for name, value in one.items():
        torch.testing.assert_close(value, other[name])
    mixed = loss(output, [truths[0], known[1]], draw=seeded())
    torch.testing.assert_close(mixed["loss"], one["loss"])


@BOTH
@pytest.mark.parametrize("size", [(5, 6), (3, 4, 3)])
def test_gradients(setting: Setting, size: tuple[int, ...]) -> None:
    output, truths = scene(2, size=size)
    loss = MaskClassificationLoss(setting)

    def value(classes: Tensor, masks: Tensor) -> Tensor:
        return loss(Queries(classes, masks), truths, draw=seeded())["loss"]

    assert torch.autograd.gradcheck(value, output[:2], fast_mode=True)


@BOTH
@pytest.mark.parametrize("counts", [(0, 3), (0, 0), (9, 0)])
def test_images_without_masks_and_too_many_masks(setting: Setting, counts: tuple[int, ...]) -> None:
    output, truths = scene(counts=counts, layers=2)
    terms = MaskClassificationLoss(setting)(output, truths, draw=seeded())
    leaves = [*output[:2], *output.aux[0][:2]]
    gradients = torch.autograd.grad(terms["loss"], leaves)
    assert all(t.isfinite().all() for t in (*terms.values(), *gradients))
    assert gradients[0].any()
    if not sum(counts):
        assert terms["mask"].item() == terms["dice"].item() == 0
        nobody = -output.class_logits.log_softmax(-1)[..., -1].mean()
        torch.testing.assert_close(terms["class"], nobody)


def test_layers_are_matched_anew() -> None:
    output, truths = scene(3, layers=3)
    terms = MaskClassificationLoss(DENSE)(output, truths)
    names = ["class", "mask", "dice"]
    assert list(terms) == [*names, *(f"{n}_0" for n in names), *(f"{n}_1" for n in names), "loss"]
    for number, layer in enumerate(output.aux):
        alone = MaskClassificationLoss(DENSE)(layer, truths)
        for name in names:
            torch.testing.assert_close(terms[f"{name}_{number}"], alone[name])


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite(setting: Setting, dtype: torch.dtype) -> None:
    output, truths = scene(4)
    half = Queries(*((5000 * t.detach()).to(dtype).requires_grad_() for t in output[:2]))
    terms = MaskClassificationLoss(setting)(half, truths, draw=seeded())
    gradients = torch.autograd.grad(terms["loss"], half[:2])
    assert terms["loss"].dtype == torch.float32
    assert all(t.isfinite().all() for t in (*terms.values(), *gradients))


def test_a_divided_batch_has_the_loss_of_the_whole() -> None:
    """What processes do: sums are added before they are divided, also by the number of masks."""
    output, truths = scene(5, counts=(3, 0, 1))
    whole = MaskClassificationLoss(DENSE)(output, truths)
    parts: list[Tensor] = []

    def gather(sums: Tensor) -> Tensor:
        parts.append(sums)
        return sums

    def one(image: int, **how: Any) -> dict[str, Tensor]:
        own = Queries(*(t[image : image + 1] for t in output[:2]))
        return MaskClassificationLoss(DENSE, **how)(own, truths[image : image + 1])

    for image in range(3):
        one(image, total=gather)
    together = one(0, total=lambda sums: torch.stack(parts).sum(0))
    torch.testing.assert_close(together["loss"], whole["loss"])


def test_seeds() -> None:
    output, truths = scene(6)
    loss = MaskClassificationLoss(FEW)
    first = loss(output, truths, draw=seeded())["loss"]
    assert torch.equal(first, loss(output, truths, draw=seeded())["loss"])
    assert not torch.equal(first, loss(output, truths, draw=torch.Generator().manual_seed(2))["loss"])


def test_unknown_setting() -> None:
    with pytest.raises(UnknownName, match="mask2former"):
        MaskClassificationLoss("mask3former")
