"""DETR keeps the contract of networks, and learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

import segmentarium.models as registry
from segmentarium.errors import BadImage
from segmentarium.losses.detr import DetrLoss
from segmentarium.models.detr import AT_ONCE, DETR, VARIANTS, AttentionMap, Config
from segmentarium.nn import Queries, Truth
from segmentarium.weights import read_card


def picture(*size: int, batch: int = 1, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, channels, *size, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def tiny() -> Iterator[DETR]:
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield DETR(VARIANTS["tiny"]).eval()
    torch.set_num_threads(threads)


def parts(output: Queries) -> list[torch.Tensor]:
    return [
        output.class_logits,
        output.mask_logits,
        output.boxes,
        *(part for a in output.aux for part in parts(a)),
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_built_as_asked_and_counted(variant: str) -> None:
    name = f"detr-{variant}"
    assert registry.count_parameters(name) == read_card("detr").parameters(variant)
    with torch.device("meta"):
        output = registry.build(name, classes=7, in_channels=5)(torch.zeros(1, 5, 64, 96))
    config = VARIANTS[variant]
    assert output.class_logits.shape == (1, config.queries, 8)
    assert output.mask_logits.shape == (1, config.queries, 16, 24)
    assert output.boxes.shape == (1, config.queries, 4)
    assert len(output.aux) == config.decoder_layers - 1
    assert all(not layer.mask_logits.numel() and layer.boxes is not None for layer in output.aux)


@pytest.mark.parametrize("size", [(33, 47), (64, 64), (1, 1), (1, 70), (130, 7)])
def test_takes_any_size(tiny: DETR, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        output = tiny(picture(*size))
    assert output.mask_logits.shape == (1, 20, -(-size[0] // 4), -(-size[1] // 4))
    assert all(part.isfinite().all() for part in parts(output))


def test_a_batch_is_its_images(tiny: DETR) -> None:
    images = picture(40, 56, batch=2)
    with torch.inference_mode():
        apart = zip(*(parts(tiny(image[None])) for image in images), strict=True)
        for together, single in zip(parts(tiny(images)), apart, strict=True):
            torch.testing.assert_close(together, torch.cat(single), rtol=1e-4, atol=1e-5)


def test_answers_the_same_twice_and_in_any_layout(tiny: DETR) -> None:
    image = picture(33, 47)
    with torch.inference_mode():
        once, twice = parts(tiny(image)), parts(tiny(image))
        last = tiny.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
        half = tiny.bfloat16()(image.bfloat16())
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    for a, b in zip(once, parts(last), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert all(part.dtype == torch.bfloat16 and part.isfinite().all() for part in parts(half))


def test_masks_made_in_parts_are_those_made_at_once(tiny: DETR) -> None:
    assert tiny.config.queries > AT_ONCE
    image = picture(33, 47, batch=2)
    with torch.inference_mode():
        parted = tiny(image).mask_logits
        tiny.mask.train()
        torch.testing.assert_close(parted, tiny(image).mask_logits)


@pytest.mark.filterwarnings("ignore")
def test_is_exported(tiny: DETR) -> None:
    image = picture(33, 47)
    exported = torch.export.export(tiny, (image,)).module()
    with torch.inference_mode():
        for a, b in zip(parts(exported(image)), parts(tiny(image)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_refuses_other_channels(tiny: DETR) -> None:
    with pytest.raises(BadImage, match="3 channels"):
        tiny(picture(64, 64, channels=4))


def two_squares() -> tuple[torch.Tensor, list[Truth]]:
    """A bright and a dark square on noise, at other places in each image."""
    images, truths = 0.5 + 0.05 * (picture(64, 64, batch=2) - 0.5), []
    for image, ((y, x), (v, u)) in zip(images, [((8, 8), (36, 30)), ((30, 36), (4, 10))], strict=True):
        masks = torch.zeros(2, 64, 64, dtype=torch.bool)
        masks[0, y : y + 24, x : x + 20], masks[1, v : v + 20, u : u + 24] = True, True
        image[:, masks[0]], image[:, masks[1]] = 1.0, 0.0
        truths.append(Truth(masks, torch.tensor([0, 1])))
    return images, truths


def test_learns_two_squares(tiny: DETR) -> None:
    images, truths = two_squares()
    loss = DetrLoss(tiny.loss)
    optimiser = torch.optim.AdamW(tiny.parameters(), lr=1e-3)
    seen = []
    for _ in range(24):
        value = loss(tiny.train()(images), truths)["loss"]
        optimiser.zero_grad()
        value.backward()
        gradients = {name: p.grad for name, p in tiny.named_parameters()}
        assert not [name for name, g in gradients.items() if g is None or not g.isfinite().all()]
        nn.utils.clip_grad_norm_(tiny.parameters(), 1.0)
        optimiser.step()
        seen.append(value.item())
    assert sum(seen[-5:]) < 0.8 * sum(seen[:5])


def test_what_is_frozen_stays() -> None:
    config = replace(VARIANTS["tiny"], frozen=True)
    network = DETR(config).train()
    assert not [part for part in network.encoder.modules() if isinstance(part, nn.BatchNorm2d)]
    before = {name: tensor.clone() for name, tensor in network.encoder.named_buffers()}
    assert all((tensor != 0).all() for name, tensor in before.items() if name.endswith(".weight"))
    network(picture(64, 64, batch=2)).class_logits.sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.encoder.named_buffers())


def test_freezing_changes_no_answer_of_a_new_network() -> None:
    # mobilenets hold their activations within the norm
    config = replace(VARIANTS["tiny"], encoder="mobilenetv3_small_050")
    open_, frozen = DETR(config).eval(), DETR(replace(config, frozen=True)).eval()
    frozen.load_state_dict(
        {name: t for name, t in open_.state_dict().items() if "num_batches_tracked" not in name}
    )
    with torch.inference_mode():
        torch.testing.assert_close(open_(picture(64, 64)).mask_logits, frozen(picture(64, 64)).mask_logits)


def test_a_look_is_one_distribution_over_all_heads() -> None:
    looks = AttentionMap(16, 4)(torch.randn(2, 3, 16), torch.randn(2, 10, 16))
    assert looks.shape == (2, 3, 4, 10)
    torch.testing.assert_close(looks.sum((2, 3)), torch.ones(2, 3))


def test_the_default_is_the_papers() -> None:
    first = next(iter(VARIANTS.values()))
    assert first == Config()
    assert (first.width, first.heads, first.hidden, first.queries) == (256, 8, 2048, 100)
    assert (first.encoder_layers, first.decoder_layers, first.dropout, first.output_stride) == (6, 6, 0.1, 32)
