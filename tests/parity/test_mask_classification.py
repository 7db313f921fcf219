"""Matching and loss of mask classification give the numbers of transformers, on the same points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerHungarianMatcher, Mask2FormerLoss
from transformers.models.maskformer.modeling_maskformer import MaskFormerHungarianMatcher, MaskFormerLoss

from segmentarium.losses.mask_classification import SETTINGS, MaskClassificationLoss, Setting
from segmentarium.losses.matching import Truth
from segmentarium.nn.outputs import Queries

pytestmark = pytest.mark.atlas("L26", "L27", "L28")

KINDS, POINTS = 6, 112
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}


def scene(
    dtype: torch.dtype,
    *,
    counts: tuple[int, ...] = (4, 0, 7),
    queries: int = 9,
    layers: int = 3,
    seed: int = 0,
) -> tuple[Queries, list[Truth]]:
    draw = torch.Generator().manual_seed(seed)

    def layer(aux: tuple[Queries, ...] = ()) -> Queries:
        classes = 2 * torch.randn(len(counts), queries, KINDS + 1, generator=draw, dtype=torch.float64)
        masks = 3 * torch.randn(len(counts), queries, 12, 10, generator=draw, dtype=torch.float64)
        return Queries(classes.to(dtype).requires_grad_(), masks.to(dtype).requires_grad_(), aux)

    output = layer(tuple(layer() for _ in range(layers - 1)))
    truths = [
        Truth(
            torch.rand(count, 48, 40, generator=draw) < 0.3,
            torch.randint(0, KINDS, (count,), generator=draw),
        )
        for count in counts
    ]
    return output, truths


@contextmanager
def recorded(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Everything that ``torch.rand`` gives meanwhile, in ``dtype``."""
    given: list[Tensor] = []
    rand = torch.rand

    def remember(*shape: int, **settings: object) -> Tensor:
        given.append(rand(*shape, **settings))
        return given[-1]

    before = torch.get_default_dtype()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "rand", remember)
        torch.set_default_dtype(dtype)
        yield given
        torch.set_default_dtype(before)


class Replay:
    """Gives recorded numbers again, as many sets at once as are asked for."""

    def __init__(self, given: list[Tensor]) -> None:
        self.left = [numbers for tensor in given for numbers in tensor]

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        taken, self.left = self.left[: shape[0]], self.left[shape[0] :]
        drawn = torch.stack(taken)
        assert drawn.shape == shape
        return drawn


def theirs(loss: torch.nn.Module, output: Queries, truths: list[Truth]) -> dict[str, Tensor]:
    masks = [truth.masks.to(output.mask_logits.dtype) for truth in truths]
    aux = [
        {"masks_queries_logits": a.mask_logits, "class_queries_logits": a.class_logits} for a in output.aux
    ]
    return loss(
        output.mask_logits, output.class_logits, masks, [truth.classes for truth in truths], aux or None
    )


NAMES = {"class": "loss_cross_entropy", "mask": "loss_mask", "dice": "loss_dice"}


def assert_equal_losses(
    ours: dict[str, Tensor], other: dict[str, Tensor], setting: Setting, output: Queries
) -> None:
    weights = {
        "class": setting.class_weight,
        "mask": setting.mask_weight,
        "dice": setting.dice_weight,
    }
    tolerance = TOLERANCE[output.mask_logits.dtype]
    pairs = {
        name: name.replace(name.split("_")[0], NAMES[name.split("_")[0]]) for name in ours if name != "loss"
    }
    assert len(pairs) == len(other) == 3 * (1 + len(output.aux))
    for name, theirs_name in pairs.items():
        torch.testing.assert_close(ours[name], other[theirs_name], rtol=tolerance, atol=0, msg=name)
    total = torch.stack([weights[name.split("_")[0]] * other[pairs[name]] for name in pairs]).sum()
    torch.testing.assert_close(ours["loss"], total, rtol=tolerance, atol=0)
    leaves = [t for layer in (output, *output.aux) for t in (layer.class_logits, layer.mask_logits)]
    for own, their in zip(
        torch.autograd.grad(ours["loss"], leaves), torch.autograd.grad(total, leaves), strict=True
    ):
        torch.testing.assert_close(own, their, rtol=tolerance, atol=tolerance * float(their.abs().max()))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("counts", [(4, 0, 7), (12, 3), (0, 0, 1)])
def test_mask2former(dtype: torch.dtype, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    output, truths = scene(dtype, counts=counts)
    with recorded(dtype, monkeypatch) as given:
        config = Mask2FormerConfig(num_labels=KINDS, train_num_points=POINTS)
        other = theirs(Mask2FormerLoss(config, {}), output, truths)
    setting = Setting(points=POINTS)
    replay = Replay(given)
    ours = MaskClassificationLoss(setting)(output, truths, draw=replay)
    assert not replay.left
    assert_equal_losses(ours, other, setting, output)
    published = SETTINGS["mask2former"]
    assert (published.class_weight, published.mask_weight, published.dice_weight) == (
        config.class_weight,
        config.mask_weight,
        config.dice_weight,
    )
    default = Mask2FormerConfig()
    assert (published.points, published.oversample, published.importance, published.no_object) == (
        default.train_num_points,
        default.oversample_ratio,
        default.importance_sample_ratio,
        default.no_object_weight,
    )


def test_the_seed_of_torch_is_enough() -> None:
    """Ours asks for the same numbers in the same order."""
    output, truths = scene(torch.float32)
    torch.manual_seed(7)
    other = theirs(
        Mask2FormerLoss(Mask2FormerConfig(num_labels=KINDS, train_num_points=POINTS), {}), output, truths
    )
    torch.manual_seed(7)
    ours = MaskClassificationLoss(Setting(points=POINTS))(output, truths)
    assert_equal_losses(ours, other, Setting(points=POINTS), output)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("counts", [(4, 2, 7), (12, 3)])
def test_maskformer(dtype: torch.dtype, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    output, truths = scene(dtype, counts=counts)
    setting = SETTINGS["maskformer"]
    with recorded(dtype, monkeypatch) as given:
        matcher = MaskFormerHungarianMatcher(1.0, setting.mask_weight, setting.dice_weight)
        other = theirs(MaskFormerLoss(KINDS, matcher, {}, 0.1), output, truths)
    assert not given
    assert_equal_losses(MaskClassificationLoss("maskformer")(output, truths), other, setting, output)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("queries", [5, 30])
def test_assignments(seed: int, queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    output, truths = scene(torch.float32, counts=(3, 12, 20), queries=queries, layers=1, seed=seed)
    masks, classes = [truth.masks.float() for truth in truths], [truth.classes for truth in truths]
    for points in (None, 200):
        with recorded(torch.float32, monkeypatch) as given:
            other = (
                MaskFormerHungarianMatcher(2.0, 20.0, 5.0)
                if points is None
                else Mask2FormerHungarianMatcher(2.0, 5.0, 5.0, points)
            )(output.mask_logits, output.class_logits, masks, classes)
        setting = (
            Setting(points=points)
            if points
            else Setting(points=None, mask="focal", mask_weight=20.0, dice_weight=5.0)
        )
        ours = setting.matcher()(output, truths, draw=Replay(given))
        for own, their in zip(ours, other, strict=True):
            assert torch.equal(own.queries, their[0])
            assert torch.equal(own.truths, their[1])
