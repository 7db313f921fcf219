"""Chan-Vese with two and more phases: exact recovery, the energy, a twin for two phases, scikit-image."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from skimage.segmentation import chan_vese as of_skimage

from segmentarium.classical.chan_vese import _begin, chan_vese, signs, vese_chan
from segmentarium.classical.levels import levels
from segmentarium.errors import BadArgument
from segmentarium.ops.grid_solver import solve
from segmentarium.ops.level_sets import curvature_links
from segmentarium.values import Volume


def two_valued(size: tuple[int, ...] = (40, 46)) -> np.ndarray:
    at = np.indices(size)
    ball = sum((x - n / 2 + 4) ** 2 for x, n in zip(at, size, strict=True)) < (min(size) / 4) ** 2
    ball[(slice(-6, -1),) * len(size)] = True
    return np.where(ball, 200, 60).astype(np.uint8)


def four_coloured() -> tuple[np.ndarray, np.ndarray]:
    truth = np.zeros((32, 36), int)
    truth[:16, 20:], truth[16:, :14], truth[16:, 14:] = 1, 2, 3
    return np.array([(200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 60)], np.uint8)[truth], truth


def energy_of(labels: np.ndarray, grey: np.ndarray, mu: float) -> float:
    """The energy of flat phases on [0, 1]: borders as steps along the axes, longer by 4 / pi on average."""
    inside = sum(((grey[labels == i] - grey[labels == i].mean()) ** 2).sum() for i in np.unique(labels))
    steps = sum((np.diff(labels, axis=axis) != 0).sum() for axis in range(labels.ndim))
    return float(inside + mu * steps * np.pi / 4)


@pytest.mark.atlas("C08")
@pytest.mark.parametrize(
    ("size", "start"), [((40, 46), "brightness"), ((40, 46), "checkerboard"), ((14, 16, 18), "brightness")]
)
def test_two_values_are_recovered_exactly(size: tuple[int, ...], start: Any) -> None:
    picture = two_valued(size)
    result = chan_vese(picture if len(size) == 2 else Volume.plain(picture), start=start, mu=0.05)
    assert (result.labels == (picture == 200)).all()
    assert result.classes.names == ("phase 1", "phase 2")


@pytest.mark.atlas("C10")
def test_four_colours_are_recovered() -> None:
    picture, truth = four_coloured()
    found = chan_vese(picture, functions=2).labels
    assert any((np.array(order)[truth] == found).all() for order in permutations(range(4)))


def two_phases(grey: np.ndarray, phi: np.ndarray, *, mu: float, length: float, steps: int) -> np.ndarray:
    """The two-phase model by its own equation, without any thought of phases by number."""
    g = grey / 255
    for _ in range(steps):
        inside, outside = phi > 0, phi <= 0
        c1 = g[inside].mean() if inside.any() else 0
        c2 = g[outside].mean() if outside.any() else 0
        delta = 1 / (np.pi * (1 + phi**2))
        right = phi / (length * delta) - (g - c1) ** 2 + (g - c2) ** 2
        links = mu * curvature_links(phi, (1.0, 1.0))
        phi = solve(1 / (length * delta), links, right, phi, tolerance=0.1)
    return phi


@pytest.mark.atlas("C08", "C10")
def test_one_function_is_the_two_phase_model() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (20, 24))
    begin = _begin(levels(grey.astype(np.uint8)), 1, "checkerboard")
    ours = vese_chan(grey[..., None], begin, mu=0.2, length=5.0, iterations=7, tolerance=0.0)
    twin = two_phases(grey, begin[0], mu=0.2, length=5.0, steps=7)
    np.testing.assert_allclose(ours.functions[0], twin, atol=1e-9)
    assert (ours.labels == (twin > 0)).all()


@pytest.mark.atlas("C08", "C10")
@pytest.mark.parametrize("functions", [1, 2, 3])
def test_the_energy_ends_below_its_start(functions: int) -> None:
    draw = np.random.default_rng(functions)
    picture = np.clip(two_valued()[..., None] + draw.normal(0, 40, (40, 46, 3)), 0, 255).astype(np.uint8)
    taken = levels(picture)
    found = vese_chan(taken.values, _begin(taken, functions, "brightness"), iterations=40)
    assert found.energies[-1] < 0.8 * found.energies[0]
    assert found.energies[-1] == found.energies.min()
    for phase in np.unique(found.labels):
        np.testing.assert_allclose(found.means[phase], picture[found.labels == phase].mean(0), rtol=1e-4)


@pytest.mark.atlas("C08")
def test_as_good_as_scikit_image() -> None:
    draw = np.random.default_rng(3)
    clean = two_valued((50, 56))
    picture = np.clip(clean + draw.normal(0, 45, clean.shape), 0, 255).astype(np.uint8)
    ours = chan_vese(picture, mu=0.1).labels
    theirs = of_skimage(picture / 255, mu=0.1, lambda1=1, lambda2=1, max_num_iter=300).astype(int)
    agree = (ours == theirs).mean()
    assert max(agree, 1 - agree) > 0.98
    assert energy_of(ours, picture / 255, 0.1) <= 1.01 * energy_of(theirs, picture / 255, 0.1)
    assert (ours == (clean == 200)).mean() > 0.99


@pytest.mark.atlas("C08")
def test_weights_shift_the_border() -> None:
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (10, 1))
    even, bent = (chan_vese(ramp, weights=w).labels.mean() for w in ((), (1.0, 4.0)))
    assert abs(even - 0.5) < 0.05
    assert bent < even - 0.05


def test_signs_are_numbers() -> None:
    phi = np.array([[-1.0, 1, -1, 1], [-1, -1, 1, 1]]).reshape(2, 1, 4)
    assert signs(phi).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("start", ["brightness", "checkerboard", "disk"])
def test_one_colour_and_one_pixel(start: Any) -> None:
    for picture in (np.full((9, 8, 3), 77, np.uint8), np.full((1, 1), 7, np.uint8)):
        result = chan_vese(picture, start=start, functions=2, iterations=10)
        assert result.labels.shape == picture.shape[:2]
        assert len(result.classes) == result.labels.max() + 1


def test_what_is_refused() -> None:
    picture = two_valued()
    for wrong, words in (
        ({"mu": -1.0}, "mu"),
        ({"functions": 5}, "up to 4"),
        ({"weights": (1.0, 2.0, 3.0)}, "one number a phase"),
        ({"weights": (1.0, -2.0)}, "0 or more"),
    ):
        with pytest.raises(BadArgument, match=words):
            chan_vese(picture, **wrong)  # type: ignore[arg-type]
