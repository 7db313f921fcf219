"""HRNet, OCRNet and hierarchical attention give the numbers of timm and those recorded of five programs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rule import fill, image_by_rule, tap, taps
from safetensors.torch import load_file
from torch import Tensor, nn

import segmentarium.models as registry
from segmentarium.backbones.hrnet import W18, W48, HRNet, HRNetConfig
from segmentarium.models.hmsa import HMSA
from segmentarium.models.hmsa import Config as HMSAConfig
from segmentarium.models.hrnet import VARIANTS, Config, HRNetV1, HRNetV2, HRNetV2p
from segmentarium.models.ocrnet import Config as OCRConfig
from segmentarium.models.ocrnet import OCRNet
from segmentarium.nn.object_context import Context
from segmentarium.weights import read_card

SEED = 1904
PRECISIONS = ((torch.float32, 1e-4), (torch.float64, 1e-6))
NARROW = HRNetConfig(width=8, first=8, bottlenecks=2, exchanges=(1, 2, 1), blocks=1)
ALIGNED = replace(NARROW, up="aligned")
CHAIN = Context(width=24, keys=12)
WALKS = {"two": (0.5, 1.0), "published": (0.5, 1.0, 2.0), "four": (0.25, 0.5, 1.0, 1.5)}
BODY = (
    "layer1", "transition1.1", "transition3.3", "stage2.0.branches.1", "stage3.1.fuse_layers.0.2.1",
    "stage3.1.fuse_layers.2.0", "stage4.0.branches.0", "stage4.0.branches.3",
)  # fmt: skip
HEAD = (
    "regions.0", "pixels.0", "attend.query.1.0", "attend.key.1.0", "attend.value.0", "attend.up.0", "join.0",
    "classify",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A network of ours and the paths of its modules whose maps are compared."""

    kind: type[nn.Module]
    config: Any
    body: str
    head: tuple[str, ...]

    @cached_property
    def network(self) -> Any:
        return self.kind(self.config).eval()

    @property
    def paths(self) -> list[str]:
        return [f"{self.body}.{path}" for path in BODY] + list(self.head)


OCR = tuple(f"head.{path}" for path in HEAD)
ASPP = replace(CHAIN, rates=(2, 4, 6), region_kernel=3, region_width=20, bias=False)
CASES = {
    "v2": Case(HRNetV2, Config(body=NARROW, classes=5), "body", ("mix.0", "classify")),
    "v2_mmseg": Case(HRNetV2, Config(body=NARROW, bias=False, classes=5), "body", ("mix.0", "classify")),
    "v2p": Case(
        HRNetV2p,
        replace(VARIANTS["hrnetv2p"]["tiny"], body=NARROW),
        "body",
        ("pyramid.reduce", *(f"pyramid.smooth.{i}" for i in range(5))),
    ),
    "ocr": Case(OCRNet, OCRConfig(body=ALIGNED, context=CHAIN, classes=5), "encoder", OCR),
    "ocr_mmseg": Case(
        OCRNet, OCRConfig(body=NARROW, context=replace(CHAIN, bias=False), classes=5), "encoder", OCR
    ),
    "ocr_aspp": Case(
        OCRNet,
        OCRConfig(body=ALIGNED, context=ASPP, classes=5),
        "encoder",
        (*OCR, "head.pyramid.0.0", "head.pyramid.3.0"),
    ),
    "hmsa": Case(HMSA, HMSAConfig(body=NARROW, context=CHAIN, attention_width=16, classes=5), "body", ()),
}
ODD, EVEN, SMALL = (1, 3, 59, 75), (1, 3, 64, 128), (1, 3, 45, 61)
IMAGES = {
    "v2": ODD,
    "v2_mmseg": EVEN,
    "v2p": EVEN,
    "ocr": ODD,
    "ocr_mmseg": EVEN,
    "ocr_aspp": ODD,
    "hmsa": ODD,
}


def filled(case: str, dtype: torch.dtype) -> Any:
    """The network by the rule, but for two scales: large logits would let softmaxes choose one pixel."""
    network = CASES[case].network.to(dtype)
    fill(network, SEED)
    if hasattr(network, "head"):
        for layer in (network.head.regions[-1], network.head.attend.query[-1][1]):
            layer.weight.data.mul_(0.01)
            layer.bias.data.mul_(0.01)
    return network


def largest_error(seen: Tensor, expected: Tensor) -> float:
    return ((seen - expected).abs().max() / expected.abs().max()).item()


def answers(case: str, image: Tensor) -> dict[str, Tensor]:
    """What of our network is compared, as far as it is recorded."""
    network = CASES[case].network
    if case != "hmsa":
        return taps(network, image, {path: path for path in CASES[case].paths})
    with torch.no_grad():
        seen = {name: network(image, scales=scales).logits for name, scales in WALKS.items()}
        network.training = True  # of the network alone: its parts answer as in eval mode
        joint, (regions, low, high) = network(image)
        network.training = False
    seen |= {"joint": joint, "regions": regions, "low": low, "high": high}
    return {name: tap(maps) for name, maps in seen.items()}


@pytest.mark.parametrize("case", CASES)
def test_recorded_numbers(case: str) -> None:
    held = load_file(Path(__file__).with_name("hrnet.safetensors"))
    expected = {name.partition(".")[2]: t for name, t in held.items() if name.startswith(f"{case}.")}
    for dtype, tolerance in PRECISIONS:
        filled(case, dtype)
        seen = answers(case, image_by_rule(IMAGES[case], SEED).to(dtype))
        assert seen.keys() == expected.keys()
        for name, value in expected.items():
            error = largest_error(seen[name], value)
            assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


def timm_body(name: str) -> nn.Module:
    return timm.create_model(name, features_only=True, feature_location="").eval()


def test_equals_timm_map_by_map() -> None:
    """Random weights go over by name, for the names are the same."""
    reference, body = timm_body("hrnet_w18"), HRNet(replace(W18, up="nearest")).eval()
    fill(reference, SEED)
    body.load_state_dict(reference.state_dict())
    paths = {path: path for path in (*BODY, "stage3.3.branches.1", "stage4.2.fuse_layers.3.0")}
    for dtype, tolerance in PRECISIONS:
        image = image_by_rule((1, 3, 64, 96), SEED).to(dtype)
        expected, seen = (taps(one.to(dtype), image, paths) for one in (reference, body))
        for name, value in expected.items():
            assert largest_error(seen[name], value) < tolerance, f"first difference at {name}"
        with torch.no_grad():
            pairs = zip(body(image), reference(image)[1:], strict=True)
            assert max(largest_error(a, b) for a, b in pairs) < tolerance


@pytest.mark.parametrize(("name", "config"), [("hrnet_w48", W48), ("hrnet_w18_small_v2", "small")])
def test_large_bodies_have_timms_tensors(name: str, config: HRNetConfig | str) -> None:
    with torch.device("meta"):
        own = HRNet(VARIANTS["hrnetv2"]["small"].body if isinstance(config, str) else config)
        theirs = timm_body(name)
    shapes = [{key: tensor.shape for key, tensor in body.state_dict().items()} for body in (own, theirs)]
    assert shapes[0] == shapes[1]
    if name == "hrnet_w48":
        assert sum(p.numel() for p in own.parameters()) == 65_325_120


def test_v1_is_the_finest_stream_of_v2() -> None:
    """The same body; of the last meeting V1 keeps one output, and gives its scores."""
    v1, v2 = HRNetV1(Config(body=NARROW, classes=5)).eval().double(), filled("v2", torch.float64)
    own = {name: tensor for name, tensor in v2.state_dict().items() if name in v1.state_dict()}
    classify = {f"classify.{k}": t for k, t in v1.classify.state_dict().items()}
    v1.load_state_dict(own | classify)
    image = image_by_rule(ODD, SEED)
    with torch.no_grad():
        expected = v1.classify(v2.body(image)[0])
        assert largest_error(v1(image).logits, expected) < 1e-12


@pytest.mark.parametrize(("variant", "parameters"), [("w48", 63_595_745), ("w32", 28_536_113)])
def test_v1_counts_as_in_its_paper(variant: str, parameters: int) -> None:
    """63.6 and 28.5 million for 17 keypoints in table 1 of arXiv:1902.09212."""
    assert registry.count_parameters(f"hrnetv1-{variant}", classes=17) == parameters


def test_cards_have_the_counts_of_the_originals() -> None:
    """The contract counts what cards say."""
    counts = {
        "hrnetv2": {"w48": 65_859_379, "mmseg_w48": 65_858_659},
        "ocrnet": {"w48": 70_372_678, "mmseg_w48": 70_371_446},
        "hmsa": {"w48": 70_372_678 + 1_770_752},
    }
    for architecture, known in counts.items():
        card = read_card(architecture)
        assert {variant: card.parameters(variant) for variant in known} == known
