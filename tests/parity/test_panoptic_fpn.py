"""Panoptic FPN gives the numbers recorded of detectron2."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detector_rule import assert_equal
from detectron_cases import CASES, answers
from safetensors import safe_open
from torch import nn

from segmentarium.models.panoptic_fpn import VARIANTS, PanopticFPN
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

CASE = CASES["panoptic"]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return CASE.network()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_equals_what_detectron2_gave(network: nn.Module, dtype: torch.dtype, tolerance: float) -> None:
    with safe_open(Path(__file__).with_name("panoptic_fpn.safetensors"), framework="pt") as recorded:
        expected = {
            key.removeprefix("panoptic."): recorded.get_tensor(key)
            for key in recorded.keys()  # noqa: SIM118
        }
    seen = answers(network.to(dtype), CASE, dtype)
    assert seen.keys() == expected.keys()
    assert "term semantic" in seen
    assert_equal(seen, {name: expected[name] for name in seen}, tolerance)


def test_the_card_has_a_name_for_each_tensor_of_detectron2(network: nn.Module) -> None:
    with safe_open(Path(__file__).with_name("panoptic_fpn.safetensors"), framework="pt") as recorded:
        names = recorded.metadata()["panoptic"].split("\n")
    ours = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    entry = read_card("panoptic_fpn").sources["detectron2"]
    assert set(translated(dict.fromkeys(names, torch.zeros(0)), entry)) == ours
    shared = translated({"sem_seg_head.predictor.bias": torch.arange(4)}, entry)
    assert shared["semantic.classify.bias"].tolist() == [1, 2, 3, 0]  # that of all things goes last


def test_counts_of_detectron2() -> None:
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in PanopticFPN(VARIANTS[name]).parameters())
            for name in ("paper", "detectron2_r50")
        }
    assert counts == {"paper": 64_913_894, "detectron2_r50": 45_973_990}
