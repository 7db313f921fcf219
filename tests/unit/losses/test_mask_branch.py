"""The mask branch of region networks: torchvision's own numbers, and by hand."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import maskrcnn_loss

from segmentarium.errors import BadArgument
from segmentarium.losses.regions import mask_branch

pytestmark = pytest.mark.atlas("L29")


def scene(seed: int, counts: tuple[int, ...], *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Regions and objects of images of different sizes; logits for four classes, 7 x 7 cells."""
    draw = torch.Generator().manual_seed(seed)
    boxes, masks, classes, matched = [], [], [], []
    for image, count in enumerate(counts):
        height, width = 40 + image, 50 - image
        corners = torch.rand(count, 2, 2, generator=draw, dtype=dtype) * torch.tensor([width, height])
        boxes.append(torch.cat([corners.amin(1), corners.amax(1) + 1], dim=1))
        masks.append(torch.rand(3, height, width, generator=draw) < 0.5)
        classes.append(torch.randint(0, 4, (3,), generator=draw))
        matched.append(torch.randint(0, 3, (count,), generator=draw))
    logits = 3 * torch.randn(sum(counts), 4, 7, 7, generator=draw, dtype=dtype)
    return logits.requires_grad_(), boxes, masks, classes, matched  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("counts", [(5,), (4, 0, 3), (0, 0)])
def test_equals_torchvision(counts: tuple[int, ...], dtype: torch.dtype) -> None:
    logits, boxes, masks, classes, matched = scene(0, counts, dtype=dtype)
    ours = mask_branch(logits, boxes, masks, classes, matched)
    theirs = maskrcnn_loss(logits, boxes, masks, classes, matched)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)))


def test_by_hand() -> None:
    """A box of 2 x 2 pixels and 2 x 2 cells, of which the mask covers the left two; class 1 of two."""
    masks = torch.zeros(1, 6, 6, dtype=torch.bool)
    masks[:, :, :3] = True
    logits = torch.full((1, 2, 2, 2), 50.0)
    logits[0, 1] = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    loss = mask_branch(
        logits, [torch.tensor([[2.0, 2.0, 4.0, 4.0]])], [masks], [torch.tensor([1])], [torch.tensor([0])]
    )

    def ce(logit: float, share: float) -> float:
        p = 1 / (1 + 2.718281828459045**-logit)
        return -share * log(p) - (1 - share) * log(1 - p)

    # cells read the mask between pixel centres: half of the second pixel column belongs to each side
    left, right = 0.5, 0.0
    shares = ((left, right), (left, right))
    expected = (ce(1, shares[0][0]) + ce(-2, shares[0][1]) + ce(0, shares[1][0]) + ce(3, shares[1][1])) / 4
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_only_the_true_class_learns() -> None:
    logits, boxes, masks, classes, matched = scene(1, (4, 2))
    loss = mask_branch(logits, boxes, masks, classes, matched)
    (gradient,) = torch.autograd.grad(loss, logits)
    channel = torch.cat([own[which] for own, which in zip(classes, matched, strict=True)])
    learns = gradient.flatten(2).abs().amax(2) > 0
    assert torch.equal(learns, torch.nn.functional.one_hot(channel, 4) == 1)


def test_without_regions_the_graph_is_kept() -> None:
    logits, boxes, masks, classes, matched = scene(2, (0, 0))
    loss = mask_branch(logits, boxes, masks, classes, matched)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, logits)[0].shape == logits.shape


def test_gradients() -> None:
    logits, *rest = scene(3, (2, 1))
    assert torch.autograd.gradcheck(lambda x: mask_branch(x, *rest), (logits,), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite(dtype: torch.dtype) -> None:
    logits, boxes, masks, classes, matched = scene(4, (3,), dtype=torch.float32)
    half = (5000 * logits.detach()).to(dtype).requires_grad_()
    loss = mask_branch(half, [own.to(dtype) for own in boxes], masks, classes, matched)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert torch.autograd.grad(loss, half)[0].isfinite().all()


def test_bad_input() -> None:
    logits, boxes, masks, classes, matched = scene(5, (2, 1))
    with pytest.raises(BadArgument, match=r"3 mask_logits came for \[2\] boxes of 2 images"):
        mask_branch(logits, boxes[:1], masks, classes, matched)
    with pytest.raises(BadArgument, match=r"2 mask_logits came for \[2, 1\] boxes"):
        mask_branch(logits[:2], boxes, masks, classes, matched)
