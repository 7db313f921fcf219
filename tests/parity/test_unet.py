"""The U-Nets give the numbers of their public counterparts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from rule import fill, image_by_rule, taps
from safetensors.torch import load_file
from torch import nn

from segmentarium.models.unet import VARIANTS, Config, UNet, from_encoder

SEED = 1505


@dataclass(frozen=True)
class Case:
    config: Config
    shape: tuple[int, ...]


BILINEAR = replace(
    VARIANTS["padded_bn"], up="bilinear", widths=(64, 128, 256, 512, 512), decoder=(256, 128, 64, 64)
)
CASES = {
    "learned": Case(VARIANTS["padded_bn"], (2, 3, 37, 53)),
    "bilinear": Case(BILINEAR, (2, 3, 37, 53)),
    "paper": Case(VARIANTS["paper"], (1, 1, 188, 204)),
}


def network_of(case: str) -> UNet:
    return UNet(CASES[case].config).eval()


@pytest.fixture(scope="module")
def recorded() -> dict[str, torch.Tensor]:
    return load_file(Path(__file__).with_suffix(".safetensors").with_name("unet.safetensors"))


@pytest.mark.parametrize("case", CASES)
def test_recorded_numbers_of_the_reference(case: str, recorded: dict[str, torch.Tensor]) -> None:
    network = network_of(case)
    fill(network, SEED)
    image = image_by_rule(CASES[case].shape, SEED)
    expected = {name.removeprefix(f"{case}."): t for name, t in recorded.items() if name.startswith(case)}
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-6)):
        if dtype is torch.float64:
            network = network.double()
            fill(network, SEED)
        seen = taps(network, image.to(dtype), {name: name for name in expected})
        assert_taps_equal(seen, expected, tolerance)


def assert_taps_equal(
    seen: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float
) -> None:
    """Equal to ``tolerance`` of each map's largest value; the first that differs is named."""
    assert seen.keys() == expected.keys()
    for name, value in expected.items():
        error = ((seen[name] - value).abs().max() / value.abs().max()).item()
        assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


def test_counts_of_the_lecture_and_of_upstream() -> None:
    def count(config: Config) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in UNet(config).parameters())

    assert count(VARIANTS["paper"]) == 31_030_658
    assert count(VARIANTS["padded_bn"]) == 31_037_698
    assert count(BILINEAR) == 17_263_042
    assert count(replace(VARIANTS["padded_bn"], bias=True)) == 31_043_586
    assert count(replace(BILINEAR, bias=True)) == 17_267_458


def randomise_norms(network: nn.Module) -> None:
    """Means, variances, scales and shifts that hide nothing."""
    draw = torch.Generator().manual_seed(SEED)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.running_var, 0.5), (module.weight, 0.5), (module.running_mean, -0.5)):
                tensor.data.copy_(low + torch.rand(tensor.shape, generator=draw))
            module.bias.data.copy_(torch.rand(module.bias.shape, generator=draw) - 0.5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("encoder", "theirs", "channels"),
    [
        ("resnet18", "resnet18", 3),
        ("resnet34", "resnet34", 4),
        ("resnet34", "tu-resnet34", 3),
        ("mobilenetv3_large_100", "tu-mobilenetv3_large_100", 4),
        ("efficientnet_b0", "tu-efficientnet_b0", 3),
    ],
)
def test_encoders_equal_segmentation_models_pytorch(encoder: str, theirs: str, channels: int) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(SEED)
    reference = smp.Unet(theirs, encoder_weights=None, in_channels=channels, classes=5).eval()
    network = UNet(replace(from_encoder(encoder), in_channels=channels, classes=5)).eval()
    randomise_norms(reference)
    copy_by_position(reference, network)
    ours = {f"decoder.{i}": f"step {i}" for i in range(5)} | {"classify": "logits"}
    their = {f"decoder.blocks.{i}": f"step {i}" for i in range(5)} | {"segmentation_head": "logits"}
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-6)):
        image = image_by_rule((2, channels, 64, 96), SEED).to(dtype)
        seen, expected = taps(network.to(dtype), image, ours), taps(reference.to(dtype), image, their)
        assert_taps_equal(seen, expected, tolerance)


def copy_by_position(reference: nn.Module, network: nn.Module) -> None:
    theirs, own = reference.state_dict().values(), network.state_dict()
    network.load_state_dict(dict(zip(own, theirs, strict=True)))
