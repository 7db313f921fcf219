"""Pyramid pooling, dual attention, joint upsampling and encoding against their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from segmentarium.errors import BadArgument
from segmentarium.nn import ConvNormAct
from segmentarium.nn.dual_attention import ChannelAttention, PositionAttention
from segmentarium.nn.encoding import ContextEncoding, Encoding
from segmentarium.nn.joint_upsampling import JointPyramidUpsampling
from segmentarium.nn.pyramid_pooling import PyramidPooling
from segmentarium.nn.semantic_branch import SemanticBranch


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor held that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple) else (result,):
            if isinstance(part, Tensor):
                self.numbers = max(self.numbers, part.numel())
        return result


def positions_by_formula(block: PositionAttention, maps: Tensor) -> Tensor:
    """Section 3.2 with the whole table of pixels by pixels."""
    query, key, value = (layer(maps).flatten(2) for layer in (block.query, block.key, block.value))
    table = torch.einsum("bcj,bci->bji", query, key).softmax(2)
    return block.gamma * torch.einsum("bji,bci->bcj", table, value).view_as(maps) + maps


@pytest.mark.parametrize(("width", "keys"), [(32, 4), (16, 8), (8, 8)])
def test_positions_attend_as_the_formula_says(width: int, keys: int) -> None:
    block = PositionAttention(width, keys).double()
    block.gamma.data.fill_(0.7)
    maps = torch.randn(2, width, 5, 7, dtype=torch.float64, requires_grad=True)
    found, expected = block(maps), positions_by_formula(block, maps)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(answer.square().sum(), maps)[0] for answer in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_positions_are_never_held_in_pairs() -> None:
    block, maps = PositionAttention(16, 2), torch.randn(1, 16, 40, 50)
    for formula, most in ((block, 40 * 16 * 2000), (lambda m: positions_by_formula(block, m), 2000**2 + 1)):
        with torch.no_grad(), Largest() as largest:
            formula(maps)
        assert largest.numbers < most
    assert largest.numbers == 2000**2  # which the counter would have seen


def test_attentions_begin_as_the_identity() -> None:
    maps = torch.randn(2, 8, 3, 4)
    for block in (PositionAttention(8, 4), ChannelAttention()):
        assert torch.equal(block(maps), maps)


def test_keys_must_divide() -> None:
    with pytest.raises(BadArgument, match="5 channels of keys for 32"):
        PositionAttention(32, 5)


def test_channels_attend_to_the_least_alike() -> None:
    block = ChannelAttention().double()
    block.gamma.data.fill_(0.3)
    maps = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    flat = maps.flatten(2)
    energy = torch.einsum("bin,bjn->bij", flat, flat)
    weights = (energy.amax(2, keepdim=True) - energy).softmax(2)
    expected = 0.3 * torch.einsum("bij,bjn->bin", weights, flat).view_as(maps) + maps
    torch.testing.assert_close(block(maps), expected)


def residuals_by_formula(block: Encoding, maps: Tensor) -> Tensor:
    """Section 3.1, every residual of every pixel to every codeword."""
    residuals = maps.flatten(2).transpose(1, 2)[:, :, None] - block.codewords  # b n k c
    shares = (block.scale * residuals.square().sum(3)).softmax(2)
    return (shares[..., None] * residuals).sum(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_encoding_sums_residuals(dtype: torch.dtype) -> None:
    block, maps = Encoding(16, 5).to(dtype), torch.randn(2, 16, 4, 6, dtype=dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(
        block(maps), residuals_by_formula(block, maps), rtol=tolerance, atol=10 * tolerance
    )


def test_encoding_never_holds_residuals() -> None:
    block, maps = Encoding(16, 32), torch.randn(1, 16, 20, 20)
    with torch.no_grad(), Largest() as largest:
        block(maps)
    assert largest.numbers <= 32 * 400


def test_encoding_keeps_its_digits_in_half_precision() -> None:
    block, maps = Encoding(512, 8), 3 * torch.rand(1, 512, 6, 6)
    expected = block(maps)
    found = block.bfloat16()(maps.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().max() < 0.05 * expected.abs().max()


def test_context_gates_channels() -> None:
    block, maps = ContextEncoding(8, 4).eval(), torch.randn(2, 8, 3, 5)
    found = block(maps)
    assert (found[maps <= 0] == 0).all()
    share = (found / maps)[maps > 0] - 1
    assert ((share > 0) & (share < 1)).all()
    per_channel = torch.where(maps > 0, found / maps, torch.nan).flatten(2)
    spread = per_channel.nan_to_num(-9).amax(2) - per_channel.nan_to_num(9).amin(2)
    assert spread.max() < 1e-5  # one gate a channel and image


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 6), (7, 13)])
def test_every_part_of_every_grid_is_averaged(size: tuple[int, int]) -> None:
    block = PyramidPooling(4, 2, align_corners=True).double().eval()
    maps = torch.randn(2, 4, *size, dtype=torch.float64)
    joined = block(maps)
    assert joined.shape == (2, 4 + 4 * 2, *size)
    assert torch.equal(joined[:, :4], maps)
    for i, bins in enumerate((1, 2, 3, 6)):
        rows, columns = (
            [(n * side // bins, -(-(n + 1) * side // bins)) for n in range(bins)] for side in size
        )
        means = torch.stack(
            [torch.stack([maps[..., a:b, c:d].mean((2, 3)) for c, d in columns], 2) for a, b in rows], 2
        )
        expected = functional.interpolate(
            block.branches[i](means), size=size, mode="bilinear", align_corners=True
        )
        torch.testing.assert_close(joined[:, 4 + 2 * i : 6 + 2 * i], expected)


def test_one_image_cannot_train_a_mean() -> None:
    block, maps = PyramidPooling(4, 2, align_corners=False).train(), torch.randn(1, 4, 7, 7)
    with pytest.raises(BadArgument, match=r"one image.*2 images or more.*raise train\.batch"):
        block(maps)
    block.branches[0].eval()  # frozen
    assert block(maps).shape == (1, 12, 7, 7)


def test_joint_upsampling_is_as_fine_as_its_finest() -> None:
    block = JointPyramidUpsampling((8, 4), 3, rates=(1, 2), align_corners=False).eval()
    maps = [torch.randn(1, 8, 3, 4), torch.randn(1, 4, 5, 7)]
    found = block(maps)
    assert found.shape == (1, block.channels, 5, 7) == (1, 6, 5, 7)
    coarse = functional.interpolate(block.lateral[0](maps[0]), size=(5, 7), mode="bilinear")
    joined = torch.cat([coarse, block.lateral[1](maps[1])], dim=1)
    torch.testing.assert_close(found[:, 3:], block.branches[1](joined))
    assert [type(layer).__name__ for layer in block.branches[0]] == [
        "Conv2d", "BatchNorm2d", "Conv2d", "BatchNorm2d", "ReLU",
    ]  # fmt: skip


def test_the_branch_takes_as_many_steps_as_strides_ask() -> None:
    branch = SemanticBranch(6, 4, 3, strides=(4, 8, 16), layer=ConvNormAct).eval()
    assert [sum(isinstance(m, nn.Conv2d) for m in level.modules()) for level in branch.levels] == [1, 1, 2]
    maps = [torch.randn(1, 6, 16 // 2**i, 24 // 2**i) for i in range(3)]
    raised = sum(level(own) for level, own in zip(branch.levels, maps, strict=True))
    torch.testing.assert_close(branch(maps), branch.classify(raised))
