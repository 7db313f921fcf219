"""The dense field gives pydensecrf's numbers, in all four normalisations and with all kinds of costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rule import uniform
from safetensors.numpy import load_file

from segmentarium.classical.crf import unaries
from segmentarium.classical.crf.dense import DenseCRF, Kernel, Normalise

SEED, SIZE, CLASSES = 2011, (25, 36), 4
FEW = 3  # columns of a picture's pattern, so that colours repeat


@dataclass(frozen=True)
class Case:
    """Which normalisation, and how different labels cost: a number, a vector or a matrix."""

    normalise: Normalise
    costs: str = "number"

    def compatibilities(self) -> tuple[float | np.ndarray, float | np.ndarray]:
        """Of the kernel of positions, and of positions and colours."""
        if self.costs == "vector":
            return 3.0, np.array([-8, -10, -6, -9], np.float32)
        if self.costs == "matrix":
            return 3.0, (uniform((CLASSES, CLASSES), SEED, 3) - 10 * np.eye(CLASSES)).astype(np.float32)
        return (0.05, 0.02) if self.normalise == "none" else (3.0, 10.0)


CASES = {
    "before": Case("before"),
    "after": Case("after"),
    "symmetric": Case("symmetric"),
    "none": Case("none"),
    "vector": Case("symmetric", "vector"),
    "matrix": Case("symmetric", "matrix"),
}


def picture_by_rule() -> np.ndarray:
    """Blocks of colour with noise, (h, w, 3) uint8."""
    rows, columns = np.indices(SIZE)
    blocks = uniform((FEW * FEW, 3), SEED, 0)[(rows * FEW // SIZE[0]) * FEW + columns * FEW // SIZE[1]]
    return (200 * blocks + 55 * uniform((*SIZE, 3), SEED, 1)).astype(np.uint8)


def guess_by_rule() -> np.ndarray:
    """Labels 1 to 4 by the picture's red and green, 0 for what is not known."""
    red, green = picture_by_rule()[..., 0] > 110, picture_by_rule()[..., 1] > 110
    return np.where(uniform(SIZE, SEED, 4) < 0.2, 0, 1 + red + 2 * green)


def energies_by_rule() -> np.ndarray:
    """Weak energies: half the labels are noise."""
    energies = 2 * uniform((CLASSES, *SIZE), SEED, 2)
    for label in range(CLASSES):
        energies[label][guess_by_rule() == label + 1] -= 0.8
    return energies.astype(np.float32)


def held() -> dict[str, np.ndarray]:
    return load_file(Path(__file__).with_name("dense_crf.safetensors"))


def field(case: Case, iterations: int) -> DenseCRF:
    gaussian, bilateral = case.compatibilities()
    mode = case.normalise
    kernels = Kernel(3.0, None, gaussian, mode), Kernel(20.0, 13.0, bilateral, mode)
    return DenseCRF(kernels, iterations)


@pytest.mark.atlas("R10", "R12", "R13", "R14")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("steps", "tolerance"), [(1, 5e-6), (10, 5e-5)])
def test_recorded_probabilities_of_pydensecrf(name: str, steps: int, tolerance: float) -> None:
    ours = field(CASES[name], steps).infer(energies_by_rule(), picture_by_rule())
    error = np.abs(ours - held()[f"{name}.{steps}"]).max()
    assert error < tolerance, f"{error:.1e}"


@pytest.mark.atlas("R20")
@pytest.mark.parametrize("name", CASES)
def test_recorded_divergences_of_pydensecrf(name: str) -> None:
    ours = field(CASES[name], 10).trace(energies_by_rule(), picture_by_rule()).divergences
    np.testing.assert_allclose(ours, held()[f"{name}.divergences"], rtol=2e-5)


@pytest.mark.atlas("R17")
def test_recorded_unary_energies_of_pydensecrf() -> None:
    powers = np.exp(-energies_by_rule())
    soft = unaries.from_softmax(powers / powers.sum(0), trust=0.8)
    np.testing.assert_allclose(soft.reshape(CLASSES, -1)[:, ::7], held()["unary.softmax"], atol=2e-6)
    hard = unaries.from_labels(guess_by_rule(), classes=CLASSES, sure=0.6)
    np.testing.assert_allclose(hard.reshape(CLASSES, -1)[:, ::7], held()["unary.labels"], atol=1e-6)
