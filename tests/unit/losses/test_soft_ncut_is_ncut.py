"""The soft normalised cut of hard labels is the normalised cut of the classical method."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segmentarium.classical.levels import levels
from segmentarium.classical.normalized_cut import cut_value, pixel_ties
from segmentarium.losses.soft_ncut import soft_ncut


@pytest.mark.atlas("R21", "C14")
@pytest.mark.parametrize("classes", [2, 4])
def test_hard_labels_cost_their_normalised_cut(classes: int) -> None:
    rng = np.random.default_rng(classes)
    picture = rng.integers(100, 140, (9, 12, 3)).astype(np.uint8)
    labels = rng.integers(0, classes, (9, 12))
    nodes = np.arange(108, dtype=np.int32).reshape(9, 12)
    ties = pixel_ties(levels(picture), nodes, radius=4.0, sigma_intensity=15.0, sigma_distance=3.0)
    dense = ties.toarray()
    parts = [labels.ravel() == k for k in range(classes)]
    spelled = classes - sum(dense[part][:, part].sum() / dense[part].sum() for part in parts)
    probs = torch.nn.functional.one_hot(torch.from_numpy(labels), classes).permute(2, 0, 1)[None].double()
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    loss = float(soft_ncut(probs, image, radius=4.0, sigma_intensity=15.0, sigma_distance=3.0))
    assert loss == pytest.approx(spelled, rel=1e-10)
    assert loss == pytest.approx(cut_value(ties, labels.ravel()), rel=1e-10)
