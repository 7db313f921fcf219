"""Latency of a small network: figures that can be counted by hand, and a network left as it was."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from segmentarium.engine.latency import latency
from segmentarium.errors import BadArgument

pytestmark = pytest.mark.atlas("M39")


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))


def test_counts_times_and_memory() -> None:
    result = latency(network(), shape=(2, 3, 16, 24), runs=5, warm_up=2)
    pixels = 2 * 16 * 24
    assert result.flops == 2 * pixels * (3 * 9 * 8 + 8 * 2)
    assert result.parameters == 3 * 9 * 8 + 8 + 16 + 8 * 2 + 2
    assert 0 < result.fastest_ms <= result.median_ms <= result.p95_ms
    assert result.images_per_s == pytest.approx(2000 / result.median_ms)
    assert result.peak_memory_mb >= 0
    assert (result.runs, result.warm_up, result.device, result.dtype) == (5, 2, "cpu", "float32")
    assert json.loads(json.dumps(result.as_dict()))["shape"] == [2, 3, 16, 24]


def test_the_network_is_given_back_in_its_mode() -> None:
    for training in (True, False):
        built = network().train(training)
        state = {name: value.clone() for name, value in built.state_dict().items()}
        latency(built, shape=(1, 3, 8, 8), runs=1, warm_up=1)
        assert built.training is training
        assert all(torch.equal(value, state[name]) for name, value in built.state_dict().items())


def test_what_cannot_be_timed_is_refused() -> None:
    with pytest.raises(BadArgument, match="runs=0"):
        latency(network(), runs=0)
    with pytest.raises(BadArgument, match="batch, channels"):
        latency(network(), shape=(8, 8))
