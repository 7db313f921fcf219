"""Laws of the dilated networks that no reference is needed for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segmentarium.errors import BadArgument
from segmentarium.losses import SemanticLoss
from segmentarium.models import (
    attention_to_scale,
    deeplabv2,
    dilation_context_net,
    smoothed_dilated_convs,
)
from segmentarium.models.dilation_context_net import Config as DilationConfig
from segmentarium.models.dilation_context_net import ContextModule, DilationContextNet, identity_, reflected
from segmentarium.nn.multi_scale import at_scales, largest
from segmentarium.nn.smoothed_dilation import GroupInteraction

THREE = (1.0, 0.75, 0.5)
V2 = replace(deeplabv2.VARIANTS["tiny"], classes=4)


def picture(*size: int) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(5))


def randomised(network: nn.Module) -> nn.Module:
    """With statistics of BatchNorm that hide nothing."""
    draw = torch.Generator().manual_seed(6)
    for name, tensor in network.state_dict().items():
        if "running" in name:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
    return network


# several scales -------------------------------------------------------------------------------------------


def test_scales_round_down_and_keep_a_pixel() -> None:
    assert [tuple(i.shape[-2:]) for i in at_scales(lambda i: i, picture(5, 1), (1.0, 0.75, 0.5))] == [
        (5, 1), (3, 1), (2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("scales", [(), (1.0, 0.0)])
def test_scales_that_are_none_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(BadArgument, match="above 0"):
        at_scales(lambda i: i, picture(4, 4), scales)


def test_largest_is_taken_pixel_by_pixel_at_the_first_size() -> None:
    maps = [torch.tensor([[1.0, 5.0], [2.0, 0.0]])[None, None], torch.tensor([[3.0]])[None, None]]
    assert largest(maps)[0, 0].tolist() == [[3.0, 5.0], [3.0, 3.0]]


def test_each_scale_answers_in_training_and_counts() -> None:
    torch.manual_seed(2)
    network = deeplabv2.DeepLabV2(replace(V2, scales=THREE)).train()
    output = network(picture(64, 96))
    assert [tuple(one.shape[-2:]) for one in output.aux] == [(8, 12), (6, 9), (4, 6)]
    assert torch.equal(output.logits, largest(output.aux))
    assert network.aux_weights == (1.0, 1.0, 1.0, 1.0)
    loss = SemanticLoss({"cross_entropy": 1.0}, aux=network.aux_weights)
    values = loss(output, torch.zeros(1, 64, 96, dtype=torch.long))
    torch.testing.assert_close(values["loss"], values["cross_entropy"] + values["aux"])
    assert network.eval()(picture(64, 96)).aux == ()


def test_one_scale_has_no_further_answers() -> None:
    assert deeplabv2.DeepLabV2(V2).train()(picture(33, 40)).aux == ()


def test_attention_is_shared_out_over_scales() -> None:
    torch.manual_seed(2)
    config = replace(attention_to_scale.VARIANTS["tiny"], scales=THREE)
    network = attention_to_scale.AttentionToScale(config).eval()
    features = at_scales(network.encoder, picture(40, 56), config.scales)
    weights = network.attention(features)
    assert tuple(weights.shape) == (1, 3, 5, 7)
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 5, 7))
    assert len(network.train()(picture(40, 56)).aux) == 3


def test_attention_wants_the_finest_scale_first() -> None:
    with pytest.raises(BadArgument, match="largest first"):
        attention_to_scale.AttentionToScale(attention_to_scale.Config(scales=(0.5, 1.0)))


# Caffe's ResNet -------------------------------------------------------------------------------------------


def test_the_resnet_is_caffes() -> None:
    with torch.device("meta"):
        body = deeplabv2.DeepLabV2(deeplabv2.Config()).encoder.body
    assert body.maxpool.ceil_mode
    assert body.layer2[0].conv1.stride == (2, 2)
    assert body.layer2[0].conv2.stride == (1, 1)
    for stage, rate in ((body.layer2, 1), (body.layer3, 2), (body.layer4, 4)):
        assert {block.conv2.dilation for block in stage} == {(rate, rate)}


def test_frozen_norm_is_a_norm_in_eval_mode() -> None:
    torch.manual_seed(2)
    config = deeplabv2.Config(encoder="resnet26", scales=(1.0,), classes=3)
    learning = randomised(deeplabv2.DeepLabV2(replace(config, frozen_norm=False))).eval()
    frozen = deeplabv2.DeepLabV2(config).train()
    counters = {name for name in learning.state_dict() if name.endswith("num_batches_tracked")}
    assert set(learning.state_dict()) - set(frozen.state_dict()) == counters
    frozen.load_state_dict({k: v for k, v in learning.state_dict().items() if k not in counters})
    image = picture(17, 25)
    torch.testing.assert_close(frozen(image).logits, learning(image).logits, rtol=1e-4, atol=1e-5)


# smoothed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", ["group_interaction", "separable_shared"])
def test_smoothed_network_begins_as_deeplabv2(smoothing: str) -> None:
    torch.manual_seed(2)
    plain = randomised(deeplabv2.DeepLabV2(V2)).double().eval()
    config = replace(smoothed_dilated_convs.VARIANTS["tiny"], smoothing=smoothing, classes=4)
    smoothed = smoothed_dilated_convs.SmoothedDilatedConvs(config).double().eval()
    missing, unexpected = smoothed.load_state_dict(plain.state_dict(), strict=False)
    assert {name.rpartition(".")[2] for name in missing} == {"offset"}
    assert not unexpected
    image = picture(45, 70).double()
    torch.testing.assert_close(smoothed(image).logits, plain(image).logits, rtol=1e-9, atol=1e-12)


def test_every_dilated_convolution_of_the_resnet_is_smoothed() -> None:
    with torch.device("meta"):
        network = smoothed_dilated_convs.SmoothedDilatedConvs(smoothed_dilated_convs.Config())
    rates = [m.rate for m in network.encoder.modules() if isinstance(m, GroupInteraction)]
    assert rates == [2] * 23 + [4] * 3


# context --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 2, 5, 16])
def test_reflection_is_numpys(side: int) -> None:
    image = picture(side, 7)
    edges = ((0, 0), (0, 0), (11, 11 + -side % 8), (11, 12))
    wanted = np.pad(image.numpy(), edges, mode="reflect")
    assert torch.equal(reflected(image, 11, unit=8), torch.from_numpy(wanted))


def test_front_end_looks_as_far_as_the_paper_says() -> None:
    with torch.device("meta"):
        network = DilationContextNet(dilation_context_net.VARIANTS["front_end"])
        assert network.front_end.margin == 186
        assert network(torch.zeros(1, 3, 528, 1024)).logits.shape[-2:] == (66, 128)


def test_eight_pixels_on_the_image_are_one_on_the_map() -> None:
    torch.manual_seed(2)
    config = replace(dilation_context_net.VARIANTS["tiny"], rates=(), multiples=())
    network = DilationContextNet(config).double().eval()
    edge = -(-network.front_end.margin // 8)  # pixels of the map that see what lies beyond the image
    image = picture(32, 8 * (2 * edge + 6)).double()
    here, beside = network(image).logits, network(image[..., 8:]).logits
    torch.testing.assert_close(beside[..., edge:-edge], here[..., edge + 1 : -edge], rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", ["paper", "basic", "dilation10_cityscapes"])
def test_context_begins_by_handing_through(variant: str) -> None:
    config = replace(dilation_context_net.VARIANTS[variant], classes=3)
    module = ContextModule(config).double()
    maps = torch.rand(1, 3, 5, 6, dtype=torch.float64)
    near = module(maps)
    for convolution in (*module.layers, module.classify):
        identity_(convolution, groups=3, noise=0.0)
    torch.testing.assert_close(module(maps), maps, rtol=0, atol=1e-12)
    assert 0 < (near - maps).abs().max() < 0.5


def test_identity_shares_channels_out_by_class() -> None:
    wide = nn.Conv2d(2, 6, 1)
    identity_(wide, groups=2, noise=0.0)
    third = torch.tensor(1 / 3)
    assert torch.equal(wide.weight[..., 0, 0], torch.eye(2).repeat_interleave(3, 0) * third)


def test_padding_first_or_at_each_layer_differs_at_the_edge_alone() -> None:
    torch.manual_seed(2)
    config = DilationConfig(rates=(1, 2), multiples=(1, 2), classes=2)
    first, each = ContextModule(config).double(), ContextModule(replace(config, pad_first=False)).double()
    for convolution in first.layers:
        nn.init.normal_(convolution.weight)
        nn.init.normal_(convolution.get_parameter("bias"))
    each.load_state_dict(first.state_dict())
    maps = torch.randn(1, 2, 9, 9, dtype=torch.float64)
    gap = (first(maps) - each(maps)).abs().amax((0, 1))
    assert gap[2:-2, 2:-2].max() < 1e-12 < 1e-3 < gap[0].max()
