"""DeepLabv3 and DeepLabv3+ give the numbers of torchvision, segmentation-models-pytorch and mmsegmentation.

Weights go over by the tables of our own cards, so these are proved too. Images are long, so that even the
largest rate finds something to look at: on a map of 8x8 all rates above 7 are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from rule import fill, image_by_rule, taps
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import segmentarium.models as registry
from segmentarium.losses import SemanticLoss
from segmentarium.models.deeplabv3 import VARIANTS as V3
from segmentarium.models.deeplabv3 import DeepLabV3
from segmentarium.models.deeplabv3plus import VARIANTS as V3PLUS
from segmentarium.models.deeplabv3plus import DeepLabV3Plus
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

SEED = 1706
STAGES = [f"layer{i}" for i in range(1, 5)]


@dataclass(frozen=True)
class Case:
    """Which network of ours equals which of theirs, and the paths of the maps that are compared."""

    source: str  # architecture and source of the card
    reference: Callable[[], nn.Module]
    size: tuple[int, int]
    maps: dict[str, str]  # our path: theirs


def smp(kind: str, encoder: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        programs = pytest.importorskip("segmentation_models_pytorch")
        return getattr(programs, kind)(encoder, encoder_weights=None, classes=5)

    return build


def torchvision(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        programs = pytest.importorskip("torchvision.models.segmentation")
        return getattr(programs, name)(weights=None, weights_backbone=None, aux_loss=True, num_classes=5)

    return build


def pyramid_maps(ours: str, theirs: str) -> dict[str, str]:
    branches = {f"{ours}.branches.{i}": f"{theirs}.convs.{i}" for i in range(4)}
    return branches | {f"{ours}.image": f"{theirs}.convs.4", f"{ours}.project": f"{theirs}.project"}


SMP_STAGES = {f"encoder.body.{stage}": f"encoder.{stage}" for stage in STAGES}
SMP_PLUS = pyramid_maps("pyramid", "decoder.aspp.0") | {
    "smooth": "decoder.aspp",
    "reduce": "decoder.block1",
    "decoder": "decoder.block2",
    "classify": "segmentation_head.0",
}
CASES = {
    "torchvision": Case(
        "deeplabv3@torchvision",
        torchvision("deeplabv3_resnet50"),
        (9, 331),
        {f"encoder.body.{stage}": f"backbone.{stage}" for stage in STAGES}
        | pyramid_maps("context", "classifier.0")
        | {"smooth": "classifier.3", "classify": "classifier"},
    ),
    "smp": Case(
        "deeplabv3@smp",
        smp("DeepLabV3", "resnet34"),
        (16, 320),
        SMP_STAGES
        | pyramid_maps("context", "decoder.aspp")
        | {"smooth": "decoder", "classify": "segmentation_head.0"},
    ),
    "smp_plus": Case("deeplabv3plus@smp", smp("DeepLabV3Plus", "resnet34"), (16, 608), SMP_STAGES | SMP_PLUS),
    "smp_plus_xception": Case(
        "deeplabv3plus@smp_x65",
        smp("DeepLabV3Plus", "tu-xception65"),
        (16, 608),
        {f"encoder.body.blocks_{i}": f"encoder.model.blocks_{i}" for i in (0, 1, 2, 10, 19, 20)} | SMP_PLUS,
    ),
}
LARGE = {
    "deeplabv3@torchvision_r101": torchvision("deeplabv3_resnet101"),
    "deeplabv3plus@smp_r101": smp("DeepLabV3Plus", "resnet101"),
}


def pair(source: str, reference: nn.Module) -> nn.Module:
    """Our network of that source, with the reference's weights."""
    architecture, _, name = source.partition("@")
    table = read_card(architecture).sources[name]
    network = registry.build(f"{architecture}-{table.variant}", classes=5)
    network.load_state_dict(translated(reference.state_dict(), table))
    return network


def randomise_norms(network: nn.Module) -> None:
    """Means, variances, scales and shifts that hide nothing."""
    draw = torch.Generator().manual_seed(SEED)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.running_var, 0.5), (module.weight, 0.5), (module.running_mean, -0.5)):
                tensor.data.copy_(low + torch.rand(tensor.shape, generator=draw))
            module.bias.data.copy_(torch.rand(module.bias.shape, generator=draw) - 0.5)


def maps_of(network: nn.Module, image: Tensor, paths: dict[str, str]) -> dict[str, Tensor]:
    """Whole maps of the modules at ``paths``, by the names given to them."""
    seen: dict[str, Tensor] = {}

    def keep(name: str):  # type: ignore[no-untyped-def]
        return lambda module, inputs, output: seen.__setitem__(name, output.clone())

    hooks = [network.get_submodule(path).register_forward_hook(keep(name)) for path, name in paths.items()]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return seen


def largest_error(seen: Tensor, expected: Tensor) -> float:
    return ((seen - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_equals_the_library_map_by_map(case: str) -> None:
    torch.manual_seed(SEED)
    reference, size, paths = CASES[case].reference(), CASES[case].size, CASES[case].maps
    randomise_norms(reference)
    network = pair(CASES[case].source, reference)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-6)):
        image = image_by_rule((1, 3, *size), SEED).to(dtype)
        seen = maps_of(network.to(dtype).eval(), image, {ours: ours for ours in paths})
        expected = maps_of(
            reference.to(dtype).eval(), image, {theirs: ours for ours, theirs in paths.items()}
        )
        for name in paths:
            error = largest_error(seen[name], expected[name])
            assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


@pytest.mark.filterwarnings("ignore")
def test_trains_as_torchvision_does() -> None:
    torch.manual_seed(SEED)
    reference = CASES["torchvision"].reference().double().train()
    network = pair("deeplabv3@torchvision", reference).double().train()
    for module in (*reference.modules(), *network.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    image = image_by_rule((2, 3, 9, 107), SEED)
    labels = torch.randint(-1, 5, (2, 9, 107), generator=torch.Generator().manual_seed(SEED))
    expected, output = reference(image), network(image)
    for ours, theirs in ((output.logits, "out"), (output.aux[0], "aux")):
        full = functional.interpolate(ours, size=labels.shape[1:], mode="bilinear", align_corners=False)
        assert largest_error(full, expected[theirs]) < 1e-6
    loss = SemanticLoss({"cross_entropy": 1.0})(output, labels)["loss"]
    main, aux = (functional.cross_entropy(expected[k], labels, ignore_index=-1) for k in ("out", "aux"))
    torch.testing.assert_close(loss, main + 0.4 * aux, rtol=1e-9, atol=0)
    loss.backward()
    (main + 0.4 * aux).backward()
    assert largest_error(network.encoder.body.conv1.weight.grad, reference.backbone.conv1.weight.grad) < 1e-6


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("source", LARGE)
def test_large_networks_have_the_same_tensors(source: str) -> None:
    architecture, _, name = source.partition("@")
    table = read_card(architecture).sources[name]
    with torch.device("meta"):
        theirs = translated(LARGE[source]().state_dict(), table)
        ours = registry.build(f"{architecture}-{table.variant}", classes=5).state_dict()
    assert {key: tensor.shape for key, tensor in theirs.items()} == {
        key: tensor.shape for key, tensor in ours.items()
    }


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("deeplabv3-torchvision_r50", 21, 42_004_074),
        ("deeplabv3-torchvision_r101", 21, 60_996_202),
        ("deeplabv3-smp_r34", 1, 26_007_105),
        ("deeplabv3-mmseg_r101", 19, 87_105_158),
        ("deeplabv3plus-smp_r34", 1, 22_437_457),
        ("deeplabv3plus-smp_r101", 21, 45_674_853),
        ("deeplabv3plus-smp_x65", 21, 41_042_005),
        ("deeplabv3plus-mmseg_r101", 19, 62_582_006),
    ],
)
def test_counts_of_the_libraries(name: str, classes: int, parameters: int) -> None:
    assert registry.count_parameters(name, classes=classes) == parameters


def test_counts_without_what_libraries_leave_out() -> None:
    def count(network: Callable[..., nn.Module], config: object) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in network(config).parameters())

    assert count(DeepLabV3, replace(V3["torchvision_r50"], auxiliary=False)) == 39_638_869
    assert count(DeepLabV3, replace(V3["torchvision_r101"], auxiliary=False)) == 58_630_997
    assert count(DeepLabV3Plus, replace(V3PLUS["smp_x65"], encoder="xception71")) == 43_464_429


RECORDED = {
    "v3": (DeepLabV3, replace(V3["mmseg_r101"], encoder="resnet50c", width=32, classes=5)),
    "v3plus": (DeepLabV3Plus, replace(V3PLUS["mmseg_r101"], encoder="resnet50c", width=32, classes=5)),
}
IMAGE = (2, 3, 19, 331)


def recorded_network(case: str) -> nn.Module:
    """A narrow head on a ResNet-50 in mmsegmentation's layout, in eval mode."""
    network, config = RECORDED[case]
    return network(config).eval()


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_numbers_of_mmsegmentation(case: str) -> None:
    held = load_file(Path(__file__).with_name("deeplab.safetensors"))
    expected = {name.removeprefix(f"{case}."): t for name, t in held.items() if name.startswith(f"{case}.")}
    network = recorded_network(case)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-6)):
        fill(network.to(dtype), SEED)
        network.training = True  # of the network alone, not of its parts: the auxiliary head answers too
        seen = taps(network, image_by_rule(IMAGE, SEED).to(dtype), {name: name for name in expected})
        for name, value in expected.items():
            error = largest_error(seen[name], value)
            assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"
