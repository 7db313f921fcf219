"""Output stride: where convolutions look, and that a finer map agrees with the coarser one it refines."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from segmentarium.backbones import Encoder
from segmentarium.backbones.cascade import Cascade
from segmentarium.errors import BadArgument, UnknownName


def rates(stage: nn.Module) -> list[int]:
    return [m.dilation[0] for m in stage.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("stride", "multi_grid", "layer3", "layer4"),
    [
        (32, (), [1] * 6, [1, 1, 1]),
        (16, (), [1] * 6, [1, 2, 2]),
        (8, (), [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        (16, (1, 1, 1), [1] * 6, [2, 2, 2]),
        (8, (1, 1, 1), [2] * 6, [4, 4, 4]),
        (16, (1, 2, 4), [1] * 6, [2, 4, 8]),
        (8, (1, 2, 4), [2] * 6, [4, 8, 16]),
    ],
)
def test_rates_of_a_resnet(
    stride: int, multi_grid: tuple[int, ...], layer3: list[int], layer4: list[int]
) -> None:
    with torch.device("meta"):
        body = Encoder("resnet50", output_stride=stride, multi_grid=multi_grid).body
    assert rates(body.layer3) == layer3
    assert rates(body.layer4) == layer4


def test_the_mode_chooses_the_stride() -> None:
    encoder = Encoder("resnet18", output_stride=16, test_stride=8, multi_grid=(1, 2))
    image = torch.rand(1, 3, 40, 72)
    assert encoder.strides == (2, 4, 8, 16, 16)
    assert [m.shape[-1] for m in encoder(image)] == [36, 18, 9, 5, 5]
    assert rates(encoder.body.layer4) == [2, 2, 4, 4]
    encoder.eval()
    assert encoder.strides == (2, 4, 8, 8, 8)
    assert [m.shape[-1] for m in encoder(image)] == [36, 18, 9, 9, 9]
    assert rates(encoder.body.layer3) == [1, 2, 2, 2]  # the first had stride 2 in training, and looks as far
    assert rates(encoder.body.layer4) == [4, 4, 8, 8]
    assert rates(deepcopy(encoder).train().body.layer4) == [2, 2, 4, 4]
    assert nn.Sequential(encoder).train()[0].strides[-1] == 16


@pytest.mark.parametrize(
    ("name", "multi_grid", "strides"),
    [
        ("resnet18", (), (32, 16)),
        ("resnet18", (), (32, 8)),
        ("resnet18", (1, 2), (16, 8)),
        ("resnet26", (1, 2), (16, 8)),
        ("lcnet_050", (), (16, 8)),
        ("xception41", (), (16, 8)),
        ("regnetx_002", (), (16, 8)),
    ],
)
def test_a_finer_map_holds_the_coarser_one(
    name: str, multi_grid: tuple[int, ...], strides: tuple[int, int]
) -> None:
    coarse, fine = strides
    encoder = Encoder(name, output_stride=coarse, test_stride=fine, multi_grid=multi_grid).eval()
    same = Encoder(name, output_stride=coarse, multi_grid=multi_grid).eval()
    same.load_state_dict(encoder.state_dict())
    encoder, same = encoder.double(), same.double()
    for module in (*same.modules(), *encoder.modules()):
        if hasattr(module, "scale_prob") or type(module).__name__ == "SqueezeExcite":
            module.forward = lambda x: x  # type: ignore[method-assign]  # its mean is of all places
    image = torch.rand(1, 3, 65, 97, dtype=torch.float64)
    with torch.no_grad():
        expected, seen = same(image), encoder(image)
    for e, s, before, after in zip(expected, seen, same.strides, encoder.strides, strict=True):
        step = before // after
        torch.testing.assert_close(s[..., ::step, ::step], e, rtol=1e-9, atol=1e-12)


def test_a_cascade_looks_ever_farther() -> None:
    encoder = Encoder("resnet26", output_stride=16, test_stride=8, multi_grid=(1, 2))
    cascade = Cascade(encoder, blocks=3, multi_grid=(1, 2))
    assert [rates(block) for block in cascade] == [[4, 8], [8, 16], [16, 32]]
    cascade.eval()
    assert [rates(block) for block in cascade] == [[8, 16], [16, 32], [32, 64]]
    assert rates(encoder.body.layer4) == [2, 4]
    assert cascade(torch.rand(1, 2048, 3, 5)).shape == (1, 2048, 3, 5)


@pytest.mark.parametrize("name", ["vgg16", "swin_tiny_patch4_window7_224", "densenet121"])
def test_says_which_encoders_cannot_be_dilated(name: str) -> None:
    with pytest.raises(BadArgument, match=f"{name}.*output stride 16.*resnet18"):
        Encoder(name, output_stride=16)


def test_says_what_does_not_fit() -> None:
    with pytest.raises(BadArgument, match="output stride 12"):
        Encoder("resnet18", output_stride=12)
    with pytest.raises(BadArgument, match=r"multi_grid: \(1, 2, 4\) for a last stage of 2 blocks"):
        Encoder("resnet18", output_stride=16, multi_grid=(1, 2, 4))
    with pytest.raises(BadArgument, match="a last stage of 0 blocks"):
        Encoder("lcnet_050", output_stride=16, multi_grid=(1, 2, 4))
    with pytest.raises(BadArgument, match="test_stride: 16; allowed: output_stride, 8, or finer"):
        Encoder("resnet18", output_stride=8, test_stride=16)
    with pytest.raises(BadArgument, match="differ in more than their convolutions"):
        Encoder("resnet18d", output_stride=16, test_stride=8)
    with pytest.raises(BadArgument, match="blocks of 0 bottlenecks"):
        Cascade(Encoder("lcnet_050"), blocks=3, multi_grid=(1, 2, 1))
    with pytest.raises(UnknownName, match="resnet18"):
        Encoder("resnet81", output_stride=16)
