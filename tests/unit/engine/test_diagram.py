"""Figures of networks: the blocks a reader expects, where they expect them, in a picture that parses."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch

import segmentarium.models as registry
from segmentarium.engine.diagram import Diagram, diagram, svg


def drawn(name: str) -> Diagram:
    with torch.device("meta"):
        network = registry.build(name, classes=5)
    return diagram(network)


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


def test_the_picture_is_well_formed_and_nothing_stands_on_another(unet: Diagram) -> None:
    root = ElementTree.fromstring(svg(unet, title="U-Net <tiny> & more"))
    boxes = [
        tuple(float(r.get(k, "0")) for k in ("x", "y", "width", "height")) for r in root if "rx" in r.attrib
    ]
    assert len(boxes) == len(unet.blocks)
    for i, (x, y, width, height) in enumerate(boxes):
        for u, v, _, _ in boxes[:i]:
            assert abs(x - u) >= width or abs(y - v) >= height
