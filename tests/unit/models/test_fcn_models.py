"""FCN, FCN on a ResNet and the sliding window: what no library has to compare with."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import segmentarium.models as registry
from segmentarium.errors import BadArgument, WeightsMismatch
from segmentarium.models.fcn import PAPER, TINY, VARIANTS, Config, FCN8s, FCN16s, FCN32s
from segmentarium.models.sliding_window_patch_classifier import VARIANTS as WINDOWS
from segmentarium.models.sliding_window_patch_classifier import SlidingWindowPatchClassifier
from segmentarium.nn.patch_network import PatchNetwork, mirrored, slide
from segmentarium.ops.tiles import mirror_index

NARROW = replace(PAPER, widths=(4, 4, 6, 6, 8), fc_width=12, classes=3)
NETWORKS = (FCN32s, FCN16s, FCN8s)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def drawn(network: nn.Module, *, kept: str = "enlarge") -> nn.Module:
    """``network`` with weights that hide nothing, but ``kept`` as it begins; in float64 and eval mode."""
    for name, tensor in network.named_parameters():
        if not name.startswith(kept):
            nn.init.normal_(tensor, std=0.5 if tensor.ndim > 1 else 0.1)
    return network.double().eval()


def scores(network: Any, image: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network(image).logits
        return logits


@pytest.mark.parametrize("network", NETWORKS)
def test_answers_at_the_size_of_any_image(network: Any) -> None:
    with torch.device("meta"):
        for config, period in ((NARROW, 32), (TINY, 8)):
            made = network(config)
            for side in range(1, period + 2):
                size = (side, 2 * period - side)
                assert made(torch.zeros(1, 3, *size)).logits.shape == (1, config.classes, *size)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("config", "side"),
    [(NARROW, 58), (replace(NARROW, fc_kernel=9, padding=140), 42), (replace(TINY, classes=3), 40)],
)
def test_the_crops_are_centred(network: Any, config: Config, side: int) -> None:
    """Where poolings divide evenly, a mirrored image through mirrored kernels gives mirrored scores."""
    plain, turned = drawn(network(config)), network(config).double().eval()
    state = plain.state_dict()
    turned.load_state_dict({k: t.flip(-1) if t.ndim == 4 else t for k, t in state.items()})
    image = torch.randn(1, 3, side, side).double()
    torch.testing.assert_close(scores(turned, image.flip(-1)).flip(-1), scores(plain, image))


def test_each_stage_begins_as_the_one_before() -> None:
    image = torch.randn(1, 3, 58, 58).double()
    before = drawn(FCN32s(NARROW))
    for kind, added in ((FCN16s, "16"), (FCN8s, "8")):
        after = kind(NARROW).double().eval()
        told = after.load_state_dict(before.state_dict(), strict=False)
        assert {key.split(".")[1] for key in told.missing_keys if key.startswith("score")} == {added}
        assert all(key.startswith("enlarge") for key in told.unexpected_keys)
        assert not [key for key in told.missing_keys if key.startswith(("trunk", "fc"))]
        old, new = scores(before, image), scores(after, image)
        assert torch.corrcoef(torch.stack([old.flatten(), new.flatten()]))[0, 1] > 0.98
        before = drawn(after, kept="")


def classifier(depths: tuple[int, ...], widths: tuple[int, ...], hidden: int) -> nn.Module:
    """A VGG as torchvision lays it out."""
    features: list[nn.Module] = []
    inputs = 3
    for depth, width in zip(depths, widths, strict=True):
        for _ in range(depth):
            features += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        features.append(nn.MaxPool2d(2))
    connected = [nn.Linear(inputs * 49, hidden), nn.ReLU(), nn.Dropout()]
    connected += [nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, 10)]
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*features), flat=nn.Flatten(), classifier=nn.Sequential(*connected)
        )
    )


def test_begins_with_a_classifier_that_it_makes_convolutional() -> None:
    vgg: Any = classifier(NARROW.depths, NARROW.widths, NARROW.fc_width).eval()
    network: Any = FCN32s(NARROW).eval()
    network.begin_with(vgg.state_dict())
    assert not network.score["32"].weight.any()
    network.trunk[0][0].padding = (1, 1)
    image = maps = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        for group in network.trunk:
            maps = functional.max_pool2d(group(maps), 2)
        found = network.fc7(network.fc6(maps).relu()).relu()
        expected = vgg.classifier[:6](vgg.features(image).flatten(1))
    torch.testing.assert_close(found.flatten(1), expected)


def test_takes_torchvisions_vgg_16_and_no_other() -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        FCN8s(PAPER).begin_with(torchvision.models.vgg16(weights=None).state_dict())
        for other in (torchvision.models.vgg19, torchvision.models.vgg16_bn):
            with pytest.raises(WeightsMismatch, match="vgg16"):
                FCN8s(PAPER).begin_with(other(weights=None).state_dict())


@pytest.mark.parametrize(
    ("name", "learned"),
    [
        ("fcn_8s", {"32_to_16", "16_to_8"}),
        ("fcn_8s-at_once", set()),
        ("fcn_16s", {"32_to_16"}),
        ("fcn_32s", set()),
    ],
)
def test_which_enlargements_are_learned(name: str, learned: set[str]) -> None:
    with torch.device("meta"):
        network: Any = registry.build(name, classes=21)
    assert {key for key, layer in network.enlarge.items() if layer.weight.requires_grad} == learned


def test_fixed_learns_scores_alone() -> None:
    with torch.device("meta"):
        network = registry.build("fcn_32s-fixed", classes=21)
    assert {n.split(".")[0] for n, p in network.named_parameters() if p.requires_grad} == {"score"}


def test_one_enlargement_for_each_class_is_the_same_at_the_start() -> None:
    dense, apart = drawn(FCN8s(NARROW)), FCN8s(replace(NARROW, grouped=True)).double().eval()
    state = {k: t for k, t in dense.state_dict().items() if not k.startswith("enlarge")}
    apart.load_state_dict(state, strict=False)
    image = torch.randn(1, 3, 40, 33).double()
    torch.testing.assert_close(scores(apart, image), scores(dense, image))


def test_at_once_scales_what_is_scored() -> None:
    once = drawn(FCN8s(replace(NARROW, scales=VARIANTS["fcn_8s"]["at_once"].scales)))
    staged = FCN8s(NARROW).double().eval()
    staged.load_state_dict(once.state_dict())
    with torch.no_grad():
        staged.score["16"].weight *= 0.01
        staged.score["8"].weight *= 0.0001
    image = torch.randn(1, 3, 40, 33).double()
    torch.testing.assert_close(scores(staged, image), scores(once, image))


@pytest.mark.parametrize(
    ("setting", "told"),
    [({"padding": 96}, "97 and more"), ({"fc_kernel": 6}, "odd numbers"), ({"fc_kernel": 3}, "odd numbers")],
)
def test_refuses_a_border_that_is_too_small(setting: dict[str, int], told: str) -> None:
    with pytest.raises(BadArgument, match=told):
        FCN32s(replace(NARROW, **setting))


def test_the_second_head_answers_in_training_and_counts_as_its_library_says() -> None:
    for name, weight in (("torchvision_r50", 0.5), ("mmseg_r50", 0.4)):
        with torch.device("meta"):
            network: Any = registry.build(f"fcn_resnet-{name}", classes=4)
            assert network.aux_weights == (1.0, weight)
            image = torch.zeros(2, 3, 33, 47)
            assert network.train()(image).aux[0].shape == network(image).logits.shape == (2, 4, 5, 6)
            assert network.eval()(image).aux == ()


# --- the sliding window ---


def windowed(**settings: Any) -> Any:
    return drawn(SlidingWindowPatchClassifier(replace(WINDOWS["tiny"], **settings)), kept="none")


@pytest.mark.atlas("C19")
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("pools", [(2, 2), (3, 2), (1, 4), (2, 3)])
@pytest.mark.parametrize("size", [(1, 1), (9, 12), (2, 30)])
def test_one_pass_gives_what_the_windows_give(
    stride: int, pools: tuple[int, int], size: tuple[int, int]
) -> None:
    network = windowed(stride=stride, pools=pools)
    image = torch.randn(2, 3, *size).double()
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        with torch.no_grad():
            dense = network.to(dtype)(image.to(dtype)).logits
            apart = network.patch_by_patch(image.to(dtype), batch=7).logits
        assert dense.shape == (2, 3, -(-size[0] // stride), -(-size[1] // stride))
        assert (dense - apart).abs().max() < tolerance * apart.abs().max()


def test_the_papers_network_gives_what_its_windows_give() -> None:
    network = drawn(SlidingWindowPatchClassifier(WINDOWS["paper"]), kept="none")
    image = torch.randn(1, 1, 4, 5).double()
    with torch.no_grad():
        torch.testing.assert_close(network.patch_by_patch(image).logits, network(image).logits)


def test_the_papers_network_is_n4() -> None:
    network: Any = SlidingWindowPatchClassifier(WINDOWS["paper"]).network
    maps, sides = torch.zeros(1, 1, 95, 95), []
    for layer, pool in zip(network.convolutions, network.pools, strict=True):
        maps = layer(maps)
        sides.append(maps.shape[-1])
        maps = functional.max_pool2d(maps, pool)
        sides.append(maps.shape[-1])
    assert network.side == 95
    assert sides == [92, 46, 42, 21, 18, 9, 6, 3]
    convolutions = 48 * (16 + 1) + 48 * (48 * 25 + 1) + 2 * 48 * (48 * 16 + 1)
    connected = 200 * (48 * 9 + 1) + 2 * (200 + 1)
    assert sum(p.numel() for p in network.parameters()) == convolutions + connected == 219_290


def test_a_pixel_hears_its_window_and_nothing_else() -> None:
    network = windowed(stride=1)
    side = network.network.side
    image = torch.randn(1, 3, 61, 67, dtype=torch.float64, requires_grad=True)
    network(image).logits[0, :, 30, 33].sum().backward()
    heard = image.grad.abs().sum((0, 1)) > 0
    rows, columns = (heard.any(axis).nonzero().flatten() for axis in (1, 0))
    assert rows[0] >= 30 - side // 2
    assert rows[-1] < 30 - side // 2 + side
    assert columns[0] >= 33 - side // 2
    assert columns[-1] < 33 - side // 2 + side
    assert len(rows) > side - 4


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_a_stride_keeps_the_middle_of_each_block(stride: int) -> None:
    every, some = windowed(stride=1), windowed(stride=stride)
    some.load_state_dict(every.state_dict())
    image = torch.randn(1, 3, 24, 36).double()
    middle = slice((stride - 1) // 2, None, stride)
    torch.testing.assert_close(scores(some, image), scores(every, image)[:, :, middle, middle])


def test_mirrors_as_tiles_are_mirrored() -> None:
    for length in (1, 2, 5):
        line = torch.arange(length).float().expand(1, 1, 2, length)
        found = mirrored(line, -7, size=(3, 20))
        assert found[0, 0, 0].tolist() == mirror_index(-7, 13, length).tolist()


def test_any_classifier_can_slide() -> None:
    image = torch.randn(2, 3, 11, 9)
    found = slide(lambda windows: windows.mean((2, 3)), image, side=5, stride=2)
    torch.testing.assert_close(found, functional.avg_pool2d(image, 5, stride=2))


def test_the_coarser_the_cheaper() -> None:
    network = PatchNetwork(3, 2, widths=(4, 6), kernels=(3, 3), pools=(2, 2), last=3, hidden=8)
    costs = []
    for stride in (1, 2, 4):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.dense(torch.randn(1, 3, 64, 64), stride=stride)
        costs.append(counter.get_total_flops())
    assert costs[0] > 2 * costs[1]
    assert costs[1] > 1.2 * costs[2]
