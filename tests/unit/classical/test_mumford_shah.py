"""Ambrosio-Tortorelli against a direct solver, its energy at every half step, and the edges it finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from segmentarium.classical.mumford_shah import ambrosio_tortorelli, cut_along, energy, mumford_shah
from segmentarium.errors import BadArgument, BadImage
from segmentarium.values import Volume

pytestmark = pytest.mark.atlas("C09")


def half_and_half(size: tuple[int, ...] = (16, 16), *, step: float = 100, noise: float = 5) -> np.ndarray:
    picture = np.full((*size, 1), 80.0)
    picture[..., size[-1] // 2 :, :] += step
    return picture + np.random.default_rng(0).normal(0, noise, picture.shape)


def differences(size: tuple[int, ...], spacing: tuple[float, ...]) -> list[sparse.csr_array]:
    """For each axis the matrix that takes the difference of each pair of neighbours."""
    matrices = []
    for axis, space in enumerate(spacing):
        whole = [sparse.eye_array(n) for n in size]
        n = size[axis]
        whole[axis] = sparse.diags_array([-np.ones(n - 1), np.ones(n - 1)], offsets=[0, 1], shape=(n - 1, n))
        product = whole[0]
        for factor in whole[1:]:
            product = sparse.kron(product, factor)
        matrices.append(sparse.csr_array(product) / space)
    return matrices


def direct(given, alpha, beta, rho, epsilon, spacing, turns):  # type: ignore[no-untyped-def]
    """The same turns with matrices that are built and solved."""
    size, channels = given.shape[:-1], given.shape[-1]
    steps = differences(size, spacing)
    means = [abs(d) * space / 2 for d, space in zip(steps, spacing, strict=True)]
    flat = given.reshape(-1, channels)
    u, v, eye = flat.copy(), np.ones(len(flat)), sparse.eye_array(len(flat))
    for _ in range(turns):
        diffusion = sum(d.T @ sparse.diags_array(m @ v**2) @ d for d, m in zip(steps, means, strict=True))
        matrix = sparse.csc_array(beta * eye + alpha * diffusion)
        u = np.stack([spsolve(matrix, beta * flat[:, c]) for c in range(channels)], axis=1)
        slopes = sum(m.T @ ((d @ u) ** 2).sum(1) for d, m in zip(steps, means, strict=True))
        rest = rho / (4 * epsilon)
        matrix = sparse.diags_array(alpha * slopes + rest) + rho * epsilon * sum(d.T @ d for d in steps)
        v = spsolve(sparse.csc_array(matrix), np.full(len(flat), rest))
    return u.reshape(given.shape), v.reshape(size)


@pytest.mark.parametrize(
    ("size", "channels", "spacing"),
    [((16, 16), 1, (1.0, 1.0)), ((9, 11), 3, (1.0, 2.0)), ((5, 6, 7), 2, (3.0, 1.0, 0.5))],
)
def test_equals_the_direct_solution(size: tuple[int, ...], channels: int, spacing: tuple[float, ...]) -> None:
    given = np.random.default_rng(1).uniform(0, 255, (*size, channels))
    prices = {"alpha": 4.0, "beta": 0.7, "rho": 900.0, "epsilon": 1.3}
    ours = ambrosio_tortorelli(given, **prices, spacing=spacing, iterations=3, tolerance=0.0, accuracy=1e-13)
    u, v = direct(given, *prices.values(), spacing, 3)
    np.testing.assert_allclose(ours.smooth, u, atol=1e-8)
    np.testing.assert_allclose(ours.uncut, v, atol=1e-10)


@pytest.mark.parametrize("accuracy", [1e-10, 1e-4, 0.3])
@pytest.mark.parametrize("size", [(24, 30), (6, 8, 10)])
def test_no_half_step_raises_the_energy(size: tuple[int, ...], accuracy: float) -> None:
    given = np.random.default_rng(2).uniform(0, 255, (*size, 2))
    found = ambrosio_tortorelli(given, tolerance=0.0, accuracy=accuracy, iterations=10)
    assert len(found.energies) >= 5
    assert (np.diff(found.energies) <= 1e-9 * found.energies[:-1]).all()
    last = energy(found.smooth, found.uncut, given, (64.0, 1.0, 2500.0, 1.0), (1.0,) * len(size))
    assert last == pytest.approx(found.energies[-1], rel=1e-12)


def test_energy_by_hand() -> None:
    u, v, given = np.array([[[3.0], [7.0]]]), np.array([[1.0, 0.5]]), np.array([[[2.0], [7.0]]])
    by_hand = 2 * (1 + 0.25) / 2 * 16 + 3 * 1 + 5 * (0.7 * 0.25 + 0.25 / 2.8)
    assert energy(u, v, given, (2.0, 3.0, 5.0, 0.7), (1.0, 1.0)) == pytest.approx(by_hand)


def test_without_a_price_for_slopes_the_picture_stays() -> None:
    given = np.random.default_rng(3).uniform(0, 255, (12, 13, 3))
    for alpha, apart in ((0.0, 1e-9), (1e-6, 1e-2)):
        found = ambrosio_tortorelli(given, alpha=alpha, accuracy=1e-12)
        np.testing.assert_allclose(found.smooth, given, atol=apart)


def test_a_step_is_an_edge_and_noise_is_none() -> None:
    found = ambrosio_tortorelli(half_and_half())
    middle = found.uncut[:, 6:10].min(1)
    assert (middle < 0.02).all()
    assert (found.uncut[:, :3] > 0.9).all()
    assert (found.uncut[:, -3:] > 0.9).all()
    left, right = found.smooth[:, :8, 0], found.smooth[:, 8:, 0]
    assert left.std() < 2.5
    assert right.mean() - left.mean() > 95


@pytest.mark.parametrize("size", [(20, 20), (8, 9, 16)])
def test_regions_lie_between_the_edges(size: tuple[int, ...]) -> None:
    picture = half_and_half(size)[..., 0].round().astype(np.uint8)
    result = mumford_shah(picture if len(size) == 2 else Volume.plain(picture))
    expected = np.zeros(size, int)
    expected[..., size[-1] // 2 :] = 1
    assert result.labels.max() == 1
    assert (result.labels == expected).all()


def test_a_low_step_is_no_edge() -> None:
    picture = half_and_half(step=15, noise=1).round().astype(np.uint8)
    assert not mumford_shah(picture).labels.any()


def test_parts_and_the_nearest_of_them() -> None:
    uncut = np.array([[1.0, 1.0, 0.1, 0.2, 1.0, 0.3, 1.0, 1.0]])
    assert cut_along(uncut).tolist() == [[1, 1, 1, 2, 2, 2, 3, 3]]
    assert cut_along(uncut, smallest=2).tolist() == [[1, 1, 1, 1, 3, 3, 3, 3]]
    assert cut_along(uncut, smallest=3).tolist() == [[0] * 8]


def test_pictures_without_edges() -> None:
    for picture in (np.full((1, 1), 9, np.uint8), np.full((7, 30, 3), 200, np.uint8)):
        assert not mumford_shah(picture).labels.any()


def test_what_is_refused() -> None:
    picture = half_and_half()
    for wrong in ({"alpha": -1.0}, {"beta": 0.0}, {"rho": 0.0}, {"epsilon": 0.0}, {"level": 1.5}):
        with pytest.raises(BadArgument, match=next(iter(wrong))):
            mumford_shah(picture, **wrong)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="one number an axis"):
        ambrosio_tortorelli(picture, spacing=(1.0,))
    with pytest.raises(BadImage):
        mumford_shah(np.full((2, 2), np.inf))
