"""Transformers as backbones and as segmenters: laws that hold without a reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import segmentarium.models as registry
from segmentarium.backbones import Backbone, Encoder, Swin, ViT, encoder_of, swin, vit
from segmentarium.errors import BadArgument, UnknownName
from segmentarium.models.segmenter import VARIANTS, SegmenterMask
from segmentarium.models.setr import SETRPUP
from segmentarium.models.setr import VARIANTS as SETR
from segmentarium.nn import resize
from segmentarium.nn.transformer import DropPath, drop_path_rates

SMALL_SWIN = swin.Config(width=8, depths=(2, 2, 2, 2), heads=(1, 2, 2, 2), window=3)
SMALL_VIT = vit.Config(patch=4, width=16, depth=3, heads=2, grid=(3, 5))


def loud(network: nn.Module) -> nn.Module:
    """Weights of deviation 0.5, so that nothing hides behind small ones."""
    draw = torch.Generator().manual_seed(5)
    for parameter in network.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw) / 2)
    return network.eval()


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 47), (96, 48)])
def test_swin_maps_have_their_strides_rounded_up(size: tuple[int, int]) -> None:
    network = Swin(SMALL_SWIN).eval()
    with torch.inference_mode():
        maps = network(torch.rand(2, 3, *size))
    for level, channels, stride in zip(maps, network.channels, network.strides, strict=True):
        assert level.shape == (2, channels, *(-(-side // stride) for side in size))


def test_swin_keeps_images_apart_and_takes_half_precision() -> None:
    network = loud(Swin(SMALL_SWIN))
    images = torch.rand(2, 3, 33, 47)
    with torch.inference_mode():
        together, apart = network(images), [network(one[None]) for one in images]
        half = network.bfloat16()(images.bfloat16())
    for number, maps in enumerate(together):
        torch.testing.assert_close(maps, torch.cat([one[number] for one in apart]), rtol=1e-4, atol=1e-5)
    assert all(maps.dtype == torch.bfloat16 and maps.isfinite().all() for maps in half)


@pytest.mark.filterwarnings("ignore")
def test_swin_is_exported() -> None:
    few = replace(SMALL_SWIN, depths=(2, 1), heads=(1, 2))
    network, image = loud(Swin(few)), torch.rand(1, 3, 33, 47)
    exported = torch.export.export(network, (image,)).module()
    with torch.inference_mode():
        for found, expected in zip(exported(image), network(image), strict=True):
            torch.testing.assert_close(found, expected)


def test_windows_are_cut_and_joined() -> None:
    maps = torch.arange(2 * 6 * 9 * 2.0).view(2, 6, 9, 2)
    windows = swin.cut(maps, 3)
    assert windows.shape == (2, 6, 9, 2)
    assert torch.equal(windows[0, 1, :3, 0], maps[0, 0, 3:6, 0])
    assert torch.equal(swin.join(windows, maps.shape[1:3], 3), maps)


def test_tokens_that_only_the_shift_brought_together_are_kept_apart() -> None:
    apart = swin.strangers(6, 6, 3, like=torch.zeros(1))[:, 0]
    assert apart.shape == (4, 9, 9)
    assert not apart[0].any()  # no edge runs through the first window
    corner = apart[3].view(3, 3, 3, 3)
    assert corner[0, 0].tolist() == [[0, 0, -100], [0, 0, -100], [-100] * 3]
    assert corner[2, 2].tolist() == [[-100] * 3, [-100] * 3, [-100, -100, 0]]


def test_names_of_encoders() -> None:
    with torch.device("meta"):
        ours, theirs = encoder_of("swin_t", in_channels=4), encoder_of("resnet18", in_channels=4)
    assert (type(ours), type(theirs)) == (Swin, Encoder)
    assert isinstance(ours, Backbone)
    assert ours.project.in_channels == 4
    assert ours.channels == (96, 192, 384, 768)
    with pytest.raises(UnknownName, match="resnet18"):
        encoder_of("resnet181", in_channels=3)


def test_vit_reads_the_blocks_that_are_asked_for() -> None:
    network = loud(ViT(SMALL_VIT, taps=(1, 3)))
    with torch.inference_mode():
        maps = network(torch.rand(2, 3, 12, 20))
    assert [tuple(one.shape) for one in maps] == [(2, 16, 3, 5)] * 2
    assert (network.channels, network.strides) == ((16, 16), (4, 4))
    shallow = ViT(SMALL_VIT, taps=(1,), norm=False)
    assert len(shallow.blocks) == 1  # what nobody reads is not made
    for taps, norm in (((3, 1), False), ((0,), False), ((1, 2), True)):
        with pytest.raises(BadArgument, match="taps"):
            ViT(SMALL_VIT, taps=taps, norm=norm)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_vit_resamples_positions_but_not_those_of_class_tokens(interpolation: str) -> None:
    config = replace(SMALL_VIT, interpolation=interpolation, distilled=True)
    network = ViT(config)
    network.positions.data[:] = 3.0
    network.positions.data[:, :2] = 7.0
    for token in (network.class_token, network.distillation_token):
        token.data[:] = 0.0
    placed = network._placed(torch.zeros(1, 28, 16), (4, 7))
    assert placed.shape == (1, 30, 16)
    torch.testing.assert_close(placed[:, :2], torch.full((1, 2, 16), 7.0))
    torch.testing.assert_close(placed[:, 2:], torch.full((1, 28, 16), 3.0))


def test_scores_of_filled_up_images_stay_in_their_places() -> None:
    scores = torch.arange(6.0).view(1, 1, 2, 3)
    assert vit.on_image(scores, torch.zeros(1, 3, 8, 12), 4) is scores
    cut = vit.on_image(scores, torch.zeros(1, 3, 7, 10), 4)
    assert torch.equal(cut, resize(scores, (8, 12))[..., :7, :10])


def test_drop_path_keeps_the_mean_and_is_off_in_use() -> None:
    torch.manual_seed(0)
    drop, ones = DropPath(0.25), torch.ones(4000, 2, 3)
    seen = drop.train()(ones)
    assert seen.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (seen == seen[:, :1, :1]).all()  # an image loses all or nothing
    assert seen.mean().item() == pytest.approx(1, abs=0.05)
    assert drop.eval()(ones) is ones
    assert drop_path_rates(0.2, 3) == [0.0, 0.1, 0.2]
    assert drop_path_rates(0.2, 1) == [0.0]


def test_segmenter_has_no_order_of_classes() -> None:
    network = loud(SegmenterMask(replace(VARIANTS["segmenter_mask"]["tiny"], classes=5)))
    image, order = torch.rand(1, 3, 32, 48), torch.tensor([3, 0, 4, 1, 2])
    with torch.inference_mode():
        before = network(image).logits
        for tensor, axis in (
            (network.decoder.classes, 1),
            (network.decoder.mask_norm.weight, 0),
            (network.decoder.mask_norm.bias, 0),
        ):
            tensor.data.copy_(tensor.data.index_select(axis, order))
        torch.testing.assert_close(network(image).logits, before[:, order], rtol=1e-4, atol=1e-4)


def test_segmenter_refuses_a_single_class() -> None:
    with pytest.raises(BadArgument, match="segmenter_linear"):
        registry.build("segmenter_mask-tiny", classes=1)
    registry.build("segmenter_linear-tiny", classes=1)


@pytest.mark.parametrize(("name", "heads"), [("setr_naive", 3), ("setr_pup", 4), ("setr_mla", 4)])
def test_setr_answers_from_several_depths_in_training_only(name: str, heads: int) -> None:
    network = registry.build(f"{name}-tiny", classes=3)
    image = torch.rand(2, 3, 40, 48)
    assert len(network.train()(image).aux) == heads
    with torch.inference_mode():
        output = network.eval()(image)
    assert output.aux == ()
    stride = {"setr_naive": 8, "setr_pup": 1, "setr_mla": 2}[name]
    assert output.logits.shape == (2, 3, 40 // stride, 48 // stride)


def test_classes_may_be_told_before_or_after_the_last_enlargement_of_setr_pup() -> None:
    network = loud(SETRPUP(SETR["setr_pup"]["tiny"])).double()
    head = network.decode
    maps = torch.rand(1, 64, 3, 4, dtype=torch.float64)
    seen: list[torch.Tensor] = []
    head.classify.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.inference_mode():
        before = resize(head(maps), (48, 64))
        after = head.classify(resize(seen[0], (48, 64)))
    torch.testing.assert_close(before, after, rtol=1e-9, atol=1e-9)
