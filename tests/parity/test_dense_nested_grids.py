"""FC-DenseNet, UNet++, FRRN and GridNet give the numbers of their authors' wiring and of public programs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rule import fill, image_by_rule, taps
from safetensors.torch import load_file
from torch import Tensor, nn

import segmentarium.models as registry
from segmentarium.models import fc_densenet, frrn, gridnet, unet, unet_plus_plus
from segmentarium.models.fc_densenet import FCDenseNet
from segmentarium.models.frrn import FRRN
from segmentarium.models.gridnet import GridNet
from segmentarium.models.unet_plus_plus import UNetPlusPlus
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

SEED = 1611
TOLERANCES = ((torch.float32, 1e-4), (torch.float64, 1e-6))
SMALL_DENSE = fc_densenet.Config(layers=(1, 2, 3, 2, 1), growth=5, width=8, classes=4)
SMALL_FRRN_A = frrn.Config(
    width=6, lanes=4, down=((3, 12), (4, 24), (2, 48), (2, 48)), up=((2, 24), (2, 24), (2, 12)), classes=5
)
SMALL_FRRN_B = replace(
    SMALL_FRRN_A, down=(*SMALL_FRRN_A.down, (2, 48)), up=((2, 24), (2, 24), (2, 24), (2, 12))
)


@dataclass(frozen=True)
class Case:
    """Our network that equals the reference's."""

    network: type[nn.Module]
    config: Any


RECORDED = {
    "tiramisu": Case(FCDenseNet, SMALL_DENSE),
    "bfortuner": Case(FCDenseNet, SMALL_DENSE),
    "keras": Case(UNetPlusPlus, unet_plus_plus.VARIANTS["paper"]),
    "nested_bn": Case(UNetPlusPlus, unet_plus_plus.VARIANTS["nested_bn"]),
    "frrn_a": Case(FRRN, SMALL_FRRN_A),
    "frrn_b": Case(FRRN, SMALL_FRRN_B),
    "gridnet": Case(GridNet, gridnet.Config(widths=(4, 6, 8, 10, 12), classes=5)),
}
SIZE = {"tiramisu": (37, 54), "bfortuner": (37, 54), "frrn_b": (32, 64)}  # (32, 48) for the others
NODES = re.compile(r"nodes\.\d_\d\.convolve\.3|heads\.\d")
KEPT = {
    "tiramisu": re.compile(r"enlarge\.\d|shrink\.\d\.2|bottleneck\.2\.2|classify"),
    "bfortuner": re.compile(".*"),
    "keras": NODES,
    "nested_bn": NODES,
    "frrn_a": re.compile(r"split\.1|groups\.\d\.\d\.write|classify"),
    "frrn_b": re.compile(r"split\.1|groups\.\d\.1\.write|classify"),
    "gridnet": re.compile(r"first\.3\.convolve\.2|(down|up)\.\d\.laterals\.[04]\.convolve\.5|leave\.4"),
}
"""Which of the reference's maps are recorded, by our names for them."""


def recorded_network(case: str) -> nn.Module:
    """In eval mode, not yet filled."""
    return RECORDED[case].network(RECORDED[case].config).eval()


def recorded_numbers(case: str) -> dict[str, Tensor]:
    held = load_file(Path(__file__).with_name("dense_nested_grids.safetensors"))
    return {name.removeprefix(f"{case}."): t for name, t in held.items() if name.startswith(f"{case}.")}


def assert_taps_equal(seen: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Equal to ``tolerance`` of each map's largest value; the first that differs is named."""
    assert expected
    for name, value in expected.items():
        error = ((seen[name] - value).abs().max() / value.abs().max()).item()
        assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_numbers_of_other_programs(case: str) -> None:
    expected, network = recorded_numbers(case), recorded_network(case)
    for dtype, tolerance in TOLERANCES:
        fill(network.to(dtype), SEED)
        image = image_by_rule((1, RECORDED[case].config.in_channels, *SIZE.get(case, (32, 48))), SEED).to(
            dtype
        )
        assert_taps_equal(taps(network, image, {name: name for name in expected}), expected, tolerance)


def randomise_norms(network: nn.Module) -> None:
    """Means, variances, scales and shifts that hide nothing."""
    draw = torch.Generator().manual_seed(SEED)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.running_var, 0.5), (module.weight, 0.5), (module.running_mean, -0.5)):
                tensor.data.copy_(low + torch.rand(tensor.shape, generator=draw))
            module.bias.data.copy_(torch.rand(module.bias.shape, generator=draw) - 0.5)


@pytest.mark.filterwarnings("ignore")
def test_unet_plus_plus_equals_segmentation_models_pytorch() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(SEED)
    reference = smp.UnetPlusPlus("resnet34", encoder_weights=None, classes=5).eval()
    randomise_norms(reference)
    table = read_card("unet_plus_plus").sources["smp"]
    network = registry.build(f"unet_plus_plus-{table.variant}", classes=5).eval()
    network.load_state_dict(translated(reference.state_dict(), table), strict=False)
    # its x_DEPTH_LAYER is our X[3 - LAYER, LAYER - DEPTH + 1]
    names = {(d, layer): f"nodes.{3 - layer}_{layer - d + 1}" for layer in range(4) for d in range(layer + 1)}
    theirs = {f"decoder.blocks.x_{d}_{layer}": ours for (d, layer), ours in names.items()}
    theirs |= {"decoder.blocks.x_0_4": "step", "segmentation_head": "heads.4"}
    for dtype, tolerance in TOLERANCES:
        image = image_by_rule((1, 3, 32, 64), SEED).to(dtype)
        expected = taps(reference.to(dtype), image, theirs)
        assert_taps_equal(
            taps(network.to(dtype), image, {ours: ours for ours in expected}), expected, tolerance
        )


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("fc_densenet-103", 11, 9_322_091),
        ("fc_densenet-67", 11, 3_463_243),
        ("fc_densenet-56", 11, 1_376_795),
        ("unet_plus_plus-smp_r34", 1, 26_078_609),
        ("gridnet", 19, 13_181_097),
        ("frrn-a", 19, 17_746_803),
        ("frrn-b", 19, 24_755_699),
    ],
)
def test_counts_of_the_papers_and_libraries(name: str, classes: int, parameters: int) -> None:
    assert registry.count_parameters(name, classes=classes) == parameters


def test_counts_of_the_authors_of_unet_plus_plus() -> None:
    """The three figures beside their Keras program: grey images, one class, one head."""

    def plain(widths: tuple[int, ...]) -> nn.Module:
        config = unet.Config(
            widths=widths, decoder=widths[-2::-1], norm=False, bias=True, in_channels=1, classes=1
        )
        return unet.UNet(config)

    nested = replace(unet_plus_plus.VARIANTS["paper"], supervised=False, in_channels=1, classes=1)
    with torch.device("meta"):
        networks = (plain((32, 64, 128, 256, 512)), plain((35, 70, 140, 280, 560)), UNetPlusPlus(nested))
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [7_759_521, 9_282_246, 9_041_601]
