"""SegNet, DeconvNet, LinkNet and TernausNet give the numbers of public programs or of their layers.

Weights go over by the tables of our own cards, so these are proved too. Of networks that no program in Torch
has, the layers of the authors' Caffe files are listed and computed with Torch's own functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from rule import fill, image_by_rule, taps
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import segmentarium.models as registry
from segmentarium.models.deconvnet import VARIANTS as DECONVNET
from segmentarium.models.deconvnet import DeconvNet
from segmentarium.models.segnet import VARIANTS as SEGNET
from segmentarium.models.segnet import SegNet
from segmentarium.weights import read_card
from segmentarium.weights.foreign import Source, translated

SEED = 1511
IMAGE = (1, 3, 32, 64)
TOLERANCES = ((torch.float64, 1e-6), (torch.float32, 1e-4))


@dataclass(frozen=True)
class Recorded:
    """Which network of ours equals the reference, and the paths of ours whose maps are recorded."""

    name: str
    maps: tuple[str, ...]
    source: str = ""  # of the card; empty: PTSEMSEG


def numbered(*parts: str, count: int) -> tuple[str, ...]:
    return tuple(f"{part}.{i}" for part in parts for i in range(count))


TERNAUS = numbered("encoder", "decoder", count=5)
RECORDED = {
    "segnet": Recorded("segnet", numbered("encoder", "decoder", count=5)),
    "linknet": Recorded(
        "linknet",
        (*(f"encoder.body.layer{i}" for i in range(1, 5)), *numbered("decoder", count=4), "head.0", "head.1"),
        "e_lab",
    ),
    "unet11": Recorded("ternausnet", TERNAUS, "ternaus"),
    "unet16": Recorded("ternausnet-unet16", TERNAUS, "ternaus_16"),
    "unet16_deconv": Recorded("ternausnet-unet16_deconv", TERNAUS, "ternaus_16_deconv"),
}
CLASSES = {"segnet": 5, "linknet": 5, "unet11": 1, "unet16": 5, "unet16_deconv": 5}

PTSEMSEG = Source(
    builder="pytorch-semseg's segnet, whose last convolution is followed by BatchNorm and ReLU",
    variant="paper",
    licence="MIT",
    drop=(r"^up1\.conv2\.cbr_unit\.1\.",),
    rename=(
        (r"^up1\.conv2\.cbr_unit\.0\.", "classify."),
        *((rf"^down{i + 1}\.", f"encoder.{i}.") for i in range(5)),
        *((rf"^up{5 - i}\.", f"decoder.{i}.") for i in range(5)),
        *((rf"conv{i + 1}\.cbr_unit\.{j}\.", f"{3 * i + j}.") for i in range(3) for j in range(2)),
    ),
)


def source_of(case: str) -> Source:
    recorded = RECORDED[case]
    return read_card(recorded.name.split("-")[0]).sources[recorded.source] if recorded.source else PTSEMSEG


def recorded_network(case: str) -> nn.Module:
    return registry.build(RECORDED[case].name, classes=CLASSES[case]).eval()


def largest_error(seen: Tensor, expected: Tensor) -> float:
    return ((seen - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_numbers_of_public_programs(case: str) -> None:
    held = load_file(Path(__file__).with_name("encoder_decoders.safetensors"))
    network = recorded_network(case).double()
    fill(network, SEED)
    for dtype, tolerance in TOLERANCES:
        image = image_by_rule(IMAGE, SEED).to(dtype)
        seen = taps(network.to(dtype), image, {name: name for name in RECORDED[case].maps})
        with torch.no_grad():
            seen["logits"] = network(image).logits[..., ::3, ::3]
        for name, value in seen.items():
            error = largest_error(value, held[f"{case}.{name}"])
            assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


@pytest.mark.filterwarnings("ignore")
def test_linknet_equals_the_library_map_by_map() -> None:
    programs = pytest.importorskip("segmentation_models_pytorch")
    reference = programs.Linknet("resnet34", encoder_weights=None, classes=5).double()
    fill(reference, SEED)
    table = read_card("linknet").sources["smp"]
    network = registry.build(f"linknet-{table.variant}", classes=5).double()
    found = network.load_state_dict(translated(reference.state_dict(), table), strict=False)
    assert not found.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in found.missing_keys)
    paths = {f"encoder.body.layer{i}": f"encoder.layer{i}" for i in range(1, 5)}
    paths |= {f"decoder.{i}": f"decoder.blocks.{i}.block" for i in range(4)}
    paths |= {"head.0": "decoder.blocks.4.block", "head": "segmentation_head.0"}
    for dtype, tolerance in TOLERANCES:
        image = image_by_rule((2, 3, 32, 96), SEED).to(dtype)
        seen = taps(network.to(dtype).eval(), image, {name: name for name in paths})
        expected = taps(reference.to(dtype).eval(), image, {theirs: ours for ours, theirs in paths.items()})
        for name in paths:
            error = largest_error(seen[name], expected[name])
            assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("segnet", 11, 29_449_355),
        ("deconvnet", 21, 251_805_653),
        ("linknet", 21, 11_535_957),
        ("linknet-smp_r34", 1, 21_771_937),
        ("linknet-smp_r34", 21, 21_772_597),
        ("ternausnet", 1, 22_927_393),
        ("ternausnet-unet16", 1, 29_306_465),
        ("ternausnet-unet16_deconv", 1, 32_202_337),
    ],
)
def test_counts_of_the_programs(name: str, classes: int, parameters: int) -> None:
    assert registry.count_parameters(name, classes=classes) == parameters


# maps of each convolution in segnet_train.prototxt and DeconvNet_inference_deploy.prototxt, in order
ENCODER = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
SEGNET_DECODER = (512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 11)
DECONVNET_MIDDLE = (4096, 4096, 512)  # fc6 of 7x7, fc7 of 1x1, fc6-deconv of 7x7
DECONVNET_DECODER = (512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 64, 21)


def layers(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("segnet", ENCODER + SEGNET_DECODER),
        ("deconvnet", ENCODER + DECONVNET_MIDDLE + DECONVNET_DECODER),
    ],
)
def test_has_the_layers_of_the_caffe_files(name: str, maps: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = registry.build(name, classes=maps[-1])
    assert tuple(layer.out_channels for layer in layers(network)) == maps
    kernels = [3] * (len(maps) - 1) + ([1] if name == "deconvnet" else [3])
    if name == "deconvnet":
        kernels[13:16] = [7, 1, 7]
    assert [layer.kernel_size[0] for layer in layers(network)] == kernels


class Layers:
    """The layers of a network one after another, with Torch's functions and no module's forward."""

    def __init__(self, network: nn.Module) -> None:
        self._convolutions = iter(layers(network))
        self._norms: Iterator[nn.Module] = (m for m in network.modules() if isinstance(m, nn.BatchNorm2d))

    def plain(self, maps: Tensor, *, padding: int) -> Tensor:
        """A transposed convolution of stride 1 is a convolution with its weights turned round."""
        layer = next(self._convolutions)
        weight = layer.weight
        if isinstance(layer, nn.ConvTranspose2d):
            weight = weight.flip(2, 3).transpose(0, 1)
            padding = layer.kernel_size[0] - 1 - padding
        return functional.conv2d(maps, weight, layer.bias, padding=padding)

    def normed(self, maps: Tensor, *, padding: int = 1) -> Tensor:
        maps, norm = self.plain(maps, padding=padding), next(self._norms)
        scale = norm.weight / (norm.running_var + 1e-5).sqrt()
        shift = norm.bias - scale * norm.running_mean
        return (maps * scale[:, None, None] + shift[:, None, None]).clamp(min=0)

    def encode(self, maps: Tensor) -> tuple[Tensor, list[tuple[Tensor, torch.Size]]]:
        seen = []
        for depth in (2, 2, 3, 3, 3):
            for _ in range(depth):
                maps = self.normed(maps)
            size = maps.shape[2:]
            maps, places = functional.max_pool2d(maps, 2, ceil_mode=True, return_indices=True)
            seen.append((places, size))
        return maps, seen

    def unpool(self, maps: Tensor, seen: list[tuple[Tensor, torch.Size]]) -> Tensor:
        places, size = seen.pop()
        return functional.max_unpool2d(maps, places, 2, output_size=list(size))


def segnet_in_layers(network: nn.Module, image: Tensor) -> Tensor:
    run = Layers(network)
    maps, seen = run.encode(image)
    for depth in (3, 3, 3, 2, 1):
        maps = run.unpool(maps, seen)
        for _ in range(depth):
            maps = run.normed(maps)
    return run.plain(maps, padding=1)


def deconvnet_in_layers(network: nn.Module, image: Tensor) -> Tensor:
    run = Layers(network)
    maps, seen = run.encode(image)
    for _ in ("fc6", "fc7", "fc6-deconv"):
        maps = run.normed(maps, padding=0)
    for depth in (3, 3, 3, 2, 2):
        maps = run.unpool(maps, seen)
        for _ in range(depth):
            maps = run.normed(maps)
    return run.plain(maps, padding=0)


NARROW = {"widths": (4, 6, 8, 10, 10), "classes": 5}


@pytest.mark.parametrize("size", [(45, 60), (37, 101), (32, 64), (1, 3)])
def test_segnet_equals_its_layers_at_any_size(size: tuple[int, int]) -> None:
    network = SegNet(replace(SEGNET["paper"], **NARROW)).eval()
    compare(network, segnet_in_layers, size)


@pytest.mark.parametrize("size", [(224, 224), (224, 256)])
def test_deconvnet_equals_its_layers(size: tuple[int, int]) -> None:
    network = DeconvNet(replace(DECONVNET["paper"], fc_width=16, **NARROW)).eval()
    compare(network, deconvnet_in_layers, size)


def compare(network: nn.Module, in_layers, size: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    fill(network.double(), SEED)
    for dtype, tolerance in TOLERANCES:
        image = image_by_rule((2, 3, *size), SEED).to(dtype)
        with torch.no_grad():
            error = largest_error(network.to(dtype)(image).logits, in_layers(network, image))
        assert error < tolerance, f"{error:.1e} of the largest value"
