"""The soft normalised cut is the formula's, written out pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.losses.soft_ncut import soft_ncut

SIZE = (9, 12)


def dense(probs: Tensor, image: Tensor, radius: float, intensity: float, distance: float) -> Tensor:
    """With the matrix of all ties between all pixels."""
    places = torch.stack(torch.meshgrid(*map(torch.arange, probs.shape[2:]), indexing="ij"), -1).flatten(0, 1)
    apart = (places[:, None] - places).square().sum(-1).to(probs)
    losses = []
    for memberships, values in zip(probs.flatten(2), image.flatten(2), strict=True):
        unlike = (values[:, :, None] - values[:, None]).square().sum(0)
        ties = (-unlike / intensity**2 - apart / distance**2).exp() * (apart < radius**2)
        within = ((memberships @ ties) * memberships).sum(1)
        losses.append(len(memberships) - (within / (memberships @ ties.sum(1))).sum())
    return torch.stack(losses).mean()


def scene(channels: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1711)
    logits = torch.randn(2, 4, *SIZE, generator=draw, dtype=torch.float64)
    image = 30 * torch.rand(2, channels, *SIZE, generator=draw, dtype=torch.float64)
    return logits.softmax(1).requires_grad_(), image


@pytest.mark.parametrize("numbers", [(5.0, 10.0, 4.0), (1.0, 3.0, 2.0), (2.5, 20.0, 1.5), (30.0, 10.0, 9.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_matrix_of_all_ties(numbers: tuple[float, float, float], channels: int) -> None:
    probs, image = scene(channels)
    radius, intensity, distance = numbers
    value = soft_ncut(probs, image, radius=radius, sigma_intensity=intensity, sigma_distance=distance)
    expected = dense(probs, image, *numbers)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    own, their = (torch.autograd.grad(loss, probs)[0] for loss in (value, expected))
    torch.testing.assert_close(own, their, rtol=1e-8, atol=1e-12)


def test_the_true_parts_are_the_cheapest() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[..., 4:] = 255
    left = torch.stack([image[0, 0] == 0, image[0, 0] > 0])[None].float()
    top = left.transpose(2, 3)
    assert soft_ncut(left, image) < 1e-6 < soft_ncut(top, image)


def test_one_part_for_all_and_even_parts_cost_all_but_one() -> None:
    _, image = scene()
    one = torch.zeros(2, 4, *SIZE, dtype=torch.float64)
    one[:, 2] = 1
    for probs in (one, torch.full_like(one, 0.25)):
        assert float(soft_ncut(probs, image)) == pytest.approx(3)


def test_gradients_are_finite_where_a_part_is_empty() -> None:
    _, image = scene()
    probs = torch.zeros(2, 4, *SIZE, dtype=torch.float64)
    probs[:, 0] = 1
    soft_ncut(probs.requires_grad_(), image).backward()
    assert probs.grad is not None
    assert probs.grad.isfinite().all()


def test_one_pixel_has_no_cut() -> None:
    assert float(soft_ncut(torch.ones(1, 1, 1, 1), torch.zeros(1, 3, 1, 1))) == 0


def test_memory_does_not_grow_with_the_radius() -> None:
    probs, image = scene()
    kept: list[int] = []
    pack = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t)
    with pack:
        soft_ncut(probs, image, radius=9.0)
    assert sum(kept) < 6 * probs.numel()


def test_what_does_not_fit_is_refused() -> None:
    probs, image = scene()
    with pytest.raises(BadArgument, match="as many of the same height and width"):
        soft_ncut(probs, image[..., 1:])
    with pytest.raises(BadArgument, match="above 0"):
        soft_ncut(probs, image, radius=0.0)
