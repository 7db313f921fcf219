"""The losses of shapes and deep supervision give the numbers of the published code and of MONAI."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rule import uniform
from scipy import ndimage
from torch import Tensor

from segmentarium.losses.boundary import boundary, boundary_from_map
from segmentarium.losses.cldice import cl_dice, dice_cl_dice, soft_skeleton
from segmentarium.losses.deep_supervision import DeepSupervision
from segmentarium.losses.hausdorff import hausdorff, log_hausdorff
from segmentarium.ops.signed_distance import class_distances

CASES = tomllib.loads((Path(__file__).parent / "structure_losses.toml").read_text(encoding="utf-8"))["case"]
planes_and_volumes = pytest.mark.parametrize("case", CASES, ids=["plane", "volume"])


def scene(case: dict[str, Any]) -> tuple[Tensor, np.ndarray, Tensor, Tensor]:
    """Probabilities, labels, memberships and worth."""
    (images, *size), classes, seed = case["shape"], case["classes"], case["seed"]
    shape = (images, classes, *size)
    u = uniform(shape, seed, 0)
    smooth = np.stack([[ndimage.uniform_filter(each, 5) for each in image] for image in u])
    labels = np.minimum(smooth.argmax(1), case["present"] - 1)
    probs = torch.from_numpy(6 * uniform(shape, seed, 1) - 3).softmax(1)
    truth = torch.from_numpy(np.stack([labels == index for index in range(classes)], 1)).double()
    return probs, labels, truth, torch.ones(images, 1, *size, dtype=torch.float64)


@pytest.mark.atlas("L14")
@planes_and_volumes
def test_boundary_loss_as_published(case: dict[str, Any]) -> None:
    probs, labels, truth, worth = scene(case)
    for entry in case["boundary"]:
        spacing, classes = entry.get("spacing"), entry["classes"]
        got = boundary(probs, truth, worth, spacing=spacing, classes=classes)
        assert got.item() == pytest.approx(entry["loss"], abs=1e-6)
        maps = [
            class_distances(image, classes=case["classes"], spacing=spacing, shift=1.0) for image in labels
        ]
        from_map = boundary_from_map(probs, torch.from_numpy(np.stack(maps)), worth, classes=classes)
        assert from_map.item() == pytest.approx(entry["loss"], abs=1e-6)


@planes_and_volumes
def test_centreline_dice_as_published(case: dict[str, Any]) -> None:
    probs, _, truth, worth = scene(case)
    for entry in case["cl_dice"]:
        classes = entry["classes"]
        assert cl_dice(probs, truth, worth, classes=classes).item() == pytest.approx(entry["loss"], abs=1e-9)
        both = dice_cl_dice(probs, truth, worth, classes=classes)
        assert both.item() == pytest.approx(entry["with_dice"], abs=1e-9)


@pytest.mark.atlas("L15")
@planes_and_volumes
@pytest.mark.parametrize("alpha", [2.0, 1.0])
@pytest.mark.parametrize("background", [True, False])
def test_hausdorff_is_monais(case: dict[str, Any], alpha: float, background: bool) -> None:
    losses = pytest.importorskip("monai.losses")
    probs, _, truth, worth = scene(case)
    probs = (probs.logit() * 3).sigmoid()  # so that some predictions are above 1/2
    classes = None if background else range(1, case["classes"])
    for ours, theirs in ((hausdorff, losses.HausdorffDTLoss), (log_hausdorff, losses.LogHausdorffDTLoss)):
        mine, its = probs.clone().requires_grad_(), probs.clone().requires_grad_()
        got = ours(mine, truth, worth, alpha=alpha, classes=classes)
        want = theirs(alpha=alpha, include_background=background)(its, truth)
        assert want > 0.1
        assert got.item() == pytest.approx(want.item(), rel=1e-6)
        torch.testing.assert_close(*torch.autograd.grad(got + want, (mine, its)), rtol=1e-6, atol=1e-9)


@planes_and_volumes
@pytest.mark.parametrize("background", [True, False])
def test_centreline_dice_is_monais(case: dict[str, Any], background: bool) -> None:
    losses = pytest.importorskip("monai.losses")
    probs, _, truth, worth = scene(case)
    classes = None if background else range(1, case["classes"])
    how: dict[str, Any] = {"protocol": "monai", "iterations": 3, "smooth": 0.7, "classes": classes}
    its: dict[str, Any] = {"iter_": 3, "smooth_nr": 0.7, "smooth_dr": 0.7, "include_background": background}
    plain = losses.SoftclDiceLoss(**its)(probs, truth)
    assert cl_dice(probs, truth, worth, **how).item() == pytest.approx(plain.item(), abs=1e-9)
    both = losses.SoftDiceclDiceLoss(alpha=0.3, **its)(probs, truth)
    assert dice_cl_dice(probs, truth, worth, alpha=0.3, **how).item() == pytest.approx(both.item(), abs=1e-9)


@planes_and_volumes
def test_the_soft_skeleton_is_monais(case: dict[str, Any]) -> None:
    theirs = pytest.importorskip("monai.losses.cldice").soft_skel
    probs, _, truth, _ = scene(case)
    for maps in (probs, truth):
        for iterations in (0, 2):
            assert torch.equal(soft_skeleton(maps, iterations=iterations), theirs(maps, iterations))


@pytest.mark.atlas("L19")
def test_deep_supervision_is_monais() -> None:
    losses = pytest.importorskip("monai.losses")
    probs, _, truth, _ = scene(CASES[0])
    heads = [probs.float(), probs[..., ::2, ::2].float(), probs[..., :5, :7].float()]
    for mode, weights in (("exp", (1.0, 0.5, 0.25)), ("two", (1.0, 0.5, 0.5)), ("same", (1.0,) * 3)):
        theirs = losses.DeepSupervisionLoss(losses.DiceLoss(), weight_mode=mode)(heads, truth.float())
        ours = DeepSupervision(losses.DiceLoss(), weights=weights)(heads, truth.float())
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
