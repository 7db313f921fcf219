"""Rung 2: every network of pictures that names each pixel learns four drawn pictures by heart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import segmentarium.models as registry
from segmentarium.data.shapes import draw_scene
from segmentarium.losses import SemanticLoss
from segmentarium.metrics.confusion import ConfusionMatrix
from segmentarium.nn import geometry_of, resize
from segmentarium.weights import read_card

NAMES = [
    f"{name}-tiny"
    for name in registry.architectures()
    if read_card(name).output == "semantic" and registry.dimensions(name) == 2
]
CLASSES = 3
ENOUGH = 0.95
STEPS = 240
LOOK_EVERY = 20


def four_pictures(size: int) -> tuple[Tensor, Tensor]:
    """Images b c h w from -0.5 to 0.5 and labels b h w."""
    scenes = [draw_scene((11, n), size=(size, size), classes=CLASSES, objects=2) for n in range(4)]
    images = torch.stack([torch.from_numpy(s.image.pixels).permute(2, 0, 1) for s in scenes])
    return images.float() / 255 - 0.5, torch.stack([torch.from_numpy(s.labels).long() for s in scenes])


def mean_iou(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    network.eval()
    with torch.inference_mode():
        found = resize(network(images).logits, labels.shape[1:]).argmax(1)
    network.train()
    matrix = ConfusionMatrix(CLASSES)
    for one, truth in zip(found, labels, strict=True):
        matrix.update(one.int().numpy(), truth.int().numpy())
    return float(matrix.compute().mean_iou)


@pytest.mark.parametrize("name", NAMES)
def test_learns_four_pictures_by_heart(name: str) -> None:
    torch.manual_seed(1)
    network = registry.build(name, classes=CLASSES).train()
    images, labels = four_pictures(geometry_of(network).input_side(96))
    loss = SemanticLoss({"cross_entropy": 1.0}, border=geometry_of(network).border)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0)
    score = 0.0
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, step / 20, 2 * (1 - step / (STEPS + 1)))
        optimizer.zero_grad()
        loss(network(images), labels)["loss"].backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if step % LOOK_EVERY == 0:
            score = mean_iou(network, images, labels)
            if score >= ENOUGH:
                return
    raise AssertionError(f"{name} reached a mean IoU of {score:.3f} in {STEPS} steps, wanted {ENOUGH}")
