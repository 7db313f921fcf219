"""Weights of other programs get our names by the tables of a card."""

from __future__ import annotations

import pytest
import torch

from segmentarium.errors import WeightsMismatch
from segmentarium.weights.foreign import Source, translated


def source(**tables: tuple) -> Source:
    return Source(builder="theirs()", variant="tiny", licence="MIT", **tables)


def test_renames_in_order() -> None:
    rule = source(rename=((r"^body\.", "encoder."), (r"encoder\.(\d)", r"encoder.stage\1")))
    ours = translated({"body.3.weight": torch.ones(2), "head.bias": torch.zeros(1)}, rule)
    assert list(ours) == ["encoder.stage3.weight", "head.bias"]


def test_drops_and_splits_before_it_renames() -> None:
    rule = source(
        drop=(r"num_batches_tracked$",),
        split=((r"(.*)in_proj_(weight|bias)", (r"\1q.\2", r"\1k.\2", r"\1v.\2")),),
        rename=((r"^layers\.", "blocks."),),
    )
    fused = torch.arange(12.0).reshape(6, 2)
    ours = translated(
        {"layers.0.attn.in_proj_weight": fused, "bn.num_batches_tracked": torch.tensor(1)}, rule
    )
    assert list(ours) == [f"blocks.0.attn.{part}.weight" for part in "qkv"]
    torch.testing.assert_close(torch.cat(list(ours.values())), fused)


def test_moves_the_ground_to_the_end() -> None:
    ours = translated({"class.bias": torch.tensor([9.0, 1.0, 2.0])}, source(roll=(r"^class\.",)))
    assert ours["class.bias"].tolist() == [1.0, 2.0, 9.0]


def test_refuses_two_tensors_of_one_name() -> None:
    with pytest.raises(WeightsMismatch, match=r"two tensors .* 'a'"):
        translated({"x.a": torch.ones(1), "y.a": torch.ones(1)}, source(rename=((r"^[xy]\.", ""),)))


def test_refuses_to_cut_unevenly() -> None:
    with pytest.raises(WeightsMismatch, match="cut into 2"):
        translated({"qk": torch.ones(3)}, source(split=((r"qk", ("q", "k")),)))
