"""Sizes, answers and first weights of Mask2Former."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from segmentarium.errors import BadImage, UnknownName
from segmentarium.losses import MaskClassificationLoss
from segmentarium.losses.mask_classification import Setting
from segmentarium.models import build, config_of, count_parameters
from segmentarium.models.mask2former import VARIANTS, Mask2Former, inside
from segmentarium.nn import Queries, Truth
from segmentarium.weights import read_card


@pytest.fixture
def tiny() -> Mask2Former:
    torch.manual_seed(3)
    network = build("mask2former-tiny", classes=4)
    assert isinstance(network, Mask2Former)
    return network.eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_counts(variant: str) -> None:
    assert count_parameters(f"mask2former-{variant}") == read_card("mask2former").parameters(variant)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 47), (64, 64), (130, 7)])
def test_masks_have_stride_4_for_any_size(tiny: Mask2Former, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        output = tiny(torch.rand(1, 3, *size))
    assert output.class_logits.shape == (1, 50, 5)
    assert output.mask_logits.shape == (1, 50, *(-(-side // 4) for side in size))
    assert all(logits.isfinite().all() for logits in output[:2])
    assert not output.aux


def test_ten_answers_while_training() -> None:
    with torch.device("meta"):
        output = Mask2Former(VARIANTS["r50"]).train()(torch.zeros(2, 3, 65, 97))
    assert len(output.aux) + 1 == 10
    for answer in (*output.aux, output):
        assert answer.class_logits.shape == (2, 100, 134)
        assert answer.mask_logits.shape == (2, 100, 17, 25)


def test_first_answer_has_not_seen_the_classes_of_the_image(tiny: Mask2Former) -> None:
    first = tiny.train()(torch.rand(2, 3, 64, 64)).aux[0]
    assert torch.equal(first.class_logits[0], first.class_logits[1])
    assert not torch.equal(first.mask_logits[0], first.mask_logits[1])


def test_learns_through_its_loss(tiny: Mask2Former) -> None:
    output = tiny.train()(torch.rand(2, 3, 65, 97))
    masks = torch.zeros(2, 65, 97, dtype=torch.bool)
    masks[0, :30], masks[1, 40:] = True, True
    truths = [Truth(masks, torch.tensor([0, 3])), Truth(masks[:0], torch.tensor([], dtype=torch.long))]
    terms = MaskClassificationLoss(tiny.loss)(output, truths, draw=torch.Generator().manual_seed(1))
    terms["loss"].backward()
    assert {"class", "mask", "dice", "class_2", "dice_0"} <= terms.keys()
    bad = [name for name, p in tiny.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not bad


def test_queries_learn_one_picture() -> None:
    """A square and the rest: after some steps the best query of each class is where it should be."""
    torch.manual_seed(3)
    tiny = Mask2Former(replace(VARIANTS["tiny"], queries=10))
    image, mask = torch.zeros(1, 3, 64, 64), torch.zeros(64, 64, dtype=torch.bool)
    image[..., 16:48, 16:48], mask[16:48, 16:48] = 1.0, True
    truths = [Truth(torch.stack([mask, ~mask]), torch.tensor([0, 1]))]
    loss, draw = MaskClassificationLoss(Setting(points=64)), torch.Generator().manual_seed(1)
    tiny.train().encoder.eval()
    optimizer = torch.optim.AdamW(tiny.parameters(), lr=1e-3)
    for _ in range(15):
        optimizer.zero_grad()
        loss(tiny(image), truths, draw=draw)["loss"].backward()
        nn.utils.clip_grad_norm_(tiny.parameters(), 1.0)
        optimizer.step()
    output = tiny.eval()(image)
    for kind, true in ((0, mask), (1, ~mask)):
        query = output.class_logits[0].softmax(-1)[:, kind].argmax()
        found = nn.functional.interpolate(output.mask_logits[:, query, None], size=(64, 64))[0, 0] > 0
        assert (found & true).sum() / (found | true).sum() > 0.8


def test_queries_look_where_their_mask_is_and_everywhere_if_it_is_nowhere() -> None:
    masks = torch.tensor([[[1.0], [-1.0], [0.0]]])
    shapes = torch.tensor([[[2.0, -1.0, 0.0, 3.0]]])
    expected = torch.tensor([[True, False, True, True], [False, True, True, False], [True] * 4])
    assert torch.equal(inside(masks, shapes), expected[None, None])
    assert inside(masks, shapes.abs() + 1)[0, 0, 1].all()  # -1 times a positive number: nowhere


def test_a_small_mask_is_read_from_the_small_map(tiny: Mask2Former) -> None:
    """What queries look at is the mask of the answer before, made smaller bilinearly."""
    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda m, i, k: seen.append(k["allowed"]), with_kwargs=True)
        for layer in tiny.decoder.layers
    ]
    tiny.decoder.train()
    tiny.training = True
    output: Queries = tiny(torch.rand(1, 3, 160, 224))
    for hook in hooks:
        hook.remove()
    for allowed, answer, size in zip(seen, output.aux, ((5, 7), (10, 14), (20, 28)), strict=True):
        small = nn.functional.interpolate(answer.mask_logits, size=size, mode="bilinear", align_corners=False)
        within = small.flatten(2) >= 0
        assert torch.equal(allowed[:, 0], within | ~within.any(-1, keepdim=True))
        assert not allowed.requires_grad


def test_batch_eval_precision_and_channels_last(tiny: Mask2Former) -> None:
    images = torch.rand(2, 3, 65, 97)
    with torch.inference_mode():
        together = tiny(images)
        apart = [tiny(image[None]) for image in images]
        last = tiny.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
        half = tiny.bfloat16()(images.bfloat16())
    for index in (0, 1):
        torch.testing.assert_close(
            together[index], torch.cat([a[index] for a in apart]), rtol=1e-3, atol=1e-4
        )
        torch.testing.assert_close(last[index], together[index], rtol=1e-3, atol=1e-3)
        assert half[index].dtype == torch.bfloat16
        assert half[index].isfinite().all()


@pytest.mark.filterwarnings("ignore")
def test_is_exported(tiny: Mask2Former) -> None:
    image = torch.rand(1, 3, 65, 97)
    exported = torch.export.export(tiny, (image,)).module()
    with torch.inference_mode():
        for mine, theirs in zip(exported(image)[:2], tiny(image)[:2], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_takes_any_encoder_of_four_levels() -> None:
    with torch.device("meta"):
        network = build("mask2former-convnext_atto", classes=2, in_channels=5)
        assert network(torch.zeros(1, 5, 64, 96)).mask_logits.shape == (1, 100, 16, 24)


def test_says_what_it_cannot_take(tiny: Mask2Former) -> None:
    with pytest.raises(BadImage, match="3 channels"):
        tiny(torch.zeros(1, 4, 64, 64))
    with pytest.raises(UnknownName, match="strides"), torch.device("meta"):
        Mask2Former(replace(config_of("mask2former-tiny"), encoder="levit_128s"))


def test_first_weights() -> None:
    torch.manual_seed(0)
    network = Mask2Former(replace(VARIANTS["small"], width=64))
    assert network.decoder.queries.std().item() == pytest.approx(1, rel=0.05)
    assert network.pixel_decoder.level.std().item() == pytest.approx(1, rel=0.2)
    layer = network.decoder.get_submodule("layers.0.mlp.layers.0")
    assert isinstance(layer, nn.Linear)
    assert layer.weight.abs().max().item() == pytest.approx((6 / (64 + 512)) ** 0.5, rel=0.01)
    assert not network.pixel_decoder.masks.bias.any()
