"""HRNet, OCRNet and hierarchical attention: what no library has to compare with, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import segmentarium.models as registry
from segmentarium.backbones.hrnet import TINY, HRNet, join
from segmentarium.errors import BadArgument
from segmentarium.models.hmsa import HMSA, blend
from segmentarium.models.hmsa import VARIANTS as HMSA_VARIANTS
from segmentarium.models.hrnet import HighResolutionPyramid
from segmentarium.nn.object_context import ObjectAttention, objects

SIZES = [(33, 47), (64, 64), (1, 1), (1, 70), (130, 7)]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def hmsa(**changes: object) -> HMSA:
    return HMSA(replace(HMSA_VARIANTS["tiny"], classes=4, **changes)).eval()


@pytest.mark.parametrize("up", ["bilinear", "aligned", "nearest"])
@pytest.mark.parametrize("size", SIZES)
def test_streams_halve_and_round_up(size: tuple[int, int], up: str) -> None:
    body = HRNet(replace(TINY, up=up)).eval()
    with torch.no_grad():
        streams = body(torch.rand(1, 3, *size))
    shapes = [
        (1, c, -(-size[0] // s), -(-size[1] // s)) for c, s in zip(body.channels, body.strides, strict=True)
    ]
    assert [tuple(own.shape) for own in streams] == shapes
    assert join(streams, by=up).shape == (1, sum(body.channels), *shapes[0][2:])


def test_every_stream_hears_every_other() -> None:
    body = HRNet(TINY).eval()
    heard: list[Tensor] = []
    body.stage4.register_forward_pre_hook(lambda _, inputs: heard.extend(inputs[0]))
    streams = body(torch.rand(1, 3, 64, 64))
    for own in streams:
        told = torch.autograd.grad(own.sum(), heard, retain_graph=True)
        assert all(gradient.any() for gradient in told)


@pytest.mark.parametrize("name", ["hrnetv1", "hrnetv2", "ocrnet"])
@pytest.mark.parametrize("size", SIZES)
def test_logits_are_a_quarter_of_the_image(name: str, size: tuple[int, int]) -> None:
    network = registry.build(f"{name}-tiny", classes=4).eval()
    with torch.no_grad():
        output = network(torch.rand(1, 3, *size))
    assert output.logits.shape == (1, 4, -(-size[0] // 4), -(-size[1] // 4))
    assert output.aux == ()


@pytest.mark.parametrize("size", SIZES)
def test_hierarchical_logits_are_as_large_as_the_image(size: tuple[int, int]) -> None:
    with torch.no_grad():
        for scales in ((), (1.0,), (0.25, 0.5, 1.0, 1.5, 2.0)):
            assert hmsa()(torch.rand(1, 3, *size), scales=scales).logits.shape == (1, 4, *size)


def test_pyramid_averages_and_halves() -> None:
    pyramid = HighResolutionPyramid((2, 3), 8)
    pyramid.smooth = nn.ModuleList(nn.Identity() for _ in pyramid.strides)
    joined = torch.rand(1, 5, 32, 48)
    levels = pyramid(joined)
    assert [tuple(own.shape[2:]) for own in levels] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    torch.testing.assert_close(levels[4][0, :, 0, 0], pyramid.reduce(joined)[0, :, :16, :16].mean((1, 2)))


def test_a_detector_wants_a_truth_an_image() -> None:
    with pytest.raises(BadArgument, match="0 truths for 2 images"):
        registry.build("hrnetv2p-tiny", classes=2).terms(torch.rand(2, 3, 64, 64), [])


def test_frozen_norms_do_not_learn() -> None:
    with torch.device("meta"):
        network = registry.build("hrnetv2p-w18", classes=2)
    assert not [name for name, _ in network.body.named_parameters() if "bn" in name]


def test_objects_are_means_of_their_regions() -> None:
    pixels, logits = torch.rand(1, 3, 2, 2), torch.zeros(1, 2, 2, 2)
    logits[0, 1, 1, 0] = 100.0
    found = objects(pixels, logits)
    assert found.shape == (1, 3, 2, 1)
    torch.testing.assert_close(found[0, :, 0, 0], pixels[0].mean((1, 2)))
    torch.testing.assert_close(found[0, :, 1, 0], pixels[0, :, 1, 0])


def test_alike_objects_give_every_pixel_the_same_context() -> None:
    attend = ObjectAttention(6, 4).eval()
    alike = torch.rand(1, 6, 1, 1).expand(-1, -1, 3, -1)
    context = attend(torch.rand(1, 6, 4, 5), alike)
    torch.testing.assert_close(context, context[..., :1, :1].expand_as(context))


def test_object_context_stands_on_any_encoder_that_can_be_dilated() -> None:
    with torch.device("meta"):
        network = registry.build("ocrnet-resnet18", classes=3, in_channels=2).train()
        output = network(torch.zeros(2, 2, 64, 48))
    assert output.logits.shape == output.aux[0].shape == (2, 3, 8, 6)


@pytest.mark.parametrize(("attention", "believed"), [(0.0, "finer"), (1.0, "look")])
def test_attention_chooses_between_looks(attention: float, believed: str) -> None:
    finer, look = torch.full((1, 2, 8, 8), 3.0), torch.full((1, 2, 4, 4), 5.0)
    for coarse, size in ((True, (8, 8)), (False, (4, 4))):
        found = blend(finer, look, torch.full((1, 1, 4, 4), attention), coarse=coarse)
        assert found.shape == (1, 2, *size)
        torch.testing.assert_close(found, torch.full_like(found, {"finer": 3.0, "look": 5.0}[believed]))


def test_one_scale_is_one_look() -> None:
    network, image = hmsa(), torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        assert network(image, scales=(1.0,)).logits.equal(network._look(image, 1.0).logits)
        assert network(image, scales=(1.0, 0.5)).logits.equal(network(image).logits)


def test_training_teaches_the_pair_the_regions_and_each_look() -> None:
    network = hmsa().train()
    logits, aux = network(torch.rand(2, 3, 40, 56))
    assert [own.shape for own in (logits, *aux)] == [(2, 4, 40, 56)] * 4
    assert len(network.aux_weights) == 1 + len(aux)


@pytest.mark.parametrize(
    "scales", [(0.5,), (0.5, 2.0), (0.0, 1.0), (-1.0, 1.0), (1.0, float("nan")), (1.0, float("inf"))]
)
def test_scales_are_above_zero_and_hold_one(scales: tuple[float, ...]) -> None:
    with pytest.raises(BadArgument, match="numbers above 0, 1 among them"):
        hmsa()(torch.rand(1, 3, 32, 32), scales=scales)
