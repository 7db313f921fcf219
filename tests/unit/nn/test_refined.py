"""Any network behind which the CRF-RNN layer stands keeps what is asked of networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import segmentarium.models as registry
from segmentarium.errors import BadArgument
from segmentarium.nn import geometry_of, resize
from segmentarium.nn.refined import Refined


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.atlas("R16")
def test_enlarges_and_refines() -> None:
    network = registry.build("deeplabv1-tiny", classes=4).eval()
    image = torch.rand(1, 3, 33, 47)
    refined = Refined(network).eval()
    with torch.inference_mode():
        logits = resize(network(image).logits, (33, 47))
        seen = refined(image)
        assert torch.equal(seen.logits, refined.refine(logits, image))
        refined.refine.iterations = (0, 0)
        assert torch.equal(refined(image).logits, logits)
    assert refined.config is network.config
    assert {name.partition(".")[0] for name in refined.state_dict()} == {"network", "refine"}


def test_auxiliary_answers_and_their_weights_stay() -> None:
    network = registry.build("unet_plus_plus-tiny", classes=4).train()
    refined = Refined(network, iterations=(1, 2)).train()
    output = refined(torch.rand(2, 3, 33, 33))
    assert output.logits.shape == (2, 4, 33, 33)
    assert len(output.aux) > 0
    assert refined.aux_weights == network.aux_weights
    output.logits.square().sum().backward()
    assert all(p.grad is not None for p in refined.refine.parameters())


def test_a_lost_border_stays_lost() -> None:
    network = registry.build("unet-paper", classes=2)
    side = geometry_of(network).input_side(4)
    refined = Refined(network, iterations=(1, 1))
    assert geometry_of(refined).border == network.border
    assert geometry_of(refined).input_side(4) == side
    with torch.device("meta"):
        empty = refined.to("meta")
        assert empty(torch.zeros(1, network.config.in_channels, side, side)).logits.shape[2:] == (4, 4)


def test_of_volumes_too() -> None:
    refined = Refined(registry.build("unet_3d-tiny", classes=3), iterations=(1, 1))
    assert refined.dimensions == 3
    side = geometry_of(refined).input_side(16)
    logits = refined(torch.rand(1, refined.config.in_channels, side, side, side)).logits
    inner = side - 2 * geometry_of(refined).border
    assert logits.shape == (1, 3, inner, inner, inner)


def test_refuses_what_does_not_name_pixels() -> None:
    detector = nn.Module()
    detector.terms = lambda image, truths: {}
    with pytest.raises(BadArgument, match="name each pixel"):
        Refined(detector)
