"""Does a user arrive? A tiny network learns drawn shapes, and the door gives what Python gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmentarium.cli.app import main
from segmentarium.data import open_data, write_data_set
from segmentarium.data.transforms import Augment
from segmentarium.engine.evaluate import evaluate
from segmentarium.engine.load import load
from segmentarium.engine.recipe import Recipe, Train
from segmentarium.engine.train import train
from segmentarium.values import read_mask


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny network on drawn shapes."""
    folder = tmp_path_factory.mktemp("learning")
    write_data_set(folder / "shapes", train=24, val=6, seed=2, size=(64, 64), classes=3)
    recipe = Recipe(
        model="unet-tiny",
        data=str(folder / "shapes"),
        train=Train(steps=240, batch=8, crop=(64, 64), lr=1e-2, warmup_steps=20, evaluate_every=120, ema=0.9),
        augment=Augment(scale=(0.9, 1.1), vflip=0.5, rot90=True),
    )
    for _ in train(recipe, out=folder / "run", check_first=False):
        pass
    return folder / "run"


@pytest.mark.slow
def test_drawn_shapes_are_learnt(run: Path) -> None:
    scores = evaluate(load(run), open_data(run.parent / "shapes")).scores
    assert scores.mean_iou > 0.9


@pytest.mark.slow
def test_the_door_writes_what_python_computes(run: Path) -> None:
    pairs = open_data(run.parent / "shapes").val
    with pytest.raises(SystemExit) as end:
        main(["predict", *(str(p.image) for p in pairs), "-m", str(run), "-o", str(run.parent / "masks")])
    assert end.value.code == 0
    model = load(run)
    for pair in pairs:
        written = read_mask(run.parent / "masks" / f"{pair.stem}.png").values
        np.testing.assert_array_equal(written, model(pair.image).labels)
