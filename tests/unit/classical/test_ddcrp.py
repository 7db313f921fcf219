"""ddCRP: the sampler against all link graphs of six superpixels, the evidence, and whole pictures."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy.stats import multivariate_t

from segmentarium.classical.ddcrp import KAPPA, ddcrp, parts, sample
from segmentarium.classical.ddcrp_kernels import evidence
from segmentarium.classical.levels import Levels
from segmentarium.errors import BadArgument

pytestmark = pytest.mark.atlas("C04")

SPREAD, ALPHA = 20.0, 0.4
LABELS = np.arange(6).reshape(2, 3)
COLORS = np.array([[90, 60], [95, 80], [180, 70], [100, 50], [130, 90], [170, 110]], float)


def predictive(points: np.ndarray, origin: np.ndarray) -> float:
    """The evidence as a product: each point given those before it follows a t distribution."""
    dims, seen, total = points.shape[1], np.zeros((0, points.shape[1])), 0.0
    for point in points:
        n = len(seen)
        kappa, nu = KAPPA + n, dims + 2 + n
        mean = (KAPPA * origin + seen.sum(axis=0)) / kappa
        middle = seen.mean(axis=0) if n else origin
        scale = SPREAD**2 * np.eye(dims) + (seen - middle).T @ (seen - middle)
        scale += KAPPA * n / kappa * np.outer(middle - origin, middle - origin)
        shape = scale * (kappa + 1) / (kappa * (nu - dims + 1))
        total += multivariate_t(mean, shape, df=nu - dims + 1).logpdf(point)
        seen = np.concatenate([seen, point[None]])
    return total


def neighbours(i: int) -> list[int]:
    y, x = divmod(i, 3)
    return [j for j in range(6) if abs(j // 3 - y) + abs(j % 3 - x) == 1]


def test_the_evidence_is_the_product_of_predictions() -> None:
    points = COLORS - COLORS.mean(axis=0)
    for n in range(1, 7):
        outer = points[:n].T @ points[:n]
        stats = np.concatenate([[n], points[:n].sum(axis=0), outer.ravel()])
        ours = evidence(stats, (KAPPA, 4.0, SPREAD**2))
        assert ours == pytest.approx(predictive(points[:n], np.zeros(2)), rel=1e-10)


def test_frequencies_equal_those_of_all_link_graphs() -> None:
    """1296 graphs; at 100 000 sweeps no probability may be off by 0.02, and the mean error tells of bias."""
    exact: dict[tuple[int, ...], float] = {}
    pairs, evidences = np.zeros((6, 6)), {}
    for links in product(*([*neighbours(i), i] for i in range(6))):
        labels = parts(np.array(links))
        weight = ALPHA ** sum(link == i for i, link in enumerate(links))
        for part in range(labels.max() + 1):
            members = tuple(np.flatnonzero(labels == part))
            if members not in evidences:
                evidences[members] = np.exp(
                    predictive(COLORS[list(members)], COLORS.mean(axis=0)) + 60 / 6 * len(members)
                )
            weight *= evidences[members]
        exact[tuple(labels)] = exact.get(tuple(labels), 0.0) + weight
        pairs[np.arange(6), links] += weight
    total = sum(exact.values())

    picture = Levels(COLORS.reshape(2, 3, 2).astype(np.float32), (1.0, 1.0))
    found = sample(LABELS, picture, alpha=ALPHA, spread=SPREAD, sweeps=100_000).links
    drawn = np.stack([np.bincount(found[:, i], minlength=6) for i in range(6)]) / len(found)
    assert np.abs(drawn - pairs / total).max() < 0.02
    states, counts = np.unique(found, axis=0, return_counts=True)
    seen: Counter[tuple[int, ...]] = Counter()
    for state, n in zip(states, counts, strict=True):
        seen[tuple(parts(state))] += int(n)
    assert set(seen) <= set(exact)
    assert max(abs(seen[key] / len(found) - exact[key] / total) for key in exact) < 0.02
    assert len(exact) > 20
    assert max(exact.values()) / total < 0.9  # the case is not a trivial one


def test_finds_four_patches() -> None:
    truth = np.repeat(np.repeat([[0, 1], [2, 3]], 20, axis=0), 20, axis=1)
    colors = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [220, 220, 60]])
    noise = np.random.default_rng(0).normal(0, 4, (40, 40, 3))
    picture = np.clip(colors[truth] + noise, 0, 255).astype(np.uint8)
    found = ddcrp(picture, segments=50, sweeps=30)
    np.testing.assert_array_equal(found.labels, truth)
    np.testing.assert_array_equal(ddcrp(picture, segments=50, sweeps=30).labels, found.labels)


def test_one_pixel_and_one_colour() -> None:
    assert ddcrp(np.zeros((1, 1, 3), np.uint8), sweeps=2).labels.tolist() == [[0]]
    assert len(ddcrp(np.full((30, 30, 3), 9, np.uint8), segments=20, sweeps=20).classes) == 1


@pytest.mark.parametrize("bad", [{"alpha": 0.0}, {"spread": float("nan")}, {"sweeps": 0}])
def test_refuses_in_one_sentence(bad: dict[str, float]) -> None:
    with pytest.raises(BadArgument, match=next(iter(bad))):
        ddcrp(np.zeros((4, 4), np.uint8), **bad)  # type: ignore[arg-type]
