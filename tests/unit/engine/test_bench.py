"""Networks side by side: counted as the paper has them, timed as they are made ready, and what is refused."""

from __future__ import annotations

import json

import pytest

from segmentarium.engine.bench import bench
from segmentarium.errors import BadArgument, UnknownName
from segmentarium.models import count_parameters


def test_networks_are_timed_in_turn_and_counted_as_they_are() -> None:
    told: list[tuple[int, int]] = []
    first, second = bench(
        ["unet-tiny", "unet-padded_bn"], side=64, runs=2, classes=3, progress=lambda *n: told.append(n)
    )
    assert (first.name, first.ratio) == ("unet-tiny", 1.0)
    assert second.ratio == pytest.approx(second.cost.median_ms / first.cost.median_ms)
    assert first.cost.parameters == count_parameters("unet-tiny", classes=3)
    assert second.cost.flops > 10 * first.cost.flops
    assert told[-1] == (6, 6)
    assert json.loads(json.dumps(second.as_dict()))["shape"] == [1, 3, 64, 64]


def test_valid_convolutions_get_what_makes_the_output_asked_for() -> None:
    (row,) = bench(["unet"], side=4, runs=1)
    assert row.cost.shape == (1, 3, 188, 188)


def test_what_is_unknown_is_said() -> None:
    with pytest.raises(UnknownName, match="did you mean 'unet'"):
        bench(["unt-tiny"])
    with pytest.raises(BadArgument, match="precision 'half'"):
        bench(["unet-tiny"], precision="half")


def test_a_network_that_thins_out_what_it_finds_is_counted_on_an_image() -> None:
    (row,) = bench(["mask_rcnn-tiny"], side=64, classes=3, runs=1)
    assert row.cost.flops > 1e6


def test_the_count_does_not_depend_on_the_precision() -> None:
    (full,), (half,) = (bench(["unet-tiny"], side=64, runs=1, precision=kind) for kind in ("32", "bf16"))
    assert full.cost.flops == half.cost.flops > 1e6
