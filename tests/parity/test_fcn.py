"""FCN gives the numbers of wkentaro/pytorch-fcn, FCN on a ResNet those of torchvision and mmsegmentation.

Weights go over by the tables of our own cards, so these are proved too. What torchfcn and mmsegmentation
computed is recorded, see fcn.toml; torchvision runs beside ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rule import fill, image_by_rule, tap, taps
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import segmentarium.models as registry
from segmentarium.backbones.vgg import DEPTHS, WIDTHS
from segmentarium.losses import SemanticLoss
from segmentarium.models.fcn import VARIANTS, FCN8s, FCN16s, FCN32s
from segmentarium.models.fcn_resnet import VARIANTS as ON_RESNET
from segmentarium.models.fcn_resnet import Config, FCNResNet
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

SEED = 1411
LIMITS = ((torch.float64, 1e-6), (torch.float32, 1e-4))  # in this order: rounding stays
TRUNK = {"trunk.2": "relu3_3", "trunk.4": "relu5_3", "fc6": "fc6", "fc7": "fc7", "score.32": "score_fr"}
JOIN = {"score.16": "score_pool4", "enlarge.32_to_16": "upscore2"}
EIGHT = {"score.8": "score_pool3", "enlarge.16_to_8": "upscore_pool4"}


@dataclass(frozen=True)
class Case:
    """Which network of ours equals which of theirs, and the paths of the maps that are compared."""

    source: str  # architecture and source of the card
    network: Any  # our class
    config: Any  # narrow
    maps: dict[str, str]  # our path: theirs
    image: tuple[int, int, int, int] = (1, 3, 37, 53)


def narrow(architecture: str, variant: str) -> Any:
    widths = (8, 12, 16, 20, 24)
    return replace(VARIANTS[architecture][variant], widths=widths, fc_width=32, classes=5)


MMSEG = {f"encoder.body.layer{i}": f"backbone.layer{i}" for i in range(1, 5)} | {
    "convolve.0": "decode_head.convs.0",
    "convolve": "decode_head.convs",
    "join": "decode_head.conv_cat",
    "classify": "decode_head.conv_seg",
    "auxiliary": "auxiliary_head.conv_seg",
}
RECORDED = {
    "32s": Case("fcn_32s@torchfcn", FCN32s, narrow("fcn_32s", "paper"), TRUNK),
    "16s": Case("fcn_16s@torchfcn", FCN16s, narrow("fcn_16s", "paper"), TRUNK | JOIN),
    "8s": Case("fcn_8s@torchfcn", FCN8s, narrow("fcn_8s", "paper"), TRUNK | JOIN | EIGHT),
    "8s_at_once": Case("fcn_8s@torchfcn_at_once", FCN8s, narrow("fcn_8s", "at_once"), TRUNK | JOIN | EIGHT),
    "mmseg": Case("fcn_resnet@mmseg", FCNResNet, replace(ON_RESNET["mmseg_r50"], width=32, classes=5), MMSEG),
}


def largest_error(seen: Tensor, expected: Tensor) -> float:
    return ((seen - expected).abs().max() / expected.abs().max()).item()


def maps_of(network: nn.Module, image: Tensor, case: Case) -> dict[str, Tensor]:
    """Our recorded maps; of the network alone, not of its parts, training is on: all heads answer."""
    network.eval().training = True
    seen = taps(network, image, {ours: ours for ours in case.maps})
    with torch.no_grad():
        return seen | {"logits": tap(network(image).logits)}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_numbers_map_by_map(name: str) -> None:
    case = RECORDED[name]
    held = load_file(Path(__file__).with_name("fcn.safetensors"))
    expected = {key.partition("/")[2]: t for key, t in held.items() if key.startswith(f"{name}/")}
    assert set(expected) == {*case.maps, "logits"}
    network = case.network(case.config).double()
    fill(network, SEED)
    for dtype, tolerance in LIMITS:
        seen = maps_of(network.to(dtype), image_by_rule(case.image, SEED).to(dtype), case)
        for path, value in expected.items():
            error = largest_error(seen[path], value)
            assert error < tolerance, f"first difference at {path}: {error:.1e} of the largest value"


def shapes_of_torchfcn(architecture: str) -> dict[str, tuple[int, ...]]:
    """The tensors of its FCNs, as its files name them."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, inputs: int, outputs: int, kernel: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        shapes[f"{name}.bias"] = (outputs,)

    inputs = 3
    for group, (depth, width) in enumerate(zip(DEPTHS[16], WIDTHS, strict=True), start=1):
        for number in range(1, depth + 1):
            convolution(f"conv{group}_{number}", inputs, width, 3)
            inputs = width
    convolution("fc6", 512, 4096, 7)
    convolution("fc7", 4096, 4096, 1)
    convolution("score_fr", 4096, 21, 1)
    skips = {
        "fcn_32s": {},
        "fcn_16s": {"score_pool4": 512},
        "fcn_8s": {"score_pool4": 512, "score_pool3": 256},
    }
    for name, width in skips[architecture].items():
        convolution(name, width, 21, 1)
    kernels = {
        "fcn_32s": {"upscore": 64},
        "fcn_16s": {"upscore2": 4, "upscore16": 32},
        "fcn_8s": {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16},
    }
    shapes |= {f"{name}.weight": (21, 21, kernel, kernel) for name, kernel in kernels[architecture].items()}
    return shapes


@pytest.mark.parametrize(
    "source", ["fcn_32s@torchfcn", "fcn_16s@torchfcn", "fcn_8s@torchfcn", "fcn_8s@torchfcn_at_once"]
)
def test_weights_of_torchfcn_fit(source: str) -> None:
    architecture, _, name = source.partition("@")
    table = read_card(architecture).sources[name]
    with torch.device("meta"):
        theirs = {key: torch.empty(shape) for key, shape in shapes_of_torchfcn(architecture).items()}
        ours = registry.build(f"{architecture}-{table.variant}", classes=21).state_dict()
    found = {key: tensor.shape for key, tensor in translated(theirs, table).items()}
    assert found == {key: tensor.shape for key, tensor in ours.items()}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("fcn_32s", 136_152_917),
        ("fcn_16s", 134_815_994),
        ("fcn_8s", 134_489_759),
        ("fcn_8s-at_once", 134_489_759),
        ("fcn_resnet-torchvision_r50", 35_322_218),
        ("fcn_resnet-torchvision_r101", 54_314_346),
    ],
)
def test_counts_of_the_libraries(name: str, parameters: int) -> None:
    assert registry.count_parameters(name, classes=21) == parameters


@pytest.mark.parametrize(("depth", "parameters"), [(50, 32_957_013), (101, 51_949_141)])
def test_counts_without_the_auxiliary_head(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        network = FCNResNet(Config(encoder=f"resnet{depth}", auxiliary=0.0))
    assert sum(p.numel() for p in network.parameters()) == parameters


TORCHVISION = {f"encoder.body.layer{i}": f"backbone.layer{i}" for i in range(1, 5)} | {
    "convolve": "classifier.2",
    "classify": "classifier.4",
}


def randomise_norms(network: nn.Module) -> None:
    """Means, variances, scales and shifts that hide nothing."""
    torch.manual_seed(SEED)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.running_var, 0.5), (module.weight, 0.5), (module.running_mean, -0.5)):
                nn.init.uniform_(tensor, low, low + 1)
            nn.init.uniform_(module.bias, -0.5, 0.5)


def torchvision_pair(depth: int) -> tuple[nn.Module, nn.Module]:
    """Theirs and ours with the same weights, the statistics of BatchNorm drawn, too."""
    programs = pytest.importorskip("torchvision.models.segmentation")
    name = f"fcn_resnet{depth}"
    reference = getattr(programs, name)(weights=None, weights_backbone=None, aux_loss=True, num_classes=5)
    source = "torchvision" if depth == 50 else "torchvision_r101"
    network = registry.build(f"fcn_resnet-torchvision_r{depth}", classes=5)
    randomise_norms(reference)
    network.load_state_dict(translated(reference.state_dict(), read_card("fcn_resnet").sources[source]))
    return reference, network


@pytest.mark.filterwarnings("ignore")
def test_equals_torchvision_map_by_map() -> None:
    reference, network = torchvision_pair(50)
    for dtype, tolerance in LIMITS:
        image = image_by_rule((1, 3, 9, 75), SEED).to(dtype)
        seen = taps(network.to(dtype).eval(), image, {ours: ours for ours in TORCHVISION})
        names = {theirs: ours for ours, theirs in TORCHVISION.items()}
        expected = taps(reference.to(dtype).eval(), image, names)
        for path, value in expected.items():
            error = largest_error(seen[path], value)
            assert error < tolerance, f"first difference at {path}: {error:.1e} of the largest value"


@pytest.mark.filterwarnings("ignore")
def test_trains_as_torchvision_does() -> None:
    reference, network = (one.double().train() for one in torchvision_pair(50))
    for module in (*reference.modules(), *network.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    image = image_by_rule((2, 3, 9, 35), SEED)
    labels = torch.randint(-1, 5, (2, 9, 35), generator=torch.Generator().manual_seed(SEED))
    expected, output = reference(image), network(image)
    for ours, theirs in ((output.logits, "out"), (output.aux[0], "aux")):
        full = functional.interpolate(ours, size=labels.shape[1:], mode="bilinear", align_corners=False)
        assert largest_error(full, expected[theirs]) < 1e-6
    loss = SemanticLoss({"cross_entropy": 1.0}, aux=network.aux_weights)(output, labels)["loss"]
    main, aux = (functional.cross_entropy(expected[k], labels, ignore_index=-1) for k in ("out", "aux"))
    torch.testing.assert_close(loss, main + 0.5 * aux, rtol=1e-9, atol=0)
    loss.backward()
    (main + 0.5 * aux).backward()
    assert largest_error(network.encoder.body.conv1.weight.grad, reference.backbone.conv1.weight.grad) < 1e-6


@pytest.mark.filterwarnings("ignore")
def test_resnet_101_has_the_same_tensors() -> None:
    with torch.device("meta"):
        torchvision_pair(101)
