"""The folder is the registry."""

from __future__ import annotations

import subprocess
import sys

import pytest

import segmentarium.models as registry
from segmentarium.errors import UnknownName
from segmentarium.models import ModelName


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("unet", ("unet", "", "")),
        ("unet-tiny", ("unet", "tiny", "")),
        ("unet@nuclei", ("unet", "", "nuclei")),
        ("unet-resnet34@ade20k-512", ("unet", "resnet34", "ade20k-512")),
        ("unet-resnet18.a1_in1k", ("unet", "resnet18.a1_in1k", "")),
    ],
)
def test_names_are_taken_apart_and_put_together(text: str, parts: tuple[str, str, str]) -> None:
    assert ModelName.parse(text) == parts
    assert str(ModelName.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-tiny",
        "unet-",
        "unet@",
        "os.path",
        "unet/../x",
        "unet tiny",
        "../unet",
        "Unet tiny",
        "unet-a-b",
        "ünet",
    ],
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(UnknownName):
        registry.build(text, classes=2)


@pytest.mark.parametrize(
    ("text", "name"),
    [("UNet", "unet"), ("U-Net", "unet"), ("DeepLabv3+", "deeplabv3plus"), ("Mask R-CNN", "mask_rcnn")],
)
def test_other_spellings_are_understood(text: str, name: str) -> None:
    assert str(ModelName.parse(text)) == name
    assert str(ModelName.parse(f"{text}@w")) == f"{name}@w"


def test_every_spelling_means_one_network() -> None:
    names = registry.aliases().values()
    assert all(str(ModelName.parse(name)) == name and registry.config_of(name) for name in names)
    assert all(str(ModelName.parse(text)) == name for text, name in registry.aliases().items())


@pytest.mark.parametrize(
    ("text", "near"),
    [("unt", "'unet'"), ("unet-tinny", "'tiny'"), ("unet-resnt18", "'resnet18'"), ("unet-smal", "'small'")],
)
def test_the_nearest_name_is_offered(text: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"did you mean {near}"):
        registry.build(text, classes=2)


def test_weights_are_not_silently_forgotten() -> None:
    with pytest.raises(UnknownName, match="load"):
        registry.build("unet-tiny@nuclei", classes=2)


def test_no_variant_means_the_first() -> None:
    first = registry.variants("unet")[0]
    assert registry.config_of("unet") == registry.config_of(f"unet-{first}")
    assert registry.create is registry.build


def test_listing_imports_nothing() -> None:
    code = "import sys, segmentarium.models as m; sys.exit(not m.architectures() or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
