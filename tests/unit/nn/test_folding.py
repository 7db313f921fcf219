"""Norms go into convolutions where that changes nothing, and nowhere else; prepared networks answer alike."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import segmentarium.models as registry
from segmentarium.models import build
from segmentarium.nn import Regions, SemanticRegions, layout, winograd
from segmentarium.nn.detection_trunk import FrozenNorm
from segmentarium.nn.folding import Pair, consecutive, folded
from segmentarium.nn.inference import prepared
from segmentarium.nn.layout import small_image
from segmentarium.nn.winograd import WinogradConvolution

TINY = [f"{name}-tiny" for name in registry.architectures()]


def lively(network: nn.Module) -> Any:
    """``network`` in evaluation mode, with norms that hide nothing."""
    draw = torch.Generator().manual_seed(9)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.uniform_(-0.5, 0.5, generator=draw)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=draw)
    for module in network.modules():
        if getattr(module, "running_var", None) is not None and module.weight is not None:
            module.weight.data.uniform_(0.5, 1.5, generator=draw)
            module.bias.data.uniform_(-0.5, 0.5, generator=draw)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(getattr(module, "running_var", None) is not None for module in network.modules())


def numbers(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() and output.numel() else []
    return [tensor for part in output or () for tensor in numbers(part)]


def assert_near(seen: Any, expected: Any, tolerance: float) -> None:
    for own, their in zip(numbers(seen), numbers(expected), strict=True):
        assert (own - their).abs().max() <= tolerance * their.abs().max().clamp_min(1e-3)


@torch.no_grad()
@pytest.mark.parametrize(
    "pair",
    [
        nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6)),
        nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
        nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6)),
        nn.Sequential(nn.ConvTranspose2d(4, 6, 2, 2, groups=2, bias=False), nn.BatchNorm2d(6)),
        nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, affine=False)),
        nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(6)),
        nn.Sequential(nn.Conv2d(4, 6, 1), FrozenNorm(lively(nn.BatchNorm2d(6)))),
        nn.Sequential(nn.Conv2d(4, 6, 1), nn.InstanceNorm2d(6, affine=True, track_running_stats=True)),
    ],
)
def test_pairs_become_one(pair: nn.Sequential) -> None:
    image, before = torch.rand(2, 4, 9, 8), deepcopy(lively(pair).state_dict())
    joined = folded(pair, image)
    assert norms(joined) == 0
    assert_near(joined(image), pair(image), 1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in pair.state_dict().items())
    assert norms(pair) == 1


def test_volumes_are_folded() -> None:
    pair = lively(nn.Sequential(nn.Conv3d(2, 3, 3), nn.BatchNorm3d(3)))
    image = torch.rand(1, 2, 5, 5, 5)
    assert norms(folded(pair, image)) == 0
    assert_near(folded(pair, image)(image), pair(image), 1e-5)


def test_the_activation_of_timm_stays() -> None:
    layers = pytest.importorskip("timm.layers")
    pair = lively(nn.Sequential(nn.Conv2d(3, 5, 1), layers.BatchNormAct2d(5, act_layer=nn.SiLU)))
    image = torch.rand(1, 3, 6, 6)
    joined = folded(pair, image)
    assert isinstance(joined[1], nn.SiLU)
    assert_near(joined(image), pair(image), 1e-5)


class Parts(nn.Module):
    """A convolution, a norm, and what ``flow`` says becomes of a picture."""

    def __init__(self, flow: Any) -> None:
        super().__init__()
        self.convolve, self.norm, self.flow = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), flow
        self.other = nn.BatchNorm2d(3)
        self.tied = nn.Conv2d(3, 3, 1)
        self.tied.weight = self.convolve.weight

    def forward(self, image: Tensor) -> Any:
        return self.flow(self, image)


def through(flow: Any) -> Parts:
    parts = Parts(flow)
    del parts.tied
    return lively(parts)


STAYS = {
    "the convolution's output is read twice": lambda m, x: (y := m.convolve(x), m.norm(y) + y)[1],
    "the network answers with it": lambda m, x: (y := m.convolve(x), (m.norm(y), y))[1],
    "a view of it is read": lambda m, x: (y := m.convolve(x), m.norm(y) + y[:, :1])[1],
    "an activation stands between": lambda m, x: m.norm(m.convolve(x).relu()),
    "it is changed in place between": lambda m, x: m.norm(m.convolve(x).mul_(2)),
    "it is changed in place after": lambda m, x: (y := m.convolve(x), z := m.norm(y), y.add_(1), z)[2],
    "the norm comes first": lambda m, x: m.convolve(m.norm(x)),
    "the norm also reads something else": lambda m, x: m.norm(m.convolve(x)) + m.norm(x),
    "two norms read it": lambda m, x: (y := m.convolve(x), m.norm(y) + m.other(y))[1],
    "each norm reads another run": lambda m, x: m.norm(m.convolve(x)) + m.other(m.convolve(x)),
    "the convolution also runs without a norm": lambda m, x: m.norm(m.convolve(x)) + m.convolve(x),
    "its weight is computed": lambda m, x: m.norm(
        functional.conv2d(x, m.convolve.weight / m.convolve.weight.norm(), m.convolve.bias)
    ),
    "nothing runs": lambda m, x: x,
}


@pytest.mark.parametrize("why", STAYS)
def test_what_is_not_proved_stays(why: str) -> None:
    network, image = through(STAYS[why]), torch.rand(1, 3, 5, 5)
    assert consecutive(network, image) == []
    with torch.no_grad():
        assert_near(folded(network, image)(image), network(image), 0)


def test_a_pair_that_runs_twice_is_folded() -> None:
    network, image = (
        through(lambda m, x: m.norm(m.convolve(x)) + m.norm(m.convolve(x + 1))),
        torch.rand(1, 3, 5, 5),
    )
    assert consecutive(network, image) == [Pair("convolve", "norm")]
    with torch.no_grad():
        assert_near(folded(network, image)(image), network(image), 1e-5)


def test_a_shared_weight_stays() -> None:
    network = lively(Parts(lambda m, x: m.norm(m.convolve(x)) + m.tied(x)))
    assert consecutive(network, torch.rand(1, 3, 5, 5)) == []


def test_a_norm_under_two_names_stays() -> None:
    network = through(lambda m, x: m.norm(m.convolve(x)))
    network.again = network.norm
    assert consecutive(network, torch.rand(1, 3, 5, 5)) == []


def test_statistics_of_the_batch_stay() -> None:
    pair = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    assert consecutive(pair, torch.rand(2, 3, 5, 5)) == []
    pair = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    pair[1].train()
    assert consecutive(pair, torch.rand(2, 3, 5, 5)) == []


@pytest.mark.parametrize("name", TINY)
def test_every_network_answers_alike(name: str) -> None:
    torch.manual_seed(2)
    network = lively(build(name, classes=3)).double()
    image = small_image(network)
    with torch.no_grad():
        expected = network(image)
        if not isinstance(expected, Regions | SemanticRegions):  # of which the order may differ
            assert_near(prepared(network)(image), expected, 1e-9)


@pytest.mark.parametrize("name", ["unet-tiny", "deeplabv3-tiny", "hrnetv2-tiny", "mask2former-tiny"])
def test_networks_by_winograd_answer_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "GIVE_WAY", True)
    monkeypatch.setattr(layout, "LEAST_WIDE", 0.0)
    torch.manual_seed(2)
    network = lively(build(name, classes=3))
    quick, image = prepared(network), torch.rand(1, 3, 130, 97)
    assert is_by_winograd(quick)
    with torch.no_grad():
        assert_near(quick(image), network(image), 1e-3)


def is_by_winograd(network: nn.Module) -> bool:
    return any(isinstance(module, WinogradConvolution) for module in network.modules())


def test_threads_that_spin_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build("fpn_segmentation-tiny", classes=3)
    monkeypatch.setattr(layout, "LEAST_WIDE", 0.0)
    monkeypatch.setattr(winograd, "GIVE_WAY", False)
    for threads, expected in ((2, False), (1, True)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert is_by_winograd(prepared(network)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("unet-small", 0.52), ("hrnetv2-small", 0.58), ("linknet-resnet18", 0.9), ("segmenter_mask-tiny", 0.0)],
)
def test_narrow_networks_go_without(name: str, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "GIVE_WAY", True)
    network = build(name, classes=3)
    share = layout.wide_share(network, small_image(network))
    assert share == pytest.approx(expected, abs=0.08)
    assert is_by_winograd(prepared(network)) == (share >= layout.LEAST_WIDE)


def test_wide_networks_are_trained_plane_by_plane_on_a_cpu() -> None:
    for name, expected in (
        ("unet-small", torch.channels_last),
        ("unet-resnet34", torch.contiguous_format),
        ("unet_3d-tiny", torch.channels_last_3d),
    ):
        network = build(name, classes=3)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        assert layout.training_layout(network) == expected
        assert network.training
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert layout.training_layout(build("unet-resnet34", classes=3).to("meta")) == torch.channels_last
    assert layout.training_layout(nn.Conv2d(64, 64, 3)) == torch.channels_last


def test_no_norm_is_left_in_the_usual_networks() -> None:
    for name in ("unet-tiny", "deeplabv3-tiny", "mask2former-tiny", "mask_rcnn-tiny"):
        network = lively(build(name, classes=3))
        assert norms(network) > 0
        assert norms(prepared(network)) == 0
