"""V-Net, 3D U-Net and UNETR: what their papers and figures say, and any volume has an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

import segmentarium.models as registry
from segmentarium.errors import BadArgument, BadImage
from segmentarium.models.unet_3d import VARIANTS as UNETS
from segmentarium.models.unet_3d import Config, UNet3D, fit
from segmentarium.models.unetr import UNETR, Embedding
from segmentarium.models.unetr import VARIANTS as UNETRS
from segmentarium.models.vnet import VARIANTS as VNETS
from segmentarium.models.vnet import VNet
from segmentarium.nn import Semantic, geometry_of
from segmentarium.nn.volumes import InstanceNorm, cut, pad_to_multiple
from segmentarium.weights import read_card

PAPERS = ("vnet", "unet_3d", "unetr")
NAMES = [f"{paper}-{variant}" for paper in PAPERS for variant in registry.variants(paper)]


def volume(*size: int, batch: int = 1, channels: int = 1) -> torch.Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(5))


@pytest.fixture(params=PAPERS)
def tiny(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(3)
    return registry.build(f"{request.param}-tiny", classes=4, in_channels=1).eval()


@pytest.mark.parametrize("name", NAMES)
def test_counts_of_the_card_and_the_shape_of_the_answer(name: str) -> None:
    paper, variant = name.split("-")
    assert registry.count_parameters(name) == read_card(paper).parameters(variant)
    with torch.device("meta"):
        network = registry.build(name, classes=7, in_channels=5)
        sides = [geometry_of(network).input_side(side) for side in (20, 36, 28)]
        assert network(torch.zeros(1, 5, *sides)).logits.shape == (1, 7, 20, 36, 28)
    assert network.dimensions == 3


def test_counts_of_the_papers() -> None:
    network = UNet3D(UNETS["paper"])
    norms = sum(p.numel() for m in network.modules() if isinstance(m, nn.BatchNorm3d) for p in m.parameters())
    assert sum(p.numel() for p in network.parameters()) - norms == 19_069_955
    assert registry.count_parameters("unetr-paper") == 92_784_046
    wide = replace(UNETRS["paper"], features=32)
    with torch.device("meta"):
        assert sum(p.numel() for p in UNETR(wide).parameters()) == 101_805_646 - 12 * 2 * 768


@pytest.mark.parametrize("paper", PAPERS)
def test_small_can_be_shipped(paper: str) -> None:
    assert 4 * registry.count_parameters(f"{paper}-small") < 8_000_000


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 33, 2), (17, 9, 31), (16, 16, 16)])
def test_any_size_has_an_answer_of_that_size(tiny: nn.Module, size: tuple[int, int, int]) -> None:
    with torch.inference_mode():
        output = tiny(volume(*size))
    assert isinstance(output, Semantic)
    assert output.logits.shape == (1, 4, *size)
    assert output.logits.isfinite().all()


@pytest.mark.parametrize("paper", PAPERS)
def test_small_ones_answer_a_single_voxel(paper: str) -> None:
    network = registry.build(f"{paper}-small", classes=3, in_channels=1)
    output = network(volume(1, 1, 1))
    output.logits.sum().backward()
    assert output.logits.isfinite().all()


def test_a_batch_is_its_volumes_and_answers_twice_the_same(tiny: nn.Module) -> None:
    pair = volume(13, 18, 15, batch=2)
    with torch.inference_mode():
        together, again = tiny(pair).logits, tiny(pair).logits
        apart = torch.cat([tiny(one[None]).logits for one in pair])
    assert torch.equal(together, again)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_half_precision_channels_last_and_export(tiny: nn.Module) -> None:
    image = volume(17, 16, 15)
    with torch.inference_mode():
        full = tiny(image).logits
    exported = torch.export.export(tiny, (image,)).module()
    with torch.inference_mode():
        torch.testing.assert_close(exported(image).logits, full, rtol=1e-4, atol=1e-5)
        form = torch.channels_last_3d
        last = tiny.to(memory_format=form)(image.to(memory_format=form)).logits
        torch.testing.assert_close(last, full, rtol=1e-3, atol=1e-4)
        half = tiny.bfloat16()(image.bfloat16()).logits
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()


def test_every_parameter_learns(tiny: nn.Module) -> None:
    tiny.train()(volume(20, 18, 16, batch=2)).logits.square().mean().backward()
    assert not [n for n, p in tiny.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_wrong_channels_and_pictures_are_refused(tiny: nn.Module) -> None:
    with pytest.raises(BadImage, match=r"depth, height, width"):
        tiny(torch.zeros(1, 2, 16, 16, 16))


def test_the_figure_of_3d_unet() -> None:
    with torch.device("meta"):
        network = UNet3D(UNETS["paper"])
        assert network(torch.zeros(1, 3, 132, 132, 116)).logits.shape == (1, 3, 44, 44, 28)
    assert (network.border, network.input_side(44), network.input_side(28)) == (44, 132, 116)
    assert network.input_side(1) == 92
    with pytest.raises(BadImage, match="next 132"):
        network(torch.zeros(1, 3, 132, 131, 116))


def test_valid_convolutions_see_what_padded_ones_see_inside() -> None:
    padded = replace(UNETS["tiny"], up="same")
    torch.manual_seed(0)
    network = UNet3D(padded).eval()
    unpadded = UNet3D(replace(padded, valid=True)).eval()
    unpadded.load_state_dict(network.state_dict())
    side, border = unpadded.input_side(4), unpadded.border
    image = volume(side, side, side)
    with torch.inference_mode():
        # two zeros ahead, so that both pool the same voxels together
        inner, whole = unpadded(image).logits, network(functional.pad(image, [2] * 6)).logits
    torch.testing.assert_close(inner, crop(whole, 2 + border, inner.shape[-1]), rtol=1e-4, atol=1e-5)


def crop(maps: torch.Tensor, start: int, side: int) -> torch.Tensor:
    return maps[:, :, start : start + side, start : start + side, start : start + side]


def test_shifting_a_volume_by_a_pooling_shifts_the_answer() -> None:
    network = UNet3D(replace(UNETS["tiny"], valid=True)).eval()
    side = network.input_side(12)
    image = volume(side + 4, side, side)
    with torch.inference_mode():
        first, second = network(image[:, :, :-4]).logits, network(image[:, :, 4:]).logits
    torch.testing.assert_close(first[:, :, 4:], second[:, :, :-4], rtol=1e-4, atol=1e-5)


def test_further_heads_answer_in_training_only() -> None:
    network = UNet3D(UNETS["small"])
    output = network(volume(16, 24, 16))
    assert [tuple(aux.shape[2:]) for aux in output.aux] == [(8, 12, 8), (4, 6, 4)]
    assert network.eval()(volume(16, 24, 16)).aux == ()
    with pytest.raises(BadArgument, match="valid"):
        UNet3D(Config(supervised=1))


def test_fit_repeats_the_last_voxels() -> None:
    maps = torch.arange(4.0).view(1, 1, 1, 2, 2)
    assert fit(maps, (1, 3, 2))[0, 0].tolist() == [[[0, 1], [2, 3], [2, 3]]]
    assert fit(maps, (1, 1, 2))[0, 0].tolist() == [[[0, 1]]]


def test_stages_of_vnet_follow_its_figure_and_the_released_layers() -> None:
    def convolutions(variant: str) -> list[tuple[int, int]]:
        with torch.device("meta"):
            network = VNet(VNETS[variant])
        stages = [*network.encoder, *network.decoder]
        assert all(kernel.conv.kernel_size == (5, 5, 5) for s in stages for kernel in s.stage.convolve)
        return [(s.stage.convolve[0].conv.out_channels, len(s.stage.convolve)) for s in stages]

    widths = (16, 32, 64, 128, 256, 256, 128, 64, 32)
    assert convolutions("paper") == list(zip(widths, (1, 2, 3, 3, 3, 3, 3, 2, 1), strict=True))
    assert convolutions("prototxt") == list(zip(widths, (1, 1, 2, 3, 3, 3, 2, 1, 1), strict=True))
    assert convolutions("monai") == list(zip(widths, (1, 1, 2, 3, 2, 2, 2, 1, 1), strict=True))


def test_a_stage_of_vnet_adds_its_input_before_the_activation() -> None:
    network = VNet(VNETS["tiny"])
    first = network.encoder[0]
    nn.init.zeros_(first.stage.convolve[0].conv.weight)
    image = volume(8, 8, 8)
    expected = torch.where(image > 0, image, 0.25 * image).expand(-1, 4, -1, -1, -1)
    assert torch.equal(first(image), expected)  # the image, tiled, through a PReLU


def test_both_layouts_of_unetr_are_one_function() -> None:
    config = replace(UNETRS["tiny"], in_channels=2)
    linear, conv = Embedding(config), Embedding(replace(config, embedding="conv"))
    weight = conv.project.weight
    linear.project.weight.data = weight.permute(0, 2, 3, 4, 1).flatten(1).clone()
    linear.project.bias.data, linear.positions.data = conv.project.bias.data, conv.positions.data
    image = volume(32, 24, 16, channels=2)
    torch.testing.assert_close(linear(image), conv(image), rtol=1e-5, atol=1e-5)


def test_positions_are_exact_on_their_grid_and_resampled_elsewhere() -> None:
    embed = Embedding(replace(UNETRS["tiny"], grid=(2, 1, 1)))
    assert torch.equal(embed.at((2, 1, 1)), embed.positions)
    first, last = embed.positions[0]
    middle = embed.at((3, 1, 1))[0, 1]
    torch.testing.assert_close(middle, (first + last) / 2)
    assert embed.at((1, 4, 2)).shape == (1, 8, 32)


def test_patches_and_skips_of_unetr_belong_together() -> None:
    for wrong in ({"patch": 4}, {"patch": 12}, {"skips": (2, 1)}, {"skips": (1, 3)}):
        with pytest.raises(BadArgument, match="rising order"):
            UNETR(replace(UNETRS["tiny"], **wrong))


def test_instance_norm_is_torchs_and_takes_one_voxel() -> None:
    norm = InstanceNorm(3)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    maps = volume(4, 5, 6, batch=2, channels=3)
    torch.testing.assert_close(
        norm(maps), functional.instance_norm(maps, weight=norm.weight, bias=norm.bias), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(norm(volume(1, 1, 1, channels=3)).flatten(), norm.bias, rtol=0, atol=1e-4)


def test_padding_is_at_the_end_and_cut_again() -> None:
    image = volume(3, 8, 9)
    padded = pad_to_multiple(image, 4)
    assert padded.shape[2:] == (4, 8, 12)
    assert padded[:, :, 3:].abs().sum() == 0
    assert torch.equal(cut(padded, (3, 8, 9)), image)
