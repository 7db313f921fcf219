"""``refine = "crf_rnn"``: learnt with the network, kept in its file, seen in the right intensities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from segmentarium.data import open_data, write_data_set
from segmentarium.data.normalise import Normalise
from segmentarium.engine.load import Model, load
from segmentarium.engine.networks import make, show_levels
from segmentarium.engine.recipe import Recipe
from segmentarium.engine.train import train
from segmentarium.errors import BadRecipe
from segmentarium.nn.crf_rnn import CRFLayer
from segmentarium.nn.refined import Refined


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data") / "shapes", train=4, val=2, size=(48, 48), seed=1)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = {"steps": 4, "batch": 2, "crop": [32, 32], "lr": 0.05, "warmup_steps": 0, "device": "cpu"}
    recipe = Recipe.from_dict({"model": "unet-tiny", "refine": "crf_rnn", "data": str(data), "train": table})
    out = tmp_path_factory.mktemp("runs") / "refined"
    assert list(train(recipe, out=out))
    return out


def field_of(network: nn.Module) -> CRFLayer:
    return next(module for module in network.modules() if isinstance(module, CRFLayer))


def test_the_field_learns_with_the_network_and_is_kept(run: Path) -> None:
    model = load(run, device="cpu")
    field = field_of(model.network)
    fresh = CRFLayer(len(model.classes))
    for name, value in fresh.named_parameters():
        assert not torch.equal(getattr(field, name), value), name
    assert "refine" in (run / "recipe.toml").read_text()


def test_the_field_sees_intensities(run: Path, data: Path) -> None:
    model = load(run, device="cpu")
    assert isinstance(model, Model)
    field = field_of(model.network)
    assert torch.allclose(field.mean, torch.tensor(model.normalise.mean))
    assert torch.allclose(field.std, torch.tensor(model.normalise.std))
    pairs = open_data(data)
    found = model(pairs.image(pairs.val[0]), probs=True)
    assert found.probs is not None
    np.testing.assert_allclose(found.probs.astype(float).sum(0), 1, atol=5e-3)


def test_every_field_is_told_how_pixels_were_normalised() -> None:
    network = make("unet-tiny", refine="crf_rnn", classes=3)
    assert isinstance(network, Refined)
    normalise = Normalise(channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    show_levels(network, normalise)
    assert network.refine.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert network.refine.std.tolist() == pytest.approx([0.5, 0.6, 0.7])


@pytest.mark.parametrize("model", ["mask_rcnn-tiny", "unet_3d-tiny", "detr-tiny"])
def test_only_networks_of_pixels_of_pictures_are_refined(model: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="networks that name each pixel of pictures"):
        make(model, refine="crf_rnn", classes=3)
    recipe = Recipe.from_dict({"model": model, "refine": "crf_rnn", "data": str(data)})
    with pytest.raises(BadRecipe, match="networks that name each pixel of pictures"):
        list(train(recipe, out=tmp_path / "run"))


def test_an_unknown_refinement_is_refused() -> None:
    with pytest.raises(BadRecipe, match="'crf_rnn'"):
        Recipe.from_dict({"refine": "crf"})
    with pytest.raises(BadRecipe, match="'crf_rnn'"):
        make("unet-tiny", refine="crf", classes=3)
