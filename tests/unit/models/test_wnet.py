"""W-Net has the layers that its paper counts, and divides a picture without being told how."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from segmentarium.losses.soft_ncut import soft_ncut
from segmentarium.models.wnet import VARIANTS, Half, WNet

COLOURS = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.8, 0.3], [0.2, 0.3, 0.9], [0.9, 0.9, 0.3]])
SIDE = 48
ENOUGH = 0.98


def four_colours() -> tuple[Tensor, Tensor]:
    """A picture of four noisy quarters, white at 0.5, and which pixel is of which."""
    regions = torch.zeros(SIDE, SIDE, dtype=torch.long)
    regions[: SIDE // 2, SIDE // 2 :] = 1
    regions[SIDE // 2 :, : SIDE // 2] = 2
    regions[SIDE // 2 :, SIDE // 2 :] = 3
    noise = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return COLOURS[regions].permute(2, 0, 1)[None] - 0.5 + 0.01 * noise, regions


def modules(half: Half) -> list[nn.Module]:
    return [*half.down, *half.join]


def test_has_the_layers_of_the_paper() -> None:
    with torch.device("meta"):
        network = WNet(VARIANTS["paper"])
    halves = network.encoder, network.decoder
    assert [len(modules(half)) for half in halves] == [9, 9]
    kernels = [layer for half in halves for layer in half.modules() if isinstance(layer, nn.Conv2d)]
    convolutions = [layer for layer in kernels if layer.groups == 1]  # a depthwise one is half a layer
    steps = [layer for half in halves for layer in half.up]
    assert len(convolutions) + len(steps) == 46
    separable = [any(getattr(k, "groups", 1) > 1 for k in m) for half in halves for m in modules(half)]
    assert [i for i, is_so in enumerate(separable, 1) if not is_so] == [1, 9, 10, 18]


def test_the_terms_are_the_papers() -> None:
    torch.manual_seed(0)
    network = WNet(replace(VARIANTS["tiny"], unit=20.0)).eval()
    images = torch.rand(2, 3, 17, 30)
    with torch.no_grad():
        terms = network.terms(images, ())
        probs = network(images).logits.softmax(1)
        torch.testing.assert_close(terms["cut"], soft_ncut(probs, 20 * images))
        error = (network.decoder(probs) - images).square().mean()
    torch.testing.assert_close(terms["reconstruction"], error)
    torch.testing.assert_close(terms["loss"], terms["cut"] + error)


def test_the_cut_moves_the_encoder_alone() -> None:
    torch.manual_seed(0)
    network = WNet(VARIANTS["tiny"]).train()
    terms = network.terms(torch.rand(1, 3, 16, 16))
    terms["cut"].backward(retain_graph=True)
    assert all(p.grad is not None for p in network.encoder.parameters())
    assert all(p.grad is None for p in network.decoder.parameters())
    terms["reconstruction"].backward()
    assert all(p.grad is not None for p in network.decoder.parameters())


@pytest.mark.parametrize("parts", [4, 6])
def test_finds_the_four_colours_without_labels(parts: int) -> None:
    torch.manual_seed(0)
    network = WNet(replace(VARIANTS["tiny"], unit=255.0, classes=parts)).train()
    image, regions = four_colours()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        network.terms(image)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        found = network(image).logits.argmax(1)[0]
    shared = torch.stack([torch.bincount(found[regions == r], minlength=parts) for r in range(4)])
    assert shared.amax(0).sum() >= ENOUGH * regions.numel(), "a part lies in several regions"
    if parts == 4:
        assert shared.amax(1).sum() >= ENOUGH * regions.numel(), "a region has several parts"
