"""SegNet, DeconvNet, LinkNet and TernausNet: what no program has to compare with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import segmentarium.models as registry
from segmentarium.errors import BadArgument
from segmentarium.models.deconvnet import VARIANTS as DECONVNET
from segmentarium.models.deconvnet import DeconvNet
from segmentarium.models.linknet import Config as LinkConfig
from segmentarium.models.linknet import LinkNet
from segmentarium.models.segnet import pool
from segmentarium.nn.upsampling import max_unpool

IDS = ("segnet", "deconvnet", "linknet", "ternausnet")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def inputs_of(network: nn.Module, paths: list[str], image: Tensor) -> dict[str, Tensor]:
    """What enters each module of ``paths``."""
    seen: dict[str, Tensor] = {}
    for path in paths:
        network.get_submodule(path).register_forward_pre_hook(
            lambda module, inputs, path=path: seen.__setitem__(path, inputs[0].clone())
        )
    with torch.no_grad():
        network(image)
    return seen


@pytest.mark.parametrize("name", [f"{one}-{variant}" for one in IDS for variant in registry.variants(one)])
def test_answers_at_the_size_of_the_image(name: str) -> None:
    with torch.device("meta"):
        network = registry.build(name, classes=3).eval()
        for size in ((33, 47), (1, 1), (1, 70), (130, 7)):
            assert network(torch.zeros(2, 3, *size)).logits.shape == (2, 3, *size)


def test_deconvnet_is_segnet_with_fully_connected_layers() -> None:
    segnet, whole = (registry.count_parameters(name, classes=21) for name in ("segnet", "deconvnet"))
    with torch.device("meta"):
        connected = sum(p.numel() for p in DeconvNet(DECONVNET["paper"]).fc.parameters())
    assert whole / segnet == pytest.approx(8.55, abs=0.01)
    assert connected / whole == pytest.approx(0.88, abs=0.01)
    assert whole - connected == pytest.approx(segnet, rel=0.01)


def test_pooling_completes_odd_edges_as_ceil_mode_does() -> None:
    for size in ((5, 7), (4, 6), (1, 1), (1, 8)):
        maps = torch.rand(2, 3, *size).sub(0.5).relu()  # half of the values are equal
        pooled = pool(maps)
        values, places = functional.max_pool2d(maps, 2, ceil_mode=True, return_indices=True)
        assert torch.equal(pooled.values, values)
        expected = functional.max_unpool2d(values, places, 2, output_size=list(size))
        assert torch.equal(max_unpool(values, pooled)[..., : size[0], : size[1]], expected)


def test_segnet_decodes_only_where_maxima_stood() -> None:
    network = registry.build("segnet-tiny", classes=3).eval()
    image = torch.rand(1, 3, 37, 50)
    depth = len(network.decoder)
    entering = inputs_of(network, [f"decoder.{i}" for i in range(depth)], image)
    maps = image
    with torch.no_grad():
        for level, encode in enumerate(network.encoder):
            maps = encode(maps)
            maps, places = functional.max_pool2d(maps, 2, ceil_mode=True, return_indices=True)
            sparse = entering[f"decoder.{depth - 1 - level}"].flatten(2)
            outside = torch.ones_like(sparse).scatter(2, places.flatten(2), 0)
            assert sparse.any()
            assert not (sparse * outside).any()


def test_deconvnet_completes_images_by_zeros() -> None:
    network = registry.build("deconvnet-tiny", classes=3).eval()
    image = torch.rand(1, 3, 50, 97)
    with torch.no_grad():
        completed = network(functional.pad(image, (0, 15, 0, 14))).logits
        assert completed.shape == (1, 3, 64, 112)
        torch.testing.assert_close(network(image).logits, completed[..., :50, :97])


@pytest.mark.parametrize(("size", "places"), [((224, 224), (1, 1)), ((1, 40), (1, 1)), ((225, 300), (2, 4))])
def test_fc6_stands_on_one_place_of_the_papers_image(size: tuple[int, int], places: tuple[int, int]) -> None:
    network = DeconvNet(replace(DECONVNET["paper"], widths=(2, 2, 2, 2, 2), fc_width=4)).eval()
    entering = inputs_of(network, ["fc.3"], torch.rand(1, 3, *size))
    assert entering["fc.3"].shape[2:] == places


def test_one_small_image_cannot_train_deconvnet() -> None:
    network = registry.build("deconvnet-tiny", classes=3).train()
    with pytest.raises(BadArgument, match=r"one small image.*2 images or more.*raise train\.batch"):
        network(torch.rand(1, 3, 48, 48))
    network(torch.rand(1, 3, 49, 48)).logits.sum().backward()
    network(torch.rand(2, 3, 48, 48)).logits.sum().backward()
    network.apply(lambda m: m.eval() if isinstance(m, nn.BatchNorm2d) else m)
    network(torch.rand(1, 3, 48, 48)).logits.sum().backward()


def test_linknet_adds_what_entered_the_block_opposite() -> None:
    network = LinkNet(LinkConfig(encoder="resnet18", classes=3)).eval()
    for step in network.decoder:
        step.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    image = torch.rand(1, 3, 64, 96)
    entering = inputs_of(network, ["decoder.1", "decoder.2", "decoder.3", "head"], image)
    body = network.encoder.body
    with torch.no_grad():
        maps = body.maxpool(body.act1(body.bn1(body.conv1(image))))
        for path, stage in (("head", "layer1"), ("decoder.3", "layer2"), ("decoder.2", "layer3")):
            assert torch.equal(entering[path], maps)
            maps = body.get_submodule(stage)(maps)
    assert torch.equal(entering["decoder.1"], maps)


@pytest.mark.parametrize("name", ["convnext_atto", "efficientnet_b0", "mobilenetv3_small_050", "regnetx_002"])
def test_linknet_stands_on_any_encoder(name: str) -> None:
    with torch.device("meta"):
        network = registry.build(f"linknet-{name}", classes=3, in_channels=2).eval()
        for size in ((64, 96), (33, 47)):
            assert network(torch.zeros(1, 2, *size)).logits.shape == (1, 3, *size)


def test_weights_begin_as_stated() -> None:
    def spread(weight: Tensor) -> float:
        return weight.std().item()

    link = LinkNet(LinkConfig(classes=21))
    transposed = link.decoder[0][1][0].weight
    assert spread(transposed) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert spread(link.decoder[0][0][0].weight) == pytest.approx((2 / 128) ** 0.5, rel=0.02)
    deconv = registry.build("deconvnet-small", classes=3)
    assert spread(deconv.decoder[0][0].weight) == pytest.approx(0.01, rel=0.02)
    ternaus = registry.build("ternausnet-small", classes=3)
    assert spread(ternaus.encoder[4][0].weight) == pytest.approx((1 / (128 * 9)) ** 0.5, rel=0.02)
    enlarging = ternaus.decoder[1][2].weight
    assert spread(enlarging) == pytest.approx((4 / (enlarging.shape[0] * 9)) ** 0.5, rel=0.02)
    for network in (link, deconv, ternaus, registry.build("segnet-tiny", classes=3)):
        assert not any(m.bias.any() for m in convolutions(network) if m.bias is not None)


def convolutions(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
