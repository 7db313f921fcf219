"""The fully connected field: its laws, its costs, volumes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium.classical.crf import dense
from segmentarium.classical.crf.dense import DenseCRF, Kernel, Normalise
from segmentarium.classical.crf.exact_dense import infer_exactly
from segmentarium.classical.dense_crf import dense_crf
from segmentarium.errors import BadArgument, BadImage
from segmentarium.ops import permutohedral
from segmentarium.ops.permutohedral import Lattice

MODES: tuple[Normalise, ...] = ("before", "after", "symmetric", "none")


def scene(
    size: tuple[int, ...] = (14, 19), classes: int = 3, channels: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Weak energies and a noisy picture whose left and right differ."""
    rng = np.random.default_rng(5)
    right = np.arange(size[-1]) >= size[-1] // 2
    picture = np.broadcast_to(60 + 120 * right[:, None], (*size, channels)) + rng.normal(
        0, 8, (*size, channels)
    )
    unary = rng.random((classes, *size))
    unary[0] -= 0.4 * ~right
    unary[1] -= 0.4 * right
    return unary.astype(np.float32), picture.astype(np.float32)


def usual(normalise: Normalise = "symmetric", *, steps: int = 3, include_self: bool = True) -> DenseCRF:
    kernels = Kernel(1.5, None, 0.5, normalise), Kernel(6.0, 20.0, 1.0, normalise)
    return DenseCRF(kernels, steps, include_self)


def by_formula(crf: DenseCRF, unary: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Mean field in words of one syllable, on our lattice as a matrix."""
    k, n = len(unary), unary[0].size
    flat, terms = unary.reshape(k, n).astype(float), []
    for kernel in crf.kernels:
        matrix = Lattice(kernel.features(picture)).filter(np.eye(n, dtype=np.float32)).astype(float)
        if not crf.include_self:
            matrix -= np.diag(np.diag(matrix))
        norm = matrix.sum(1)
        if kernel.normalise == "before":
            matrix = matrix / norm
        elif kernel.normalise == "after":
            matrix = matrix / norm[:, None]
        elif kernel.normalise == "symmetric":
            matrix = matrix / np.sqrt(np.outer(norm, norm))
        terms.append((kernel.costs(k), matrix))

    def softmax(scores: np.ndarray) -> np.ndarray:
        powers = np.exp(scores - scores.max(0))
        return powers / powers.sum(0)

    q = softmax(-flat)
    for _ in range(crf.iterations):
        q = softmax(-flat - sum(costs @ (q @ matrix.T) for costs, matrix in terms))
    return q.reshape(unary.shape)


@pytest.mark.atlas("R12", "R13")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("include_self", [True, False])
def test_equals_the_formula(mode: Normalise, include_self: bool) -> None:
    unary, picture = scene()
    crf = usual(mode, include_self=include_self)
    if mode == "none":
        crf = DenseCRF((Kernel(1.5, None, 0.05, mode), Kernel(6.0, 20.0, 0.02, mode)), 3, include_self)
    ours = crf.infer(unary, picture)
    np.testing.assert_allclose(ours.sum(0), 1, atol=1e-5)
    assert np.abs(ours - by_formula(crf, unary, picture)).max() < 5e-6


@pytest.mark.atlas("R12", "R14")
@pytest.mark.parametrize("include_self", [True, False])
def test_costs_of_all_kinds(include_self: bool) -> None:
    unary, picture = scene()
    rough = np.array([[-1.0, 0.2, 0.6], [0.0, -0.7, 0.4], [0.2, 0.0, -0.3]])

    def with_costs(costs: float | np.ndarray) -> np.ndarray:
        return DenseCRF((Kernel(4.0, 20.0, costs),), 2, include_self).infer(unary, picture)

    potts = with_costs(0.8)
    np.testing.assert_allclose(with_costs(-0.8 * np.eye(3)), potts, atol=2e-6)
    np.testing.assert_allclose(with_costs(np.full(3, -0.8)), potts, atol=2e-6)
    np.testing.assert_array_equal(with_costs(rough), with_costs((rough + rough.T) / 2))
    crf = DenseCRF((Kernel(4.0, 20.0, rough),), 2, include_self)
    assert np.abs(with_costs(rough) - by_formula(crf, unary, picture)).max() < 5e-6


@pytest.mark.atlas("R13")
def test_after_keeps_constants() -> None:
    _, picture = scene()
    kernel = Kernel(6.0, 20.0)
    lattice = Lattice(kernel.features(picture))
    norm = lattice.norm()
    before, after = dense.scales(norm, "after")
    same = lattice.filter((before * 0.3)[:, None])[:, 0] * after
    np.testing.assert_allclose(same, 0.3, rtol=1e-5)


@pytest.mark.atlas("R12")
@pytest.mark.parametrize(("size", "channels"), [((5, 7, 9), 1), ((4, 5, 8), 2), ((17,), 3), ((6, 8), 5)])
def test_any_dimensions_and_channels(size: tuple[int, ...], channels: int) -> None:
    unary, picture = scene(size, 2, channels)
    crf = usual(steps=2)
    assert np.abs(crf.infer(unary, picture) - by_formula(crf, unary, picture)).max() < 5e-6


@pytest.mark.atlas("R12")
def test_spacing_scales_sigma() -> None:
    unary, picture = scene((4, 6, 8), 2, 1)
    spaced = DenseCRF((Kernel(3.0, 20.0),), 2).infer(unary, picture, spacing=(2.0, 1.0, 0.5))
    scaled = DenseCRF((Kernel((1.5, 3.0, 6.0), 20.0),), 2).infer(unary, picture)
    np.testing.assert_allclose(spaced, scaled, atol=1e-5)


@pytest.mark.atlas("R20")
def test_the_trace_ends_where_the_inference_does() -> None:
    unary, picture = scene()
    for include_self in (True, False):
        crf = usual(include_self=include_self)
        trace = crf.trace(unary, picture)
        np.testing.assert_array_equal(trace.probs, crf.infer(unary, picture))
        assert len(trace.divergences) == 4
        assert trace.divergences[-1] < trace.divergences[0]


@pytest.mark.atlas("R20")
def test_divergence_by_the_formula() -> None:
    unary, picture = scene()
    kernel = Kernel(6.0, 20.0, 1.0, "none")
    q = np.exp(-unary) / np.exp(-unary).sum(0)
    flat = q.reshape(3, -1)
    heard = Lattice(kernel.features(picture)).filter(np.ascontiguousarray(flat.T)).T
    expected = (flat * (np.log(flat) + unary.reshape(3, -1) - heard)).sum()
    assert DenseCRF((kernel,), 0).trace(unary, picture).divergences[0] == pytest.approx(expected, rel=1e-5)


def test_blocks_and_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    unary, picture = scene()
    whole = usual().infer(unary, picture)
    monkeypatch.setattr(permutohedral, "BLOCK_NUMBERS", 100)
    np.testing.assert_array_equal(usual().infer(unary, picture), whole)
    soft = np.exp(-unary) / np.exp(-unary).sum(0)
    np.testing.assert_allclose(DenseCRF((), 5).infer(unary, picture), soft, atol=1e-6)


def test_extreme_energies_stay_finite() -> None:
    unary, picture = scene()
    probs = usual("none").infer(unary * 1e6, picture)
    assert np.isfinite(probs).all()
    np.testing.assert_allclose(probs.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kernels": (Kernel(0.0),)}, "sigma"),
        ({"kernels": (Kernel((1.0, 2.0, 3.0)),)}, "sigma of 3 numbers"),
        ({"kernels": (Kernel(1.0, (1.0, 2.0)),)}, "contrast of 2 numbers"),
        ({"kernels": (Kernel(1.0, None, np.ones(2)),)}, "compatibility of shape"),
        ({"kernels": (Kernel(1.0, None, float("nan")),)}, "compatibility"),
        ({"iterations": -1}, "iterations"),
    ],
)
def test_parameters_that_are_refused(change: dict, said: str) -> None:
    unary, picture = scene()
    with pytest.raises(BadArgument, match=said):
        DenseCRF(**change).infer(unary, picture)


def test_energies_that_are_refused() -> None:
    unary, picture = scene()
    with pytest.raises(BadArgument, match="another size"):
        usual().infer(unary[:, 1:], picture)
    with pytest.raises(BadArgument, match="from nan to nan; allowed: finite"):
        usual().infer(np.where(unary > 0.5, np.nan, unary), picture)
    with pytest.raises(BadArgument, match="at least one pixel"):
        usual().infer(unary[:, :0], picture[:0])


@pytest.mark.atlas("R12")
def test_the_lattice_is_near_the_true_gaussian() -> None:
    unary, picture = scene()
    crf = usual("after")
    same = crf.infer(unary, picture).argmax(0) == infer_exactly(crf, unary, picture).argmax(0)
    assert same.mean() > 0.95


def test_the_method_cleans_a_first_guess() -> None:
    rng = np.random.default_rng(0)
    truth = 1 + (np.arange(40) >= 17)[None].repeat(30, 0)
    picture = np.repeat((60 + 100 * (truth == 2))[..., None], 3, 2).astype(np.uint8)
    guess = np.where(rng.random(truth.shape) < 0.25, 3 - truth, truth)
    guess[10:20, 10:25] = 0
    found = dense_crf(picture, seeds=guess, sigma=20.0)
    np.testing.assert_array_equal(found.labels, truth - 1)
    assert [entry.name for entry in found.classes] == ["background", "foreground"]
    mask = np.where(guess == 0, 255, guess - 1)
    again = dense_crf(picture, seeds=mask, unknown=255, sigma=20.0)
    np.testing.assert_array_equal(again.labels, found.labels)
    three = dense_crf(
        picture, seeds=np.where(mask == 0, rng.integers(0, 2, mask.shape) * 2, mask), unknown=255
    )
    assert three.classes.names == ("label 0", "label 1", "label 2")
    with pytest.raises(BadArgument, match=r"the labels 0, 5; allowed: 0, 1, \.\.\. without a gap"):
        dense_crf(picture, seeds=mask * np.where(mask == 1, 5, 1), unknown=255)
    assert found.probs is not None
    np.testing.assert_allclose(found.probs.sum(0), 1, atol=1e-5)


def test_the_method_on_odd_pictures() -> None:
    constant = np.full((6, 7), 80, np.uint8)
    guess = np.ones((6, 7), int)
    guess[:, 5:] = 2
    assert dense_crf(constant, seeds=guess, weight=0.0, spatial_weight=0.0).labels.sum() == 12
    with pytest.raises(BadArgument, match="seeds"):
        dense_crf(constant, seeds=guess[1:])
    with pytest.raises(BadArgument, match="seeds"):
        dense_crf(constant, seeds=np.ones((6, 7), int))
    with pytest.raises(BadArgument, match="sure"):
        dense_crf(constant, seeds=guess, sure=1.0)
    with pytest.raises(BadImage, match="nan"):
        dense_crf(np.full((3, 3), np.nan), seeds=guess[:3, :3])


def test_the_method_takes_a_path(tmp_path) -> None:
    Pil.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "black.png")
    guess = np.ones((4, 5), int)
    guess[0, 0] = 2
    assert dense_crf(tmp_path / "black.png", seeds=guess).labels.max() == 0
