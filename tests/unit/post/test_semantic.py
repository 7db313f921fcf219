"""The fused resize and argmax against torch, and the finisher."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from segmentarium.nn.outputs import Semantic
from segmentarium.ops.tiles import Window
from segmentarium.post import argmax_resized, finish_semantic, probabilities
from segmentarium.post.semantic import _argmax_strips
from segmentarium.values.classes import Classes


def drawn_logits(classes: int, height: int, width: int, *, noise: float, seed: int = 0) -> Tensor:
    """Smooth scores with clear winners, and as much noise as asked for."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(2, classes, max(1, height // 8), max(1, width // 8), generator=generator)
    smooth = interpolate(coarse, size=(height, width), mode="bilinear")
    return 4 * smooth + noise * torch.randn(2, classes, height, width, generator=generator)


def by_torch(logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    return interpolate(logits, size=size, mode="bilinear", align_corners=False).argmax(1).numpy()


@pytest.mark.parametrize("noise", [0.1, 2.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("classes", "scores", "size"),
    [
        (19, (33, 47), (131, 190)),
        (150, (16, 16), (64, 64)),
        (2, (40, 30), (40, 30)),
        (3, (64, 50), (20, 33)),
        (4, (1, 1), (9, 7)),
        (1, (5, 5), (8, 8)),
    ],
)
def test_labels_are_those_of_torch(
    classes: int, scores: tuple[int, int], size: tuple[int, int], layout: torch.memory_format, noise: float
) -> None:
    logits = drawn_logits(classes, *scores, noise=noise).contiguous(memory_format=layout)
    labels = argmax_resized(logits, size)
    assert labels.shape == (2, *size)
    assert labels.dtype == np.uint8
    differing = int((labels != by_torch(logits, size)).sum())
    assert differing <= 1e-5 * labels.size + (classes > 20) + (noise > 1)


def test_the_first_of_equal_scores_wins() -> None:
    logits = torch.zeros(1, 12, 3, 3)
    logits[:, 0] = -1
    assert (argmax_resized(logits, (7, 7)) == 1).all()
    assert (argmax_resized(logits, (3, 3)) == 1).all()


def test_an_edge_falls_where_the_interpolated_scores_cross() -> None:
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 1] = torch.tensor([-1.0, 3.0])
    assert argmax_resized(logits, (1, 8)).tolist() == [[[0, 0, 0, 1, 1, 1, 1, 1]]]


@pytest.mark.parametrize("classes", [200, 257])
def test_many_classes_get_a_wider_type(classes: int) -> None:
    logits = torch.zeros(1, classes, 2, 2)
    logits[:, -1] = 1
    labels = argmax_resized(logits, (3, 3))
    assert labels.dtype == (np.uint8 if classes <= 256 else np.uint16)
    assert (labels == classes - 1).all()


@pytest.mark.parametrize("size", [(40, 56), (80, 100), (30, 20)])
def test_a_window_is_a_part_of_the_whole(size: tuple[int, int]) -> None:
    logits = drawn_logits(7, 40, 56, noise=1.0)
    window = Window(11, 3, 28, 19)
    whole = argmax_resized(logits, size)
    assert np.array_equal(argmax_resized(logits, size, window=window), whole[:, 11:28, 3:19])


def test_half_precision_and_strided_scores_are_taken() -> None:
    logits = drawn_logits(5, 24, 24, noise=0.5)
    strided = logits[:, :, ::2, ::2]
    assert np.array_equal(argmax_resized(strided, (24, 24)), by_torch(strided.contiguous(), (24, 24)))
    half = logits.to(torch.bfloat16)
    assert np.mean(argmax_resized(half, (48, 48)) == by_torch(half.float(), (48, 48))) > 0.999


def test_strips_for_other_devices_give_the_same_labels() -> None:
    logits = drawn_logits(6, 20, 30, noise=0.5)
    strips = _argmax_strips(logits, (50, 70), Window(5, 6, 45, 66))
    assert np.mean(strips == by_torch(logits, (50, 70))[:, 5:45, 6:66]) > 0.999


def test_probabilities_are_the_softmax_of_the_resized_scores() -> None:
    logits = drawn_logits(3, 10, 12, noise=0.5)
    shares = probabilities(logits, (20, 30))
    expected = interpolate(logits, size=(20, 30), mode="bilinear").softmax(1).numpy()
    assert shares.dtype == np.float16
    assert np.allclose(shares, expected, atol=2e-3)


def test_the_finisher_crops_what_was_mirrored_and_keeps_the_classes() -> None:
    classes = Classes.named("background", "cell", "dirt")
    output = Semantic(drawn_logits(3, 16, 16, noise=0.5)[:1])
    result = finish_semantic(output, (32, 32), classes, window=Window(0, 0, 20, 25), probs=True)
    assert result.labels.shape == (20, 25)
    assert result.classes is classes
    assert result.probs is not None
    assert result.probs.shape == (3, 20, 25)
