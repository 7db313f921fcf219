"""Our losses beside those of torch, torchvision, MONAI, segmentation-models-pytorch and kornia, on one input.

Each disagreement that the atlas of foundations lists is reached by a setting of ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import monai.losses
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from segmentarium.losses import (
    BalancedCrossEntropy,
    BinaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    FocalTversky,
    GeneralizedDice,
    Jaccard,
    Lovasz,
    MatthewsCorrelation,
    OnlineHardExamples,
    PrintedUNetPlusPlus,
    TopK,
    Tversky,
    UnifiedFocal,
    soft_cross_entropy,
    ternausnet,
    unet_plus_plus,
    unetr,
)

kornia_losses = pytest.importorskip("kornia.losses")


def scene(
    *, classes: int = 4, absent: bool = False, void: bool = False, seed: int = 0
) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, classes, 12, 15, generator=draw)
    labels = torch.randint(-1 if void else 0, classes - absent, (3, 12, 15), generator=draw)
    return logits, labels


def same(ours: Tensor, theirs: Tensor | float, *, rtol: float = 1e-5) -> None:
    torch.testing.assert_close(ours, torch.as_tensor(theirs, dtype=ours.dtype), rtol=rtol, atol=1e-6)


# --- the cross-entropy family ---


@pytest.mark.atlas("L01", "L03")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 0.2, 3.0, 0.5])])
def test_cross_entropy_is_torchs(smoothing: float, weights: Tensor | None) -> None:
    logits, labels = scene(void=True)
    theirs = functional.cross_entropy(logits, labels, weights, ignore_index=-1, label_smoothing=smoothing)
    mine = CrossEntropy(smoothing=smoothing)(logits, labels, class_weights=weights)
    same(mine, theirs)
    double = CrossEntropy(smoothing=smoothing)(logits.double(), labels, class_weights=weights)
    torch.testing.assert_close(double.float(), mine)


@pytest.mark.atlas("L01")
def test_cross_entropy_takes_distributions() -> None:
    logits, labels = scene(void=True)
    soft = functional.one_hot(labels.clamp_min(0), 4).movedim(-1, 1).float() * (labels >= 0)[:, None]
    same(soft_cross_entropy(logits, soft), CrossEntropy()(logits, labels))
    mixed = torch.rand(logits.shape).softmax(1)
    same(soft_cross_entropy(logits, mixed), functional.cross_entropy(logits, mixed))


@pytest.mark.atlas("L03")
def test_the_two_means_of_weighted_cross_entropy() -> None:
    logits, labels = scene(void=True)
    weights = torch.tensor([1.0, 0.2, 3.0, 0.5])
    each = functional.cross_entropy(logits, labels, weights, ignore_index=-1, reduction="none")
    same(CrossEntropy(mean="pixels")(logits, labels, class_weights=weights), each.sum() / (labels >= 0).sum())
    same(CrossEntropy(reduction="sum")(logits, labels, class_weights=weights), each.sum())


@pytest.mark.atlas("L22")
def test_border_weights_over_pixels_and_over_weights() -> None:
    logits, labels = scene(void=True)
    border = 1 + 10 * torch.rand(labels.shape, generator=torch.Generator().manual_seed(2))
    each = functional.cross_entropy(logits, labels, ignore_index=-1, reduction="none") * border
    valid = labels >= 0
    same(CrossEntropy()(logits, labels, weight=border), each.sum() / border[valid].sum())
    same(CrossEntropy(mean="pixels")(logits, labels, weight=border), each.sum() / valid.sum())


@pytest.mark.atlas("L02", "L03")
def test_binary_cross_entropy_and_its_sign() -> None:
    logits, labels = scene(classes=1, absent=False)
    labels = (logits[:, 0] + torch.randn(3, 12, 15, generator=torch.Generator().manual_seed(1)) > 0).long()
    target = labels[:, None].float()
    same(BinaryCrossEntropy()(logits, labels), functional.binary_cross_entropy_with_logits(logits, target))
    three = torch.tensor(3.0)
    theirs = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=three)
    same(BinaryCrossEntropy(positive_weight=3.0)(logits, labels), theirs)
    turned = functional.binary_cross_entropy_with_logits(-logits, target, pos_weight=1 / three) * 3
    reverse = BinaryCrossEntropy(positive_class=0, positive_weight=3.0)(logits, labels)
    same(reverse, turned)
    same(BinaryCrossEntropy(positive_class=0)(-logits, labels), BinaryCrossEntropy()(logits, labels))


@pytest.mark.atlas("L04")
def test_balanced_cross_entropy_is_a_weighted_one() -> None:
    logits, _ = scene(classes=1)
    labels = (logits[:, 0] > 1).long()
    beta = 0.8
    weighted = BinaryCrossEntropy(positive_weight=beta / (1 - beta))(logits, labels)
    same(BalancedCrossEntropy(beta=beta)(logits, labels), (1 - beta) * weighted)
    shares = labels.float().mean((1, 2))
    apart = [
        BalancedCrossEntropy(beta=1 - float(s))(logits[i : i + 1], labels[i : i + 1])
        for i, s in enumerate(shares)
    ]
    same(BalancedCrossEntropy()(logits, labels), torch.stack(apart).mean())
    for constant in (0, 1):
        assert BalancedCrossEntropy()(logits, torch.full_like(labels, constant)).isfinite()


@pytest.mark.atlas("L05")
def test_binary_focal_is_that_of_four_libraries() -> None:
    logits, _ = scene(classes=1)
    labels = (logits[:, 0] > 0.3).long()
    target = labels[:, None].float()
    mine = Focal(alpha=0.25)(logits, labels)
    same(mine, sigmoid_focal_loss(logits, target, alpha=0.25, gamma=2.0, reduction="mean"))
    same(mine, monai.losses.FocalLoss(alpha=0.25)(logits, target))
    same(mine, smp.losses.FocalLoss("binary", alpha=0.25)(logits, target))
    same(mine, kornia_losses.binary_focal_loss_with_logits(logits, target, 0.25, 2.0, reduction="mean"))
    same(Focal()(logits, labels), monai.losses.FocalLoss()(logits, target))
    half = Focal(gamma=0.0, alpha=0.5)(logits, labels)
    same(half, BinaryCrossEntropy()(logits, labels) / 2)


@pytest.mark.atlas("L06")
def test_softmax_focal_is_a_mean_over_pixels() -> None:
    logits, labels = scene()
    mine = Focal()(logits, labels)
    averaged_over_classes = monai.losses.FocalLoss(use_softmax=True, to_onehot_y=True)(
        logits, labels[:, None]
    )
    same(mine, 4 * averaged_over_classes)
    one_against_all = functional.one_hot(labels, 4).movedim(-1, 1)
    same(Focal()(logits, one_against_all), smp.losses.FocalLoss("multiclass")(logits, labels) / 1, rtol=1e-4)
    same(Focal(gamma=0.0)(logits, labels), functional.cross_entropy(logits, labels))


def test_hard_pixels_only() -> None:
    logits, labels = scene(void=True)
    each = functional.cross_entropy(logits, labels, ignore_index=-1, reduction="none")[labels >= 0]
    kept = int(0.1 * len(each))
    same(TopK()(logits, labels), each.topk(kept).values.mean())
    same(OnlineHardExamples(threshold=0.3, least=1)(logits, labels), each[(-each).exp() <= 0.3].mean())
    same(OnlineHardExamples(threshold=1e-9, least=20)(logits, labels), each.topk(20).values.mean())


@pytest.mark.atlas("L31")
def test_others_divide_by_void_too() -> None:
    logits, labels = scene(void=True)
    valid = float((labels >= 0).float().mean())
    theirs = smp.losses.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=-1)(logits, labels)
    same(CrossEntropy()(logits, labels) * valid, theirs)


# --- the overlap family ---


@pytest.mark.atlas("L07", "L09", "L11")
def test_the_slide_example() -> None:
    """Eight pixels of the class hold 7.41 of the probability, one other the rest of 7.82."""
    hit, predicted = 7.41, 7.82
    probs = torch.tensor([hit / 8] * 8 + [predicted - hit] + [0.0] * 7, dtype=torch.float64)
    logits = torch.logit(probs, eps=1e-300).reshape(1, 1, 4, 4)
    labels = torch.tensor([1] * 8 + [0] * 8).reshape(1, 4, 4)
    assert Dice(smooth_nr=1.0, smooth_dr=1.0)(logits, labels).item() == pytest.approx(0.0594530, abs=1e-7)
    assert Dice()(logits, labels).item() == pytest.approx(0.0632111, abs=1e-7)
    assert Jaccard()(logits, labels).item() == pytest.approx(0.1189060, abs=1e-7)
    assert Dice(smooth_nr=2.0, smooth_dr=2.0)(logits, labels).item() == pytest.approx(0.0561167, abs=1e-7)


@pytest.mark.atlas("L08")
def test_the_gradient_that_vnet_prints() -> None:
    probs = torch.rand(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    truth = (torch.arange(20) % 3 == 0).long()
    logits = torch.logit(probs).reshape(1, 1, 4, 5).requires_grad_()
    Dice(exponent=2)(logits, truth.reshape(1, 4, 5)).backward()
    g = truth.double()
    squares, hit = (probs**2).sum() + (g**2).sum(), (probs * g).sum()
    printed = 2 * (g * squares - 2 * probs * hit) / squares**2
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.flatten(), -printed * probs * (1 - probs))


def monai_dice(**settings: Any) -> Callable[[Tensor, Tensor], Tensor]:
    loss = monai.losses.DiceLoss(softmax=True, to_onehot_y=True, **settings)
    return lambda logits, labels: loss(logits, labels[:, None])


@pytest.mark.atlas("L07", "L08", "L09", "L11")
@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_monais_overlap_losses(absent: bool, batch: bool, background: bool) -> None:
    logits, labels = scene(absent=absent)
    ours: dict[str, Any] = {
        "over": "batch" if batch else "image", "absent": "count", "background": background,
        "smooth_nr": 1e-5, "smooth_dr": 1e-5,
    }  # fmt: skip
    theirs: dict[str, Any] = {"batch": batch, "include_background": background}
    same(Dice(**ours)(logits, labels), monai_dice(**theirs)(logits, labels))
    same(Dice(exponent=2, **ours)(logits, labels), monai_dice(squared_pred=True, **theirs)(logits, labels))
    # MONAI doubles the difference of sums and intersection, so its smoothing counts half
    half = ours | {"smooth_nr": 0.5e-5, "smooth_dr": 0.5e-5}
    same(Jaccard(**half)(logits, labels), monai_dice(jaccard=True, **theirs)(logits, labels))
    tversky = monai.losses.TverskyLoss(softmax=True, to_onehot_y=True, alpha=0.7, beta=0.3, **theirs)
    same(Tversky(alpha=0.7, beta=0.3, **ours)(logits, labels), tversky(logits, labels[:, None]))


@pytest.mark.atlas("L09", "L11", "L12", "L13")
@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("log", [False, True])
def test_smps_overlap_losses(absent: bool, log: bool) -> None:
    logits, labels = scene(absent=absent)
    zero: dict[str, Any] = {"absent": "zero"}
    same(
        Dice(log=log, **zero)(logits, labels), smp.losses.DiceLoss("multiclass", log_loss=log)(logits, labels)
    )
    same(
        Jaccard(log=log, **zero)(logits, labels),
        smp.losses.JaccardLoss("multiclass", log_loss=log)(logits, labels),
    )
    theirs = smp.losses.TverskyLoss("multiclass", alpha=0.7, beta=0.3)(logits, labels)
    same(Tversky(alpha=0.7, beta=0.3, **zero)(logits, labels), theirs)
    # SMP raises the mean over classes to gamma; for one class that is the index itself
    binary = (logits[:, :1] > 0).long()[:, 0]
    focal = smp.losses.TverskyLoss("binary", alpha=0.7, beta=0.3, gamma=0.75)(
        logits[:, :1] / 3, binary[:, None]
    )
    same(FocalTversky(alpha=0.7, beta=0.3)(logits[:, :1] / 3, binary), focal)


@pytest.mark.atlas("L10")
@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("balance", ["square", "simple", "uniform"])
def test_monais_generalised_dice(absent: bool, batch: bool, balance: Any) -> None:
    logits, labels = scene(absent=absent)
    theirs = monai.losses.GeneralizedDiceLoss(softmax=True, to_onehot_y=True, w_type=balance, batch=batch)
    ours = GeneralizedDice(
        balance=balance,
        weight_of_absent="largest",
        over="batch" if batch else "image",
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )
    same(ours(logits, labels), theirs(logits, labels[:, None]), rtol=1e-4)


@pytest.mark.atlas("L10")
def test_the_weight_of_an_absent_class_moves_generalised_dice() -> None:
    logits, labels = scene(absent=True)
    zero, largest = (
        GeneralizedDice()(logits, labels),
        GeneralizedDice(weight_of_absent="largest")(logits, labels),
    )
    present = GeneralizedDice(balance="square")
    assert largest > zero
    same(zero, present(logits, labels))


@pytest.mark.atlas("L12")
def test_tversky_at_a_half_is_dice() -> None:
    logits, labels = scene()
    same(Tversky(alpha=0.5, beta=0.5)(logits, labels), Dice()(logits, labels))
    misses = Tversky(alpha=0.3, beta=0.7)
    labels = torch.zeros(1, 4, 4, dtype=torch.long).index_fill_(1, torch.tensor([0]), 1)
    too_little, too_much = torch.full((1, 1, 4, 4), -9.0), torch.full((1, 1, 4, 4), -9.0)
    too_little[..., 0, :2], too_much[..., 0, :] = 9.0, 9.0
    too_much[..., 1, :2] = 9.0
    assert misses(too_little, labels) > misses(too_much, labels)


@pytest.mark.atlas("L13")
def test_the_two_exponents_of_focal_tversky() -> None:
    logits, _ = scene(classes=1)
    labels = (logits[:, 0] > 1).long()
    lack = Tversky()(logits, labels)
    same(FocalTversky()(logits, labels), lack**0.75)
    same(FocalTversky(exponent=4 / 3)(logits, labels), lack ** (4 / 3))


def test_smps_matthews_correlation() -> None:
    """SMP takes probabilities here, unlike in its other losses."""
    logits, _ = scene(classes=1)
    labels = (logits[:, 0] > 0.5).long()
    same(
        MatthewsCorrelation()(logits / 4, labels),
        smp.losses.MCCLoss(eps=0)((logits / 4).sigmoid(), labels[:, None].float()),
    )


def test_asymmetric_unified_focal_by_its_equations() -> None:
    logits, labels = scene(classes=2)
    p, y = logits.softmax(1).double(), functional.one_hot(labels, 2).movedim(-1, 1).double()
    entropy = -(y * p.log())
    focal = (0.4 * (1 - p[:, 0]) ** 0.5 * entropy[:, 0] + 0.6 * entropy[:, 1]).mean()
    hit, miss, alarm = (p * y).sum((0, 2, 3)), ((1 - p) * y).sum((0, 2, 3)), (p * (1 - y)).sum((0, 2, 3))
    lack = 1 - hit / (hit + 0.6 * miss + 0.4 * alarm)
    tversky = (lack[0] + lack[1] ** 0.5) / 2
    same(UnifiedFocal(asymmetric=True)(logits, labels), 0.5 * focal + 0.5 * tversky)
    chance = (p * y).sum(1)
    symmetric = 0.5 * (0.6 * ((1 - chance) ** 0.5 * -chance.log()).mean()) + 0.5 * (lack**0.5).mean()
    same(UnifiedFocal()(logits, labels), symmetric)


# --- Lovász ---


@pytest.mark.atlas("L16")
@pytest.mark.parametrize("per_image", [False, True])
def test_lovasz_hinge(per_image: bool) -> None:
    logits, _ = scene(classes=1)
    labels = (logits[:, 0] + torch.randn(3, 12, 15) > 0).long()
    theirs = smp.losses.LovaszLoss("binary", per_image=per_image)(logits, labels[:, None])
    same(Lovasz(over="image" if per_image else "batch")(logits, labels), theirs)
    if per_image:
        same(Lovasz(over="image")(logits, labels), kornia_losses.lovasz_hinge_loss(logits, labels))


@pytest.mark.atlas("L17")
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("absent", [False, True])
def test_lovasz_softmax(per_image: bool, absent: bool) -> None:
    logits, labels = scene(absent=absent, void=True)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    mine = Lovasz(over="image" if per_image else "batch")(ours, labels)
    other = smp.losses.LovaszLoss("multiclass", per_image=per_image, ignore_index=-1)(theirs, labels)
    same(mine, other)
    mine.backward()
    other.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-7)


@pytest.mark.atlas("L17")
def test_kornias_lovasz_softmax_counts_all_classes_of_each_image() -> None:
    logits, labels = scene(absent=True)
    theirs = kornia_losses.lovasz_softmax_loss(logits, labels)
    same(Lovasz(over="image", absent="count")(logits, labels), theirs)
    one = torch.randn(1, 3, 1, 1)
    same(Lovasz()(one, torch.tensor([[[1]]])), 1 - one.softmax(1)[0, 1, 0, 0])


# --- sums of losses ---


@pytest.mark.atlas("L30")
def test_unetr_is_monais_squared_dice_and_cross_entropy() -> None:
    logits, labels = scene(absent=True)
    theirs = monai.losses.DiceCELoss(
        softmax=True, to_onehot_y=True, squared_pred=True, smooth_nr=0, smooth_dr=1e-6
    )
    same(unetr()(logits, labels), theirs(logits, labels[:, None]))


@pytest.mark.atlas("L18")
def test_the_two_losses_of_unet_plus_plus() -> None:
    logits, _ = scene(classes=1)
    labels = (logits[:, 0] > 1).long()
    p, y = logits[:, 0].sigmoid().double(), labels.double()
    printed = -(y * p.log() / 2 + 2 * y * p / (y + p)).mean()
    same(PrintedUNetPlusPlus()(logits, labels), printed)
    entropy = functional.binary_cross_entropy(p, y)
    dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    same(unet_plus_plus()(logits, labels), entropy / 2 + dice)


@pytest.mark.atlas("L18")
def test_ternausnet_takes_the_logarithm_of_jaccard() -> None:
    logits, _ = scene(classes=1)
    labels = (logits[:, 0] > 1).long()
    p, y = logits[:, 0].sigmoid().double(), labels.double()
    jaccard = (p * y).sum() / (p.sum() + y.sum() - (p * y).sum())
    same(ternausnet()(logits, labels), functional.binary_cross_entropy(p, y) - math.log(jaccard))
