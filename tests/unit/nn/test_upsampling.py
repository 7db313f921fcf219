"""Upsampling by eye, and against the laws that each kind obeys."""

from __future__ import annotations

import itertools
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.nn.upsampling import (
    BilinearDeconvolution,
    ResizeConvolution,
    SubPixel,
    align,
    bed_of_nails,
    bilinear,
    bilinear_kernel,
    checkerboard,
    max_pool,
    max_unpool,
    nearest,
    transposed_size,
)


def line(*values: float) -> Tensor:
    return torch.tensor([[values]], dtype=torch.float32)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.atlas("U01")
def test_the_two_rules_of_nearest() -> None:
    five = torch.arange(5)[None, None]
    assert nearest(five, [8], rule="floor").flatten().tolist() == [0, 0, 1, 1, 2, 3, 3, 4]
    assert nearest(five, [8]).flatten().tolist() == [0, 0, 1, 2, 2, 3, 4, 4]


@pytest.mark.atlas("U01")
@pytest.mark.parametrize("rule", ["floor", "half-pixel"])
def test_whole_factors_repeat(rule: str) -> None:
    maps = torch.arange(24).reshape(1, 2, 3, 4)
    repeated = maps.repeat_interleave(3, 2).repeat_interleave(2, 3)
    assert torch.equal(nearest(maps, (9, 8), rule=rule), repeated)


@pytest.mark.atlas("U01")
@pytest.mark.parametrize(("rule", "mode"), [("floor", "nearest"), ("half-pixel", "nearest-exact")])
def test_nearest_is_torchs_own_but_for_rounding(rule: str, mode: str) -> None:
    sizes = [*itertools.product(range(1, 12), range(1, 30)), (2, 61), (2, 82), (4, 41)]
    astray = []
    for have, want in sizes:
        ramp = torch.arange(have, dtype=torch.float32)[None, None]
        got = nearest(ramp, [want], rule=rule)
        theirs = functional.interpolate(ramp, size=want, mode=mode)
        if not torch.equal(got, theirs):
            astray.append((have, want))
            on_edge = (2 * torch.arange(want) + (rule == "half-pixel")) * have % (2 * want) == 0
            assert torch.equal((got - theirs)[0, 0, ~on_edge], torch.zeros(int((~on_edge).sum())))
            assert (got - theirs).abs().max() == 1
    assert astray == ([(2, 82)] if rule == "floor" else [(2, 61), (4, 41)])


def test_labels_and_volumes_are_resized_alike() -> None:
    labels = torch.randint(-1, 200, (1, 1, 3, 5, 4))
    floats = functional.interpolate(labels.float(), size=(4, 3, 9), mode="nearest-exact")
    for kind in (torch.int64, torch.int32, torch.int16, torch.float64):
        assert torch.equal(nearest(labels.to(kind), (4, 3, 9)), floats.to(kind))


@pytest.mark.atlas("U02")
def test_bed_of_nails() -> None:
    nails = bed_of_nails(torch.tensor([[[[1, 2], [3, 4]]]]), 2)
    assert nails[0, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    maps = noise(2, 3, 4, 5)
    corner = torch.zeros(3, 1, 3, 3, dtype=torch.float64)
    corner[:, 0, 0, 0] = 1
    transposed = functional.conv_transpose2d(maps, corner, stride=3, groups=3)
    assert torch.equal(bed_of_nails(maps, 3), transposed)


@pytest.mark.atlas("U02")
@settings(max_examples=20)
@given(factor=st.integers(1, 4), axes=st.integers(1, 3), seed=st.integers(0, 100))
def test_bed_of_nails_is_the_adjoint_of_striding(factor: int, axes: int, seed: int) -> None:
    few = noise(2, 2, *(3,) * axes, seed=seed)
    many = noise(2, 2, *(3 * factor,) * axes, seed=seed + 1)
    nails = bed_of_nails(few, factor)
    strided = many[(..., *(slice(None, None, factor),) * axes)]
    torch.testing.assert_close((nails * many).sum(), (few * strided).sum())
    torch.testing.assert_close(nails.sum(), few.sum())


@pytest.mark.atlas("U03")
def test_bilinear_by_eye() -> None:
    ramp = line(0, 1, 2, 3)
    halves = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    assert bilinear(ramp, [8]).flatten().tolist() == pytest.approx(halves)
    aligned = [3 * i / 7 for i in range(8)]  # 0, 0.4286, ... 3
    assert bilinear(ramp, [8], align_corners=True).flatten().tolist() == pytest.approx(aligned)


def test_bilinear_in_three_axes_is_separable() -> None:
    maps = noise(1, 2, 3, 4, 5)
    once = bilinear(maps, (6, 4, 7))
    for axis, size in ((2, 6), (4, 7)):
        moved = maps.movedim(axis, -1)
        maps = bilinear(moved.reshape(1, -1, moved.shape[-1]), [size]).reshape(*moved.shape[:-1], size)
        maps = maps.movedim(-1, axis)
    torch.testing.assert_close(once, maps)


@pytest.mark.atlas("U04")
def test_the_first_maximum_wins() -> None:
    pooled = max_pool(torch.ones(1, 1, 4, 4), (2, 2))
    assert pooled.indices.flatten().tolist() == [0, 2, 8, 10]


@pytest.mark.atlas("U04")
def test_an_odd_size_comes_back() -> None:
    maps = torch.arange(25.0).reshape(1, 1, 5, 5)
    pooled = max_pool(maps, (2, 2))
    back = max_unpool(pooled.values, pooled)
    assert back.shape == maps.shape
    assert back.nonzero()[:, 2:].tolist() == [[1, 1], [1, 3], [3, 1], [3, 3]]
    assert torch.equal(back[back > 0], maps[back > 0])


@pytest.mark.atlas("U04")
@settings(max_examples=20)
@given(
    window=st.lists(st.integers(1, 3), min_size=2, max_size=3),
    sides=st.lists(st.integers(3, 7), min_size=3, max_size=3),
    gap=st.integers(0, 1),
    seed=st.integers(0, 50),
)
def test_unpooling_keeps_one_value_a_window(window: list[int], sides: list[int], gap: int, seed: int) -> None:
    sides = sides[: len(window)]
    maps, stride = noise(2, 2, *sides, seed=seed), [side + gap for side in window]
    pooled = max_pool(maps, window, stride=stride)
    expected = torch.zeros_like(maps)
    for image, channel in np.ndindex(2, 2):
        for corner in np.ndindex(*pooled.values.shape[2:]):
            box = tuple(slice(c * s, c * s + w) for c, s, w in zip(corner, stride, window, strict=True))
            here = maps[image, channel][box]
            expected[image, channel][box] = torch.where(here == here.max(), here, 0.0)
    assert torch.equal(max_unpool(pooled.values, pooled), expected)
    if not gap and len(window) == 2:
        theirs = functional.max_unpool2d(
            pooled.values, pooled.indices, tuple(window), output_size=maps.shape[2:]
        )
        assert torch.equal(theirs, expected)


@pytest.mark.atlas("U04")
def test_overlapping_windows_are_refused() -> None:
    with pytest.raises(BadArgument, match="write one place twice"):
        max_pool(torch.zeros(1, 1, 5, 5), (3, 3), stride=(2, 2))
    with pytest.raises(BadArgument, match="maps: shape"):
        max_unpool(torch.zeros(1, 1, 3, 3), max_pool(torch.zeros(1, 1, 4, 4), (2, 2)))


@pytest.mark.atlas("U05")
@settings(max_examples=30)
@given(
    side=st.integers(1, 6),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.integers(0, 1),
    dilation=st.integers(1, 2),
    extra=st.integers(0, 1),
    seed=st.integers(0, 50),
)
def test_transposed_convolution_is_the_adjoint(
    side: int, kernel: int, stride: int, padding: int, dilation: int, extra: int, seed: int
) -> None:
    extra = min(extra, stride - 1)
    how = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    size = transposed_size(side, **how, output_padding=extra)
    if size < 1:
        return
    few, weight = noise(1, 2, side, side, seed=seed), noise(2, 3, kernel, kernel, seed=seed + 1)
    many = functional.conv_transpose2d(few, weight, None, stride, padding, extra, 1, dilation)
    assert many.shape == (1, 3, size, size)
    other = noise(*many.shape, seed=seed + 2)
    back = functional.conv2d(other, weight, None, stride, padding, dilation)
    torch.testing.assert_close((back * few).sum(), (other * many).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.atlas("U05")
def test_transposed_convolution_is_the_transposed_matrix() -> None:
    weight, unit = noise(1, 1, 3, 3), torch.eye(25, dtype=torch.float64).reshape(25, 1, 5, 5)
    matrix = functional.conv2d(unit, weight, stride=2).flatten(1).T  # 4 x 25: what each pixel does
    small = noise(1, 1, 2, 2, seed=1)
    got = functional.conv_transpose2d(small, weight, stride=2).flatten()
    torch.testing.assert_close(got, matrix.T @ small.flatten())


@pytest.mark.atlas("U06")
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_a_bilinear_deconvolution_begins_as_bilinear(factor: int) -> None:
    maps = torch.rand(2, 3, 7, 9)
    layer = BilinearDeconvolution(3, factor=factor)
    got = layer(maps)
    want = bilinear(maps, [factor * side for side in maps.shape[2:]])
    assert got.shape == want.shape
    inner = (slice(None), slice(None), slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(got[inner], want[inner], rtol=0, atol=5e-7)
    assert factor == 1 or (got - want).abs().max() > 0.01  # zeros lie beyond the edge
    assert (layer.kernel_size[0], layer.stride[0]) == (2 * factor - factor % 2, factor)
    assert layer.padding[0] == ceil((factor - 1) / 2)


@pytest.mark.atlas("U06")
def test_the_bilinear_kernel_by_eye() -> None:
    assert bilinear_kernel(2)[1].tolist() == [0.1875, 0.5625, 0.5625, 0.1875]
    middle = bilinear_kernel(3)[2]
    assert middle.tolist() == pytest.approx([1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
    assert BilinearDeconvolution(2, factor=2).weight.requires_grad
    assert not BilinearDeconvolution(2, factor=2, learned=False).weight.requires_grad


@pytest.mark.atlas("U07")
@pytest.mark.parametrize(
    ("kernel", "stride", "counts"), [(3, 2, {1, 2}), (4, 2, {2}), (4, 3, {1, 2}), (2, 3, {0, 1}), (5, 1, {5})]
)
def test_checkerboards_by_eye(kernel: int, stride: int, counts: set[int]) -> None:
    overlap = checkerboard(kernel, stride)
    assert set(overlap.inner.tolist()) == counts
    assert (overlap.least, overlap.most) == (min(counts), max(counts))
    assert overlap.even == (len(counts) == 1)


@pytest.mark.atlas("U07")
@settings(max_examples=30)
@given(kernel=st.integers(1, 9), stride=st.integers(1, 5), axes=st.integers(1, 2), more=st.integers(0, 3))
def test_the_stride_must_divide_the_kernel(kernel: int, stride: int, axes: int, more: int) -> None:
    inputs = ceil((kernel - 2) / stride) + 2 + more
    overlap = checkerboard(kernel, stride, axes=axes, inputs=inputs)
    convolve = functional.conv_transpose1d if axes == 1 else functional.conv_transpose2d
    twin = convolve(torch.ones(1, 1, *(inputs,) * axes), torch.ones(1, 1, *(kernel,) * axes), stride=stride)
    assert torch.equal(overlap.counts, twin[0, 0].long())
    assert overlap.even == (kernel % stride == 0)
    assert (overlap.least, overlap.most) == ((kernel // stride) ** axes, ceil(kernel / stride) ** axes)


@pytest.mark.atlas("U07")
@pytest.mark.parametrize("padding", [1, 2])
def test_padding_only_cuts_the_edge(padding: int) -> None:
    ones = torch.ones(1, 1, 6)
    padded = functional.conv_transpose1d(ones, torch.ones(1, 1, 5), stride=2, padding=padding)
    whole = checkerboard(5, 2, inputs=6).counts
    assert torch.equal(padded[0, 0].long(), whole[padding:-padding])


@pytest.mark.atlas("U08")
def test_resize_convolution_has_no_checkerboard() -> None:
    layer = ResizeConvolution(2, 3, factor=2)
    maps = torch.rand(1, 2, 5, 6)
    enlarged = functional.pad(nearest(maps, (10, 12)), (1, 1, 1, 1), mode="reflect")
    torch.testing.assert_close(
        layer(maps), functional.conv2d(enlarged, layer[1].weight, layer[1].bias), rtol=0, atol=1e-6
    )
    flat = layer(torch.ones(1, 2, 5, 6))
    torch.testing.assert_close(flat, flat[..., :1, :1].expand_as(flat))  # no frame either


def test_sub_pixel_begins_as_the_nearest_pixel() -> None:
    torch.manual_seed(0)
    layer = SubPixel(2, 3, factor=3)
    maps = torch.rand(1, 2, 4, 5)
    convolved = functional.conv2d(maps, layer[0].weight[::9], layer[0].bias[::9], padding=1)
    torch.testing.assert_close(layer(maps), nearest(convolved, (12, 15)))
    assert layer[0].weight[0].std() > 0.05


@pytest.mark.atlas("U09")
def test_skip_connections_pad_or_crop() -> None:
    deep, skip = torch.ones(1, 1, 4, 6), torch.arange(63.0).reshape(1, 1, 7, 9)
    padded, kept = align(deep, skip, by="pad")
    assert kept is skip
    assert padded[0, 0].sum(1).tolist() == [0, 6, 6, 6, 6, 0, 0]  # 3 // 2 before, 3 - 3 // 2 after
    assert padded[0, 0].sum(0).tolist() == [0, 4, 4, 4, 4, 4, 4, 0, 0]
    kept, cropped = align(deep, skip, by="crop")
    assert kept is deep
    assert torch.equal(cropped, skip[:, :, 1:5, 1:7])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    maps = torch.rand(1, 2, 4, 6).to(dtype)
    pooled = max_pool(maps, (2, 2))
    for large in (nearest(maps, (8, 9)), bilinear(maps, (8, 9)), max_unpool(pooled.values, pooled)):
        assert large.dtype == dtype
        assert large.isfinite().all()


def test_gradients() -> None:
    maps = noise(1, 2, 3, 4).requires_grad_()
    pooled = max_pool(noise(1, 2, 6, 8), (2, 2))
    for enlarge in (
        lambda x: nearest(x, (5, 7)),
        lambda x: bilinear(x, (5, 7)),
        lambda x: bed_of_nails(x, 2),
        lambda x: max_unpool(x, pooled),
        lambda x: BilinearDeconvolution(2, factor=2).double()(x),
    ):
        assert torch.autograd.gradcheck(enlarge, maps)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: nearest(torch.zeros(1, 1, 3, 3), (4,)), "size: "),
        (lambda: nearest(torch.zeros(1, 1, 3, 3), (4, 0)), "size: "),
        (lambda: bilinear(torch.zeros(1, 1, 4, 4, 4), (2, 2, 2), antialias=True), "antialias: "),
        (lambda: bed_of_nails(torch.zeros(1, 1, 3), 0), "factor: 0"),
        (lambda: max_pool(torch.zeros(1, 1, 4), (2,)), "window: "),
        (lambda: bilinear_kernel(0), "factor: 0"),
        (lambda: ResizeConvolution(1, 1, factor=2, kernel=2), "kernel: 2"),
        (lambda: checkerboard(0, 2), "kernel, stride"),
        (lambda: checkerboard(9, 2, inputs=3), "6 inputs or more"),
    ],
)
def test_what_does_not_fit_is_told(call, told: str) -> None:
    with pytest.raises(BadArgument, match=told):
        call()


def test_unknown_words_are_told() -> None:
    for call in (
        lambda: nearest(torch.zeros(1, 1, 3), [4], rule="half"),  # type: ignore[arg-type]
        lambda: align(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 4, 4), by="padding"),  # type: ignore[arg-type]
    ):
        with pytest.raises((UnknownName, TypeError), match=r"half|padding"):
            call()
