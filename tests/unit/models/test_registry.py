"""The folder is the registry."""

from __future__ import annotations

import subprocess
import sys

import pytest

import segmentarium.models as registry
from segmentarium.errors import BadArgument, UnknownName
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
        "U-Net-a-b",
        "U-Net/",
        "UNettiny",
        "ünet",
        "u" * 101,
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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("PSPNet-tiny", "pspnet-tiny"),
        ("UNet++-tiny", "unet_plus_plus-tiny"),
        ("U-Net-tiny", "unet-tiny"),
        ("DeepLabv3+-tiny", "deeplabv3plus-tiny"),
        ("SETR-PUP-small", "setr_pup-small"),
        ("HRNetV2-W48", "hrnetv2-w48"),
        ("FRRN-A", "frrn-a"),
        ("FRRN-B", "frrn-b"),
        ("frrn-A", "frrn-a"),
        ("FC-DenseNet103", "fc_densenet-103"),
        ("FC-DenseNet-103", "fc_densenet-103"),
        ("FCN-8s-at-once", "fcn_8s-at_once"),
        ("UNet16", "ternausnet-unet16"),
        ("Dilation8", "dilation_context_net"),
        ("Dilation10", "dilation_context_net-dilation10_cityscapes"),
        ("HRNetV2+OCR (w/ ASPP)", "ocrnet-w48_aspp"),
        ("CRF as RNN", "crf_rnn"),
        ("DilatedFCN", "fcn_resnet"),
        ("3D U-Net-tiny", "unet_3d-tiny"),
        ("U-Net-ResNet-34", "unet-resnet34"),
        ("UNet-ResNet18.a1_in1k", "unet-resnet18.a1_in1k"),
    ],
)
def test_a_variant_may_follow_another_spelling(text: str, name: str) -> None:
    assert str(ModelName.parse(text)) == name
    assert str(ModelName.parse(f"{text}@a-b")) == f"{name}@a-b"
    assert registry.config_of(text) == registry.config_of(name)


@pytest.mark.parametrize("name", registry.architectures())
def test_our_own_spelling_is_never_another(name: str) -> None:
    for variant in registry.variants(name):
        assert ModelName.parse(f"{name}-{variant}") == (name, variant, "")
        assert ModelName.parse(f"{name}-{variant}".upper()) == (name, variant, "")


def test_every_spelling_means_one_network() -> None:
    names = registry.aliases().values()
    assert all(str(ModelName.parse(name)) == name and registry.config_of(name) for name in names)
    assert all(str(ModelName.parse(text)) == name for text, name in registry.aliases().items())


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("unt", "'unet'"),
        ("unet-tinny", "'tiny'"),
        ("unet-resnt18", "'resnet18'"),
        ("unet-smal", "'small'"),
        ("PSPNett", "'pspnet'"),
        ("PSPNett-tiny", "'pspnet'"),
        ("PSPNet-tinny", "'tiny'"),
        ("Smoothed Dilated Conv", "'smoothed_dilated_convs'"),
        ("tiramisuu", "'fc_densenet'"),
        ("U-Net tiny", "'unet-tiny'"),
        ("HRNetV2+OCR (w/ ASP)", "'ocrnet-w48_aspp'"),
    ],
)
def test_the_nearest_name_is_offered(text: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"did you mean {near}"):
        registry.build(text, classes=2)


def test_weights_are_not_silently_forgotten() -> None:
    with pytest.raises(UnknownName, match="load"):
        registry.build("unet-tiny@nuclei", classes=2)


@pytest.mark.parametrize("given", [{"classes": 0}, {"classes": -2}, {"classes": 2, "in_channels": 0}])
def test_counts_below_one_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(BadArgument, match="allowed: a whole number, 1 or more; give"):
        registry.build("segnet-tiny", **given)
    with pytest.raises(BadArgument, match="a whole number"):
        registry.count_parameters("segnet-tiny", **given)


def test_counts_that_are_not_whole_are_refused() -> None:
    code = (  # where no test checks the types first
        "from segmentarium.errors import BadArgument\n"
        "from segmentarium.models import build\n"
        "try:\n    build('segnet-tiny', classes=2.5)\n"
        "except BadArgument as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("classes=2.5; allowed: a whole number")


def test_no_variant_means_the_first() -> None:
    first = registry.variants("unet")[0]
    assert registry.config_of("unet") == registry.config_of(f"unet-{first}")
    assert registry.create is registry.build


def test_listing_imports_nothing() -> None:
    code = "import sys, segmentarium.models as m; sys.exit(not m.architectures() or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
