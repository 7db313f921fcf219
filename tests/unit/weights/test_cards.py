"""Cards are read strictly, and the catalogue from them without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import segmentarium.weights.cards as shelf
from segmentarium.engine.catalogue import CLAIMED, models, show
from segmentarium.errors import BadArgument, BadData, SegError, UnknownName, WeightsMismatch
from segmentarium.models import aliases, architectures, build
from segmentarium.weights.cards import cards, find, read_card

HEAD = """
title = "Net"
paper = "arXiv:0000.00000"
task = "semantic"
output = "semantic"
licence = "Apache-2.0"
variants = { paper = 1.5, small = 0.25 }
"""
WEIGHTS = """
[weights.cells]
variant = "small"
licence = "CC0-1.0"
data = "some cells"
classes = ["ground", "cell"]
score = { iou = 0.9, on = "val" }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shelf, "CARDS", tmp_path)
    return tmp_path


def test_every_architecture_has_a_card() -> None:
    assert set(cards()) == set(architectures())


def test_a_card_is_read(folder: Path) -> None:
    (folder / "net.toml").write_text(HEAD + WEIGHTS + 'file = "files/net.safetensors"\n')
    card = read_card("net")
    assert card.parameters("small") == 250_000
    assert find("net", "cells").classes == ("ground", "cell")
    assert find("net", "cells").path == Path(shelf.__file__).parent / "files" / "net.safetensors"
    with pytest.raises(UnknownName, match="did you mean 'cells'"):
        find("net", "cels")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + 'tittle = "x"', "did you mean 'title'"),
        (HEAD.replace('paper = "arXiv:0000.00000"', ""), "no entry 'paper'"),
        (HEAD.replace('"semantic"', "3"), "task is 3"),
        (HEAD.replace("1.5", '"many"'), "variants is"),
        (HEAD + WEIGHTS.replace("licence", "license"), "weights.cells: unknown entry 'license'"),
        (HEAD + "oops", "is no TOML"),
        (HEAD + "[weights]\ncells = 3", "weights.cells is 3"),
        (HEAD + "weights = 3", "weights is 3"),
    ],
)
def test_a_bad_card_is_told(folder: Path, text: str, told: str) -> None:
    (folder / "net.toml").write_text(text)
    with pytest.raises(BadData, match=told):
        read_card("net")


def test_weights_elsewhere_say_where(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENTARIUM_CACHE", str(tmp_path))
    (folder / "net.toml").write_text(
        HEAD + WEIGHTS + 'url = "http://127.0.0.1:9/cells.safetensors"\nsha256 = "ab"\n'
    )
    with pytest.raises(WeightsMismatch, match=r"127\.0\.0\.1.*cannot be fetched.*the file at"):
        find("net", "cells").fetched()


def test_the_catalogue_lists_what_can_be_built() -> None:
    rows = models()
    assert "unet" in {row.name for row in rows}
    assert {"name", "task", "paper", "output", "parameters", "weights", "licence"} <= set(rows[0].as_dict())
    assert "unet-small" in {row.name for row in models(task="semantic")}
    assert all(row.parameters > 0 for row in rows)
    build("unet-tiny", classes=2)


def test_show_tells_of_weights() -> None:
    facts = show("unet-tiny").as_dict()
    assert facts["parameters"] == facts["variants"]["tiny"]
    assert show("unet-resnet50").entry.parameters == 0


def test_spellings_are_listed_at_what_they_stand_for() -> None:
    listed = [(row.name, other) for row in models() for other in row.aliases]
    assert {other: name for name, other in listed} == aliases()
    assert len(listed) == len(aliases())
    assert show("ternausnet-unet16").entry.aliases == ("UNet16",)
    assert show("fc_densenet-56").entry.aliases == show("unet-resnet50").entry.aliases == ()


def test_claims_are_told_of_the_variants_they_are_about() -> None:
    rows, known = {row.name: row.claim for row in models()}, cards()
    assert "103 layers" in rows["fc_densenet"]
    assert rows["fc_densenet-56"] == rows["fc_densenet-tiny"] == ""
    assert "FRRN B" in rows["frrn-b"]
    assert rows["frrn"] == ""
    assert {name.partition("-")[0] for name, claim in rows.items() if claim} == set(architectures())
    assert all(variant in known[name].variants for name, own in CLAIMED.items() for variant in own)


@pytest.mark.parametrize("name", ["unt", "unet-tinny", "unet@nothing", "unet-tiny@nothing"])
def test_show_refuses_what_is_not(name: str) -> None:
    with pytest.raises(UnknownName):
        show(name)
    with pytest.raises(SegError):
        models(task="sing")


def test_neither_needs_torch() -> None:
    code = (
        "import sys; from segmentarium.engine.catalogue import models, show; models(); show('unet-tiny');"
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PACKAGED = [
    f"{architecture}@{name}"
    for architecture, card in cards().items()
    for name, weights in card.weights.items()
    if weights.file
]


@pytest.mark.parametrize("name", PACKAGED)
def test_what_the_package_holds_is_as_its_card_says(name: str) -> None:
    from segmentarium.engine.load import load

    model = load(name, device="cpu")
    card = find(*name.split("@"))
    assert model.classes.names == card.classes
    assert card.path.stat().st_size < 8e6
    assert model.name == name
    assert model.task == read_card(name.split("@")[0]).task


def test_tiles_and_probabilities_of_objects_are_refused() -> None:
    from segmentarium.engine.load import load_pictures

    model, image = load_pictures("mask_rcnn@nuclei", device="cpu"), np.zeros((32, 32, 3), np.uint8)
    assert len(model(image).above(0.99)) == 0
    for asked in ({"probs": True}, {"tile": 16}, {"overlap": 0.5}):
        with pytest.raises(BadArgument, match="names every pixel"):
            model(image, **asked)
    with pytest.raises(BadArgument, match="bands"):
        next(model.bands(image))


FAMILIES = {
    "fully convolutional", "U-shaped", "dilated", "context", "transformer", "unsupervised", "region", "query",
    "volume",
}  # fmt: skip


@pytest.mark.parametrize("name", architectures())
def test_every_card_says_when_what_and_how_sure(name: str) -> None:
    card = cards()[name]
    assert 2012 <= card.year <= 2030
    assert card.family in FAMILIES
    assert all(text.endswith(".") and len(text) > 30 for text in (card.claim, card.parity))
