"""The loss of networks that return one score a class and pixel."""

from __future__ import annotations

import os
import socket
from math import log
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadMask, BadRecipe
from segmentarium.losses import SemanticLoss, sum_over_processes
from segmentarium.nn import Semantic

ALL = {"cross_entropy": 1.0, "dice": 0.5, "focal": 2.0, "jaccard": 0.25}


def scene(
    seed: int = 0, *, batch: int = 2, classes: int = 4, size: tuple[int, ...] = (7, 9)
) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, *size, generator=draw, dtype=torch.float64)
    return logits, torch.randint(-1, classes, (batch, *size), generator=draw, dtype=torch.int32)


def slow_twin(logits: Tensor, labels: Tensor, weight: Tensor, name: str) -> Tensor:
    """Each term over a one-hot map of the pixels that count, as the papers write it."""
    keep = labels >= 0
    probs = logits.softmax(1).movedim(1, -1)[keep]
    truth = functional.one_hot(labels[keep].long(), logits.shape[1]).to(logits.dtype)
    worth = weight[keep]
    true = (probs * truth).sum(1)
    if name in ("cross_entropy", "focal"):
        each = -true.log() * ((1 - true) ** 2 if name == "focal" else 1)
        return (each * worth).sum() / worth.sum()
    hit = (probs * truth * worth[:, None]).sum(0)
    both = ((probs + truth) * worth[:, None]).sum(0)
    score = 2 * hit / both if name == "dice" else hit / (both - hit)
    return 1 - score[truth.sum(0) > 0].mean()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(7, 9), (3, 4, 5)])
def test_equals_its_slow_twin(name: str, size: tuple[int, ...]) -> None:
    logits, labels = scene(size=size)
    weight = torch.rand(labels.shape, dtype=torch.float64)
    got = SemanticLoss({name: 1.0})(Semantic(logits), labels, weight)
    torch.testing.assert_close(got[name], slow_twin(logits, labels, weight, name))
    assert set(got) == {name, "loss"}


def test_cross_entropy_is_torchs_own() -> None:
    logits, labels = scene()
    weights = torch.tensor([1.0, 0.2, 3.0, 0.5], dtype=torch.float64)
    got = SemanticLoss({"cross_entropy": 1.0}, class_weights=weights)(Semantic(logits), labels)["loss"]
    torch.testing.assert_close(got, functional.cross_entropy(logits, labels.long(), weights, ignore_index=-1))


def test_by_eye() -> None:
    even = torch.zeros(1, 2, 1, 4)
    got = SemanticLoss(ALL)(Semantic(even), torch.tensor([[[0, 0, 1, -1]]]))
    # half a chance everywhere: dice 1 - 2 (1) / (1.5 + 2) and 1 - 2 (0.5) / (1.5 + 1)
    expected = {
        "cross_entropy": log(2),
        "focal": log(2) / 4,
        "dice": (3 / 7 + 3 / 5) / 2,
        "jaccard": (3 / 5 + 3 / 4) / 2,
    }
    assert {name: got[name].item() for name in expected} == pytest.approx(expected)
    assert got["loss"].item() == pytest.approx(sum(ALL[name] * value for name, value in expected.items()))


@pytest.mark.parametrize("name", ALL)
def test_gradients(name: str) -> None:
    logits, labels = scene(size=(2, 3))
    loss = SemanticLoss({name: 1.0})
    assert torch.autograd.gradcheck(lambda x: loss(Semantic(x), labels)["loss"], logits.requires_grad_())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), junk=st.sampled_from([1e30, -1e30, float("nan"), float("inf")]))
def test_void_changes_nothing(seed: int, junk: float) -> None:
    logits, labels = scene(seed, size=(3, 4))
    void = (labels < 0)[:, None].expand_as(logits)
    clean, dirty = logits.clone().requires_grad_(), logits.masked_fill(void, junk).requires_grad_()
    loss = SemanticLoss(ALL)
    values = [loss(Semantic(maps), labels) for maps in (clean, dirty)]
    for value in values:
        value["loss"].backward()
    assert all(torch.equal(values[0][name], values[1][name]) for name in values[0])
    assert clean.grad is not None
    assert dirty.grad is not None
    assert torch.equal(clean.grad, dirty.grad)
    assert (clean.grad[void] == 0).all()


@pytest.mark.parametrize("name", ALL)
def test_all_void_is_nothing(name: str) -> None:
    logits, labels = scene()
    logits.requires_grad_()
    loss = SemanticLoss({name: 1.0})(Semantic(logits), torch.full_like(labels, -1))["loss"]
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_half_precision_stays_finite(dtype: torch.dtype, scale: float) -> None:
    logits, labels = scene()
    low = (scale * logits).clamp(-6e4, 6e4).to(dtype).requires_grad_()
    value = SemanticLoss(ALL)(Semantic(low), labels)["loss"]
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert low.grad is not None
    assert low.grad.isfinite().all()


def test_logits_of_a_stride_are_brought_to_the_labels() -> None:
    logits, labels = scene(size=(8, 12))
    small = functional.avg_pool2d(logits, 4)
    large = functional.interpolate(small, size=(8, 12), mode="bilinear", align_corners=False)
    loss = SemanticLoss(ALL)
    torch.testing.assert_close(loss(Semantic(small), labels), loss(Semantic(large), labels))


def test_labels_are_cut_for_a_network_with_a_border() -> None:
    logits, labels = scene(size=(10, 12))
    weight = torch.rand(labels.shape)
    inner = (slice(None), slice(2, -2), slice(2, -2))
    cut = SemanticLoss(ALL)(Semantic(logits[:, :, 2:-2, 2:-2]), labels[inner], weight[inner])
    torch.testing.assert_close(
        SemanticLoss(ALL, border=2)(Semantic(logits[:, :, 2:-2, 2:-2]), labels, weight), cut
    )


def test_unknown_and_missing_terms_are_refused() -> None:
    with pytest.raises(BadRecipe, match="did you mean 'dice'"):
        SemanticLoss({"dic": 1.0})
    with pytest.raises(BadRecipe, match="without any term"):
        SemanticLoss({})


def test_a_class_too_many_is_told() -> None:
    logits, labels = scene()
    with pytest.raises(BadMask, match="class index 9 came to a network of 4 classes"):
        SemanticLoss(ALL)(Semantic(logits), labels.clamp_min(9))


def _one_of_two(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    logits, labels = scene()
    mine = logits[rank : rank + 1].requires_grad_()
    loss = SemanticLoss(ALL, total=sum_over_processes)(Semantic(mine), labels[rank : rank + 1])["loss"]
    loss.backward()
    torch.save({"loss": loss.detach(), "gradient": mine.grad}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_a_batch_spread_over_processes_is_one_batch(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_one_of_two, (port, str(tmp_path)), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    logits, labels = scene()
    whole = SemanticLoss(ALL)(Semantic(logits.requires_grad_()), labels)["loss"]
    whole.backward()
    assert logits.grad is not None
    for part in parts:
        torch.testing.assert_close(part["loss"], whole.detach())
    # DistributedDataParallel divides the sum over processes by their number
    torch.testing.assert_close(torch.cat([part["gradient"] for part in parts]) / 2, logits.grad)
