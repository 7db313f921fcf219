"""PSPNet, Semantic FPN, FastFCN and DANet: their layers, heads in training, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import segmentarium.models as registry
from segmentarium.errors import BadArgument
from segmentarium.losses import SemanticLoss
from segmentarium.models.danet import VARIANTS as DANETS
from segmentarium.models.danet import DANet
from segmentarium.models.fastfcn import VARIANTS as FASTFCNS
from segmentarium.models.fastfcn import FastFCN
from segmentarium.models.pspnet import VARIANTS as PSPNETS
from segmentarium.models.pspnet import PSPNet


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def dilations(encoder: nn.Module, stage: str) -> list[int]:
    """Of the 3x3 convolutions of one stage."""
    convolutions = [m for m in getattr(encoder.body, stage).modules() if isinstance(m, nn.Conv2d)]
    return [m.dilation[0] for m in convolutions if m.kernel_size == (3, 3)]


def test_every_block_of_pspnet_is_dilated() -> None:
    with torch.device("meta"):
        network = PSPNet(PSPNETS["paper_r50"])
    assert dilations(network.encoder, "layer2") == [1] * 4
    assert dilations(network.encoder, "layer3") == [2] * 6
    assert dilations(network.encoder, "layer4") == [4] * 3
    stem = [m for m in network.encoder.body.conv1 if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in stem] == [64, 64, 128]


def test_danet_has_a_grid_in_its_last_stage() -> None:
    with torch.device("meta"):
        network = DANet(DANETS["paper_r50"])
    assert dilations(network.encoder, "layer3") == [1] + [2] * 5
    assert dilations(network.encoder, "layer4") == [4, 8, 16]


def test_the_layout_of_smp_ends_early() -> None:
    network = registry.build("pspnet-smp_r34", classes=3).eval()
    assert "layer3" not in dict(network.encoder.body.named_children())
    assert network.encoder.strides == (2, 4, 8)
    for size in ((1, 1), (5, 70), (64, 64)):
        assert network(torch.rand(1, 3, *size)).logits.shape == (1, 3, -(-size[0] // 8), -(-size[1] // 8))


@pytest.mark.parametrize(
    ("name", "heads"), [("pspnet", 1), ("fpn_segmentation", 0), ("fastfcn", 1), ("danet", 2)]
)
def test_further_heads_answer_in_training_only(name: str, heads: int) -> None:
    network = registry.build(f"{name}-tiny", classes=5)
    output = network.train()(torch.rand(2, 3, 64, 48))
    assert [aux.shape[:2] for aux in output.aux] == [(2, 5)] * heads
    assert network.eval()(torch.rand(1, 3, 64, 48)).aux == ()


@pytest.mark.parametrize(
    ("name", "stride"), [("pspnet", 8), ("fpn_segmentation", 4), ("fastfcn", 8), ("danet", 8)]
)
@pytest.mark.parametrize("size", [(33, 47), (1, 1), (130, 7)])
def test_logits_are_left_at_their_stride(name: str, stride: int, size: tuple[int, int]) -> None:
    network = registry.build(f"{name}-tiny", classes=4).eval()
    with torch.no_grad():
        output = network(torch.rand(1, 3, *size))
    assert output.logits.shape == (1, 4, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize("head", ["encoding", "fcn", "psp", "deeplab"])
def test_fastfcn_wears_every_head(head: str) -> None:
    network = FastFCN(replace(FASTFCNS["tiny"], head=head, classes=4))
    assert network.aux_weights == (1.0, 0.2 if head == "encoding" else 0.4)
    images = torch.rand(2, 3, 33, 47)
    output = network.train()(images)
    torch.stack([scores.square().mean() for scores in (output.logits, *output.aux)]).sum().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
    network.eval()
    with torch.no_grad():
        apart = torch.cat([network(image[None]).logits for image in images])
        torch.testing.assert_close(network(images).logits, apart, rtol=1e-4, atol=1e-5)
        exported = torch.export.export(network, (images,)).module()
        torch.testing.assert_close(exported(images).logits, network(images).logits, rtol=1e-4, atol=1e-5)


def test_means_of_one_image_cannot_train() -> None:
    for network in (
        registry.build("pspnet-tiny", classes=3),
        FastFCN(replace(FASTFCNS["tiny"], head="psp")),
        FastFCN(replace(FASTFCNS["tiny"], head="deeplab")),
    ):
        with pytest.raises(BadArgument, match="one image"):
            network.train()(torch.rand(1, 3, 64, 64))
    for name in ("fpn_segmentation-tiny", "fastfcn-tiny", "danet-tiny"):
        registry.build(name, classes=3).train()(torch.rand(1, 3, 64, 64)).logits.sum().backward()


@pytest.mark.parametrize(("layout", "weights"), [("paper", (1.0, 1.0, 1.0)), ("mmseg", (1.0, 1.0, 1.0, 0.4))])
def test_heads_of_danet_weigh_alike(layout: str, weights: tuple[float, ...]) -> None:
    network = DANet(replace(DANETS["tiny"], layout=layout, classes=3)).train()
    output = network(torch.rand(2, 3, 32, 32))
    labels = torch.randint(0, 3, (2, 32, 32))
    assert network.aux_weights == weights
    loss = SemanticLoss({"cross_entropy": 1.0}, aux=network.aux_weights)(output, labels)
    plain = SemanticLoss({"cross_entropy": 1.0})
    alone = [
        plain(output._replace(logits=one, aux=()), labels)["loss"] for one in (output.logits, *output.aux)
    ]
    expected = sum(weight * value for weight, value in zip(weights, alone, strict=True))
    torch.testing.assert_close(loss["loss"], expected)


@pytest.mark.parametrize("encoder", ["mobilenetv3_large_100", "convnext_atto"])
@pytest.mark.parametrize("name", ["pspnet", "fpn_segmentation", "fastfcn", "danet"])
def test_stands_on_encoders_of_timm(name: str, encoder: str) -> None:
    with torch.device("meta"):
        network = registry.build(f"{name}-{encoder}", classes=3, in_channels=2).eval()
        assert network(torch.zeros(1, 2, 64, 64)).logits.shape[:2] == (1, 3)
