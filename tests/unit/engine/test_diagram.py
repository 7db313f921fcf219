"""Figures of networks: the blocks a reader expects, where they expect them, in a picture that parses."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import segmentarium.models as registry
from segmentarium.engine.diagram import Block, Diagram, diagram, svg
from segmentarium.weights import read_card

LARGE = {
    "danet",
    "fastfcn",
    "fc_densenet",
    "fpn_segmentation",
    "frrn",
    "gridnet",
    "hmsa",
    "hrnetv1",
    "hrnetv2",
    "ocrnet",
    "unet_plus_plus",
}
"""Papers of which even the smallest network takes a second or more to follow."""

SEMANTIC = [name for name in registry.architectures() if read_card(name).output == "semantic"]


@cache
def drawn(name: str) -> Diagram:
    with torch.device("meta"):
        network = registry.build(name, classes=5)
    return diagram(network)


def block(of: Diagram, name: str) -> Block:
    return next(one for one in of.blocks if one.name == name)


def after(of: Diagram, name: str) -> set[str]:
    """Names of what takes the map of the block called ``name``."""
    return {of.blocks[b].name for a, b in of.arrows if a >= 0 and of.blocks[a].name == name}


@pytest.fixture(scope="module")
def unet() -> Diagram:
    return drawn("unet-tiny")


def test_a_unet_goes_down_and_up_again(unet: Diagram) -> None:
    assert [block.level for block in unet.blocks] == [0, 1, 2, 3, 2, 1, 0, 0]
    assert [block.shape[0] for block in unet.blocks] == [8, 16, 32, 64, 32, 16, 8, 5]
    assert unet.blocks[0].shape == (8, 512, 512)


def test_each_level_hands_its_map_across(unet: Diagram) -> None:
    assert {(0, 6), (1, 5), (2, 4)} < set(unet.arrows)
    assert (-1, 0) in unet.arrows
    assert all(a < b for a, b in unet.arrows)


def test_every_parameter_is_in_one_block(unet: Diagram) -> None:
    assert sum(block.parameters for block in unet.blocks) == registry.count_parameters("unet-tiny", classes=5)


def test_where_maps_meet_is_shown() -> None:
    signs = [block.name for block in drawn("deeplabv3plus-tiny").blocks if not block.kind]
    assert "join" in signs


def test_volumes_are_drawn_too() -> None:
    assert [block.level for block in drawn("unet_3d-tiny").blocks].count(0) >= 2


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in SEMANTIC]
)
def test_what_a_block_makes_is_used(name: str) -> None:
    figure = drawn(f"{name}-tiny")
    last = len(figure.blocks) - 1
    assert {a for a, _ in figure.arrows} == {-1, *range(last)}
    assert {b for _, b in figure.arrows} == set(range(last + 1))
    assert all(a < b for a, b in figure.arrows)


@pytest.mark.parametrize(
    ("name", "prefix", "classifier"),
    [
        ("fcn_32s", "", "score.8"),
        ("crf_rnn", "", "score.8"),
        ("deeplabv1", "encoder.", "classify"),
        ("dilation_context_net", "front_end.", "front_end.classify"),
    ],
)
def test_a_dropout_used_twice_diverts_nothing(name: str, prefix: str, classifier: str) -> None:
    figure = drawn(f"{name}-tiny")
    assert after(figure, f"{prefix}fc6") == {f"{prefix}fc7"}
    assert after(figure, f"{prefix}fc7") == {classifier}


def test_looks_at_several_sizes_are_drawn_once_with_the_largest() -> None:
    figure = drawn("attention_to_scale-tiny")
    assert figure.blocks[0].shape[1:] == (512, 512)
    assert figure.blocks[0].looks > 1
    assert after(figure, "encoder.fc7") == {"classify", "join"}


def test_a_look_at_the_whole_size_need_not_come_first() -> None:
    with torch.device("meta"):
        network = registry.build("deeplabv2-tiny", classes=5)
        network = type(network)(replace(network.config, scales=(0.5, 1.0, 0.75)))
    several, single = diagram(network), drawn("deeplabv2-tiny")
    count = len(single.blocks)
    assert [one.shape[1:] for one in several.blocks[:count]] == [one.shape[1:] for one in single.blocks]
    assert {one.looks for one in several.blocks[:count]} == {3}
    assert [one.name for one in several.blocks[count:]] == ["join"]


@pytest.mark.parametrize("name", ["segmenter_mask", "segmenter_linear", "setr_naive", "setr_pup", "setr_mla"])
def test_blocks_of_transformers_make_tokens(name: str) -> None:
    figure = drawn(f"{name}-tiny")
    width = registry.config_of(f"{name}-tiny").encoder.width
    blocks = [one for one in figure.blocks if one.name.startswith("encoder.blocks")]
    assert blocks
    assert {one.shape[1:] for one in blocks} == {(width,)}
    assert {one.level for one in blocks} == {figure.blocks[0].level}


def test_scores_of_tokens_are_shown_as_a_map() -> None:
    *_, last = drawn("segmenter_mask-tiny").blocks
    assert (last.shape[0], len(last.shape)) == (5, 3)


def test_channels_come_first_wherever_the_network_has_them() -> None:
    norm = block(drawn("setr_mla-tiny"), "norms.0")
    assert norm.shape[1] == norm.shape[2] == 512 // 2**norm.level


def test_convolutions_with_the_weights_of_a_module_are_that_module() -> None:
    names = [one.name for one in drawn("sliding_window_patch_classifier-tiny").blocks]
    assert names == [
        f"network.{name}" for name in ("convolutions.0", "convolutions.1", "connect", "classify")
    ]


class Twice(nn.Module):
    """A network that takes the same step again, behind another one."""

    config: Any = type("Config", (), {"in_channels": 3})

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Conv2d(3, 3, 3, padding=1)
        self.other = nn.Conv2d(3, 3, 1)
        self.last = nn.Conv2d(3, 5, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(self.step(self.other(self.step(image))))
        return result


def test_a_step_taken_again_later_is_drawn_again() -> None:
    figure = diagram(Twice())
    assert [one.name for one in figure.blocks] == ["step", "other", "step", "last"]
    assert figure.arrows == ((-1, 0), (0, 1), (1, 2), (2, 3))
    assert [one.parameters > 0 for one in figure.blocks] == [True, True, False, True]


def test_the_picture_is_well_formed_and_nothing_stands_on_another(unet: Diagram) -> None:
    root = ElementTree.fromstring(svg(unet, title="U-Net <tiny> & more"))
    boxes = [
        tuple(float(r.get(k, "0")) for k in ("x", "y", "width", "height")) for r in root if "rx" in r.attrib
    ]
    assert len(boxes) == len(unet.blocks)
    for i, (x, y, width, height) in enumerate(boxes):
        for u, v, _, _ in boxes[:i]:
            assert abs(x - u) >= width or abs(y - v) >= height
