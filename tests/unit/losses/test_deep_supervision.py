"""Deep supervision: three weightings, any loss, targets at the size of each head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.losses.deep_supervision import SCHEDULES, DeepSupervision, at_size, head_weights

pytestmark = pytest.mark.atlas("L19")


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, ignore_index=-1)


def heads(*sides: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, side, side + 1, generator=draw, requires_grad=True) for side in sides]


def labels(side: int = 8) -> Tensor:
    return torch.randint(-1, 3, (2, side, side + 1), generator=torch.Generator().manual_seed(1))


def test_the_weightings_by_hand() -> None:
    assert SCHEDULES["equal"](4) == (0.25, 0.25, 0.25, 0.25)
    assert SCHEDULES["halving"](4) == pytest.approx((8 / 15, 4 / 15, 2 / 15, 1 / 15))
    assert SCHEDULES["auxiliary"](3) == (1.0, 0.4, 0.4)
    for schedule in SCHEDULES.values():
        assert schedule(1) == (1.0,)


@pytest.mark.parametrize("weights", [*SCHEDULES, (1.0,) * 3, (0.5, 0.0, 2.0)])
def test_it_is_the_sum_of_its_parts(weights: str | tuple[float, ...]) -> None:
    supervised = DeepSupervision(cross_entropy, weights=weights)
    outputs, truth = heads(8, 4, 2), labels()
    got = supervised(outputs, truth)
    by_index = [truth, truth[:, 1::2][:, :, [1, 3, 5, 7]], truth[:, [2, 6]][:, :, [1, 4, 7]]]
    sizes = [at_size(truth, head) for head in outputs]
    assert torch.equal(sizes[0], by_index[0])
    assert torch.equal(sizes[2], by_index[2])
    shares = head_weights(supervised.weights, 3)
    want = sum(w * cross_entropy(h, t) for w, h, t in zip(shares, outputs, sizes, strict=True))
    torch.testing.assert_close(got, want)


def test_full_resolution_heads_are_averaged_as_in_unet_plus_plus() -> None:
    outputs, truth = heads(8, 8, 8, 8), labels()
    mean = torch.stack([cross_entropy(head, truth) for head in outputs]).mean()
    torch.testing.assert_close(DeepSupervision(cross_entropy, weights="equal")(outputs, truth), mean)


def test_targets_are_taken_at_the_nearest_centre() -> None:
    truth = torch.arange(5)[None, None].expand(1, 5, 5)
    assert at_size(truth, torch.zeros(1, 3, 2, 2))[0, 0].tolist() == [1, 3]
    channels = torch.arange(5.0)[None, None, None].expand(1, 2, 5, 5)
    assert at_size(channels, torch.zeros(1, 3, 2, 2)).shape == (1, 2, 2, 2)
    volume = torch.zeros(1, 4, 6, 8, dtype=torch.int32)
    assert at_size(volume, torch.zeros(1, 3, 2, 3, 4)).shape == (1, 2, 3, 4)


def test_named_losses_and_more_targets() -> None:
    def named(logits: Tensor, truth: Tensor, worth: Tensor) -> dict[str, Tensor]:
        assert truth.shape == worth.shape == (2, *logits.shape[2:])
        return {"first": logits.mean(), "second": worth.mean()}

    outputs = heads(8, 4)
    got = DeepSupervision(named, weights="equal")(outputs, labels(), torch.full((2, 8, 9), 3.0))
    assert set(got) == {"first", "second"}
    assert got["second"].item() == pytest.approx(3)
    torch.testing.assert_close(got["first"], (outputs[0].mean() + outputs[1].mean()) / 2)


def test_a_head_that_weighs_nothing_is_not_looked_at() -> None:
    outputs = heads(8, 4)
    DeepSupervision(cross_entropy, weights=(1.0, 0.0))(outputs, labels()).backward()
    assert outputs[0].grad is not None
    assert outputs[1].grad is None


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(UnknownName, match="did you mean 'halving'"):
        DeepSupervision(cross_entropy, weights="halfing")
    for weights, outputs in (("equal", []), ((1.0,), heads(8, 4)), ((0.0, 0.0), heads(8, 4))):
        with pytest.raises(BadArgument, match="heads: "):
            DeepSupervision(cross_entropy, weights=weights)(outputs, labels())
    with pytest.raises(BadArgument, match="targets: shape"):
        DeepSupervision(cross_entropy)(heads(8), torch.zeros(2, 8, dtype=torch.long))
