"""V-Net, 3D U-Net and UNETR give the numbers of public implementations, through the tables of our cards.

MONAI runs beside ours with copied random weights. pytorch-3dunet ran once: volume_networks.toml says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rule import fill, image_by_rule
from safetensors.torch import load_file
from torch import Tensor, nn

from segmentarium.models.unet_3d import VARIANTS as UNETS
from segmentarium.models.unet_3d import Config, UNet3D
from segmentarium.models.unetr import UNETR
from segmentarium.models.unetr import VARIANTS as UNETRS
from segmentarium.models.vnet import VARIANTS as VNETS
from segmentarium.models.vnet import VNet
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

SEED = 1606
RECORDED = Path(__file__).with_name("volume_networks.safetensors")
UNET_TAPS = [f"encoder.{i}" for i in range(4)] + [f"decoder.{i}" for i in range(3)] + ["classify"]

pytestmark = pytest.mark.filterwarnings("ignore")


def small_unet() -> Config:
    """pytorch-3dunet with eight feature maps at its first level."""
    pairs = ((4, 8), (8, 16), (16, 32), (32, 64))
    return replace(UNETS["pytorch_3dunet"], encoder=pairs, decoder=((32, 32), (16, 16), (8, 8)))


def maps_of(network: nn.Module, image: Tensor, paths: Mapping[str, str]) -> dict[str, Tensor]:
    """What the modules at ``paths`` return when ``network`` answers, by the names given to them."""
    seen: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        return lambda module, inputs, output: seen.__setitem__(name, output.clone())

    hooks = [network.get_submodule(path).register_forward_hook(watch(name)) for path, name in paths.items()]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return seen


def assert_equal(seen: dict[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    """Equal to ``tolerance`` of each map's largest value; the first that differs is named."""
    assert seen.keys() == expected.keys()
    for name, value in expected.items():
        error = ((seen[name] - value).abs().max() / value.abs().max()).item()
        assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


def compare(
    paper: str, source: str, reference: nn.Module, ours: nn.Module, taps: Mapping[str, str], image: Tensor
) -> None:
    """Random weights go across by the card's table; every tap must agree in both precisions."""
    reference.double().eval()
    fill(reference, SEED)
    tensors = translated(reference.state_dict(), read_card(paper).sources[source])
    ours.double().eval().load_state_dict(tensors)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-4)):
        expected = maps_of(reference.to(dtype), image.to(dtype), taps)
        seen = maps_of(ours.to(dtype), image.to(dtype), {name: name for name in taps.values()})
        assert_equal(seen, {name: expected[name] for name in seen}, tolerance)


@pytest.mark.parametrize("act", ["elu", "prelu"])
def test_vnet_is_monais(act: str) -> None:
    reference = narrow_vnet(act)
    widths = (4, 8, 16, 32, 64)
    ours = VNet(replace(VNETS["monai"], widths=widths, act=act, in_channels=2, classes=3))
    down, up = ("in_tr", "down_tr32", "down_tr64", "down_tr128", "down_tr256"), (256, 128, 64, 32)
    taps = {path: f"encoder.{i}" for i, path in enumerate(down)}
    taps |= {f"up_tr{width}": f"decoder.{i}" for i, width in enumerate(up)} | {"out_tr": "head"}
    compare("vnet", "monai", reference, ours, taps, image_by_rule((2, 2, 16, 32, 16), SEED))


def test_vnet_learns_like_monais() -> None:
    """With BatchNorm and dropout at work: the same channels fall out."""
    reference = narrow_vnet("elu")
    ours = VNet(replace(VNETS["monai"], widths=(4, 8, 16, 32, 64), in_channels=2, classes=3))
    fill(reference, SEED)
    ours.load_state_dict(translated(reference.state_dict(), read_card("vnet").sources["monai"]))
    image = image_by_rule((2, 2, 32, 32, 32), SEED).float()
    torch.manual_seed(SEED)
    expected = reference.train()(image)
    torch.manual_seed(SEED)
    torch.testing.assert_close(ours.train()(image).logits, expected, rtol=1e-4, atol=1e-4)


def narrow_vnet(act: str) -> nn.Module:
    """MONAI's network, whose widths are fixed, with its own blocks at a quarter of them."""
    theirs = pytest.importorskip("monai.networks.nets.vnet")
    with torch.device("meta"):
        network = theirs.VNet(act=act)
    network.in_tr = theirs.InputTransition(3, 2, 4, act)
    for name, width, count, drop in (
        ("32", 4, 1, None),
        ("64", 8, 2, None),
        ("128", 16, 3, 0.5),
        ("256", 32, 2, 0.5),
    ):
        setattr(network, f"down_tr{name}", theirs.DownTransition(3, width, count, act, drop))
    for name, widths, count, drop in (
        ("256", (64, 64), 2, 0.5),
        ("128", (64, 32), 2, 0.5),
        ("64", (32, 16), 1, None),
        ("32", (16, 8), 1, None),
    ):
        setattr(network, f"up_tr{name}", theirs.UpTransition(3, *widths, count, act, (drop, 0.5)))
    network.out_tr = theirs.OutputTransition(3, 8, 3, act)
    return network


@pytest.mark.parametrize("size", [(32, 16, 32), (35, 19, 37)])
def test_unet_3d_is_monais(size: tuple[int, int, int]) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    reference = nets.BasicUNet(in_channels=2, out_channels=3, features=(8, 8, 16, 32, 64, 8))
    pairs = {"encoder": ((8, 8), (8, 8), (16, 16), (32, 32), (64, 64))}
    pairs["decoder"] = ((32, 32), (16, 16), (8, 8), (8, 8))
    ours = UNet3D(replace(UNETS["monai"], in_channels=2, classes=3, **pairs))
    taps = {"conv_0": "encoder.0"} | {f"down_{i}": f"encoder.{i}" for i in range(1, 5)}
    taps |= {f"upcat_{4 - i}": f"decoder.{i}" for i in range(4)} | {"final_conv": "classify"}
    compare("unet_3d", "monai", reference, ours, taps, image_by_rule((1, 2, *size), SEED))


@pytest.mark.parametrize(("source", "layout"), [("monai", "conv"), ("monai_perceptron", "perceptron")])
def test_unetr_is_monais(source: str, layout: str) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    pytest.importorskip("einops")
    size, width = (32, 48, 16), 24
    reference = nets.UNETR(2, 3, size, 4, width, 4 * width, 4, proj_type=layout)
    config = replace(UNETRS[source], grid=(2, 3, 1), width=width, heads=4, features=4)
    ours = UNETR(replace(config, in_channels=2, classes=3))
    taps = {"vit.patch_embedding": "embed", "vit.norm": "norm", "encoder1": "image", "out": "classify"}
    taps |= {f"vit.blocks.{i}": f"blocks.{i}" for i in range(12)}
    taps |= {f"encoder{i + 2}": f"skips.{i}" for i in range(3)}
    taps |= {f"decoder{5 - i}": f"decoder.{i}" for i in range(4)}
    compare("unetr", source, reference, ours, taps, image_by_rule((2, 2, *size), SEED))


def test_unet_3d_has_the_recorded_numbers_of_pytorch_3dunet() -> None:
    recorded = load_file(RECORDED)
    network = UNet3D(small_unet()).eval()
    fill(network, SEED)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-6)):
        network.to(dtype)
        fill(network, SEED)
        image = image_by_rule((2, 1, 19, 22, 25), SEED).to(dtype)
        seen = maps_of(network, image, {name: name for name in UNET_TAPS})
        assert_equal({name: part(maps) for name, maps in seen.items()}, recorded, tolerance)


def part(maps: Tensor) -> Tensor:
    """What is recorded of a map: four channels, every third voxel along each axis."""
    return maps[:, :: max(1, maps.shape[1] // 4), ::3, ::3, ::3].contiguous()


def test_counts_of_monai() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    with torch.device("meta"):
        assert count(nets.VNet(out_channels=2)) == count(VNet(VNETS["monai"])) == 45_597_898
        assert count(nets.VNet()) == count(VNet(replace(VNETS["monai"], classes=1))) == 45_593_892
        assert count(nets.BasicUNet()) == count(UNet3D(UNETS["monai"])) == 5_749_410
        assert count(UNet3D(UNETS["pytorch_3dunet"])) == 16_318_051
        pytest.importorskip("einops")
        idle = 12 * 2 * 768  # norms of a cross-attention that is not there
        assert count(nets.UNETR(1, 14, 96)) == count(UNETR(UNETRS["monai"])) + idle == 92_802_478


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
