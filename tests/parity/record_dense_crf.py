"""Record pydensecrf's numbers: ``python record_dense_crf.py``, where pydensecrf2 is installed.

Writes dense_crf.safetensors beside itself. Picture and energies follow the rule in ``test_pydensecrf.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydensecrf.densecrf as peer
from pydensecrf import utils
from safetensors.numpy import save_file
from test_pydensecrf import CASES, CLASSES, SIZE, Case, energies_by_rule, guess_by_rule, picture_by_rule

MODES = {
    "before": peer.NORMALIZE_BEFORE,
    "after": peer.NORMALIZE_AFTER,
    "symmetric": peer.NORMALIZE_SYMMETRIC,
    "none": peer.NO_NORMALIZATION,
}


def record(name: str, case: Case) -> dict[str, np.ndarray]:
    """Probabilities after one step and after ten, and the divergences before the first and after each."""
    height, width = SIZE
    field = peer.DenseCRF2D(width, height, CLASSES)
    field.setUnaryEnergy(np.ascontiguousarray(energies_by_rule().reshape(CLASSES, -1)))
    gaussian, bilateral = case.compatibilities()
    mode = {"kernel": peer.DIAG_KERNEL, "normalization": MODES[case.normalise]}
    field.addPairwiseGaussian(sxy=3, compat=gaussian, **mode)
    field.addPairwiseBilateral(sxy=20, srgb=13, rgbim=picture_by_rule(), compat=bilateral, **mode)
    q, spare, more = field.startInference()
    divergences, kept = [field.klDivergence(q)], {}
    for step in range(1, 11):
        field.stepInference(q, spare, more)
        divergences.append(field.klDivergence(q))
        if step in (1, 10):
            kept[f"{name}.{step}"] = np.array(q, np.float32).reshape(CLASSES, *SIZE)
    return {**kept, f"{name}.divergences": np.array(divergences)}


if __name__ == "__main__":
    held = {key: value for name, case in CASES.items() for key, value in record(name, case).items()}
    probs = np.exp(-energies_by_rule())
    held["unary.softmax"] = utils.unary_from_softmax(probs / probs.sum(0), scale=0.8)[:, ::7]
    held["unary.labels"] = utils.unary_from_labels(guess_by_rule(), CLASSES, 0.6)[:, ::7]
    path = Path(__file__).with_name("dense_crf.safetensors")
    save_file({key: np.ascontiguousarray(value) for key, value in held.items()}, path)
    print(f"{len(held)} arrays, {path.stat().st_size:,} bytes")
