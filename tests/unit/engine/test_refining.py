"""A field behind a network: what it mends, what it leaves alone, and files by ``crf=True``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium.classical.crf.dense import DenseCRF, Kernel
from segmentarium.cli.app import main
from segmentarium.engine.predict import predict
from segmentarium.engine.refining import field_of, refined
from segmentarium.errors import BadArgument, BadRecipe
from segmentarium.values import VOID, Classes, Image, LabelMap

FIELD = DenseCRF((Kernel(2.0, compatibility=2.0), Kernel(8.0, 20.0, compatibility=6.0)), iterations=5)


@pytest.fixture
def guess() -> tuple[LabelMap, np.ndarray, Image]:
    """A noisy guess of a bright disk, the disk, and the picture."""
    y, x = np.mgrid[:48, :60]
    disk = (y - 24) ** 2 + (x - 30) ** 2 < 15**2
    picture = np.where(disk, 200, 50).astype(np.uint8)[..., None]
    rng = np.random.default_rng(0)
    share = np.clip(np.where(disk, 0.65, 0.35) + rng.normal(0, 0.2, disk.shape), 0.02, 0.98)
    probs = np.stack([1 - share, share]).astype(np.float16)
    labels = probs.argmax(0).astype(np.int32)
    return LabelMap(labels, Classes.named("background", "disk"), probs=probs), disk, Image(picture)


def test_noise_goes_and_borders_follow_the_picture(guess: tuple[LabelMap, np.ndarray, Image]) -> None:
    found, disk, picture = guess
    better = refined(found, picture, field=FIELD)
    assert (found.labels == disk).mean() < 0.85
    assert (better.labels == disk).mean() > 0.995
    assert better.probs is not None
    np.testing.assert_allclose(better.probs.astype(float).sum(0), 1, atol=2e-3)


def test_void_stays_void_and_the_guess_stays_as_it_was(guess: tuple[LabelMap, np.ndarray, Image]) -> None:
    found, _, picture = guess
    found.labels[:3] = VOID
    before = found.labels.copy()
    better = refined(found, picture, field=FIELD)
    assert (better.labels[:3] == VOID).all()
    assert (better.labels[3:] >= 0).all()
    assert np.array_equal(found.labels, before)


def test_probabilities_of_this_picture_are_needed(guess: tuple[LabelMap, np.ndarray, Image]) -> None:
    found, _, picture = guess
    with pytest.raises(BadArgument, match="no probabilities"):
        refined(LabelMap(found.labels, found.classes), picture)
    with pytest.raises(BadArgument, match="labels of shape"):
        refined(found, Image(np.zeros((48, 61, 1), np.uint8)))


def test_files_are_refined_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.full((64, 64), 20, np.uint8)
    pixels[20:44, 16:50] = 180
    Pil.fromarray(pixels).save(tmp_path / "a.png")
    row = next(predict(tmp_path / "a.png", model="unet@nuclei", out=tmp_path / "out", crf=True, probs=True))
    assert row.error is None
    assert row.mask is not None
    with pytest.raises(SystemExit) as end:
        main(
            ["predict", str(tmp_path / "a.png"), "-o", str(tmp_path / "own"), "--crf-kernel", "0,80,13", "-q"]
        )
    assert end.value.code == 0
    own = json.loads((tmp_path / "own" / "predictions.json").read_text())["crf"]
    assert own["iterations"] == 10
    assert own["kernels"][1] == {
        "sigma": 80.0, "contrast": 13.0, "compatibility": 0.0, "normalise": "symmetric"
    }  # fmt: skip
    for wrong in ("3,80", ""):
        with pytest.raises(SystemExit):
            main(["predict", str(tmp_path / "a.png"), "-o", str(tmp_path / "own"), "--crf-kernel", wrong])
        told = f"--crf-kernel = {wrong!r}; allowed: 3 numbers with commas, such as 1,2,3"
        assert told in capsys.readouterr().err
    with pytest.raises(BadArgument, match="contrast = 0; allowed: more than 0"):
        field_of(3.0, 80.0, 0.0)
    with Pil.open(row.mask) as mask:
        assert mask.size == (64, 64)
    with np.load(str(row.probs)) as file:
        assert file["probs"].shape == (2, 64, 64)
    with pytest.raises(BadRecipe, match="crf asked of"):
        next(predict(tmp_path / "a.png", model="mask_rcnn@nuclei", out=tmp_path / "other", crf=True))
