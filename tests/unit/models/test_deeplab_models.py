"""DeepLabv3 and DeepLabv3+: what no library has to compare with, and what is said when it cannot go on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import segmentarium.models as registry
from segmentarium.errors import BadArgument, BadImage
from segmentarium.models.deeplabv3 import VARIANTS, Config, DeepLabV3
from segmentarium.models.deeplabv3plus import Config as PlusConfig
from segmentarium.models.deeplabv3plus import DeepLabV3Plus
from segmentarium.nn.aspp import ASPP
from segmentarium.nn.separable import conv_norm_act

TINY = ["deeplabv3-tiny", "deeplabv3plus-tiny"]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def tiny(name: str) -> nn.Module:
    """The network as papers run it: trained at stride 16, answering at 8."""
    network = registry.build(name, classes=4)
    return type(network)(replace(network.config, output_stride=16, test_stride=8))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", [(33, 47), (64, 64), (1, 1), (1, 70), (130, 7)])
def test_takes_any_size_in_both_modes(name: str, size: tuple[int, int]) -> None:
    network = tiny(name)
    for mode, stride in ((True, 16), (False, 8)):
        stride = stride if name == "deeplabv3-tiny" else 4
        with torch.no_grad():
            output = network.train(mode)(torch.rand(2, 3, *size))
        assert output.logits.shape == (2, 4, -(-size[0] // stride), -(-size[1] // stride))
        assert output.logits.isfinite().all()
        assert output.aux == ()


@pytest.mark.parametrize("name", TINY)
def test_a_batch_is_its_images(name: str) -> None:
    network, images = tiny(name).eval(), torch.rand(3, 3, 33, 47)
    with torch.no_grad():
        apart = torch.cat([network(image[None]).logits for image in images])
        torch.testing.assert_close(network(images).logits, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_half_precision_channels_last_and_export(name: str) -> None:
    network, image = tiny(name).eval(), torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        full = network(image).logits
        exported = torch.export.export(network, (image,)).module()(image).logits
        last = network.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
        half = network.bfloat16()(image.bfloat16()).logits
    torch.testing.assert_close(exported, full, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last.logits, full, rtol=1e-3, atol=1e-4)
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()


@pytest.mark.parametrize("name", TINY)
def test_one_image_cannot_train(name: str) -> None:
    network = tiny(name).train()
    with pytest.raises(BadArgument, match=r"one image.*2 images or more.*raise train\.batch"):
        network(torch.rand(1, 3, 33, 47))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    network(torch.rand(1, 3, 33, 47)).logits.sum().backward()  # frozen BatchNorm needs no second image


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("channels", [1, 4])
def test_says_which_channels_it_takes(name: str, channels: int) -> None:
    with pytest.raises(BadImage, match="3 channels"):
        tiny(name).eval()(torch.zeros(1, channels, 64, 64))


@pytest.mark.parametrize("kind", [(DeepLabV3, Config), (DeepLabV3Plus, PlusConfig)])
def test_the_auxiliary_head_answers_in_training_only(kind: tuple[type, type]) -> None:
    network, config = kind
    net = network(
        config(encoder="resnet18", test_stride=16, multi_grid=(), width=32, auxiliary=True, classes=5)
    )
    output = net.train()(torch.rand(2, 3, 64, 48))
    assert [aux.shape for aux in output.aux] == [(2, 5, 4, 3)]
    output.aux[0].sum().backward()
    assert net.encoder.body.layer4[0].conv1.weight.grad is None
    assert net.encoder.body.layer3[0].conv1.weight.grad is not None
    assert net.eval()(torch.rand(1, 3, 64, 48)).aux == ()


def test_eval_refines_what_training_sees() -> None:
    """But for image pooling, logits at stride 8 hold those at stride 16: rates are doubled with the map."""
    config = replace(VARIANTS["small"], classes=3)
    fine, coarse = (
        DeepLabV3(config).eval().double(),
        DeepLabV3(replace(config, test_stride=16)).eval().double(),
    )
    coarse.load_state_dict(fine.state_dict())
    for network in (fine, coarse):
        network.context.image.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    image = torch.rand(1, 3, 97, 129, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(fine(image).logits[..., ::2, ::2], coarse(image).logits)


def test_the_cascade_has_no_pyramid() -> None:
    config = Config(encoder="resnet26", cascade=3, multi_grid=(1, 2), classes=3)
    network = DeepLabV3(config).train()
    assert network(torch.rand(1, 3, 64, 48)).logits.shape == (1, 3, 4, 3)  # one image may train it
    assert network.eval()(torch.rand(1, 3, 64, 48)).logits.shape == (1, 3, 8, 6)
    assert not [m for m in network.modules() if isinstance(m, ASPP)]


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_large_100", "convnext_atto", "efficientnet_b0"])
def test_stands_on_any_encoder_that_can_be_dilated(name: str) -> None:
    for architecture, side in (("deeplabv3", 4), ("deeplabv3plus", 16)):
        with torch.device("meta"):
            network = registry.build(f"{architecture}-{name}", classes=3, in_channels=2).eval()
            assert network(torch.zeros(1, 2, 64, 64)).logits.shape == (1, 3, side, side)


def seen_from(convolution: nn.Module, channels: int, side: int) -> set[tuple[int, int]]:
    """Offsets of the pixels that the middle of the output depends on."""
    image = torch.zeros(1, channels, side, side, requires_grad=True)
    convolution(image + torch.rand(1, channels, side, side))[..., side // 2, side // 2].sum().backward()
    rows, columns = torch.nonzero(image.grad[0].abs().sum(0), as_tuple=True)
    return {(int(r) - side // 2, int(c) - side // 2) for r, c in zip(rows, columns, strict=True)}


@pytest.mark.parametrize("separable", ["no", "normed", "bare"])
def test_a_branch_looks_as_far_as_its_rate(separable: str) -> None:
    pyramid = ASPP(4, 8, rates=(2, 3), strides=(8, 16), separable=separable)
    for weight in pyramid.parameters():
        weight.data.abs_()  # so that no ReLU is silent
    for mode, expected in ((True, (2, 3)), (False, (4, 6))):
        for rate, branch in zip(expected, list(pyramid.train(mode).branches)[1:], strict=True):
            grid = {(r, c) for r in (-rate, 0, rate) for c in (-rate, 0, rate)}
            assert seen_from(branch.eval(), 4, 15) == grid


def test_the_image_is_one_value_a_channel() -> None:
    pyramid = ASPP(3, 2, rates=(1,)).eval()
    joined: list[Tensor] = []
    pyramid.project.register_forward_pre_hook(lambda module, inputs: joined.append(inputs[0]))
    maps = torch.rand(2, 3, 5, 4)
    with torch.no_grad():
        pyramid(maps)
        mean = pyramid.image(maps.mean((2, 3), keepdim=True))
    assert joined[0].shape == (2, 6, 5, 4)
    torch.testing.assert_close(joined[0][:, 4:], mean.expand(2, 2, 5, 4))


def test_separable_convolutions_have_their_layers() -> None:
    def layers(kind: str) -> list[str]:
        return [type(m).__name__ for m in conv_norm_act(4, 6, separable=kind)]

    assert layers("no") == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert layers("bare") == ["Conv2d", "Conv2d", "BatchNorm2d", "ReLU"]
    assert layers("normed") == ["Conv2d", "BatchNorm2d", "ReLU"] * 2


def test_weights_begin_as_stated() -> None:
    network = DeepLabV3Plus(PlusConfig(encoder="resnet18", separable="no", classes=21))
    assert network.classify.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not network.classify.bias.any()
    first = network.decoder[0][0].weight
    assert first.std().item() == pytest.approx((2 / first[0].numel()) ** 0.5, rel=0.05)
