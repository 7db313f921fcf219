"""Region mutual information has the values and gradients of NVIDIA/semantic-segmentation, recorded."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from rule import uniform
from safetensors.torch import load_file
from torch import Tensor

from segmentarium.losses import RegionMutualInformation

RECORD = Path(__file__).with_name("rmi.safetensors")
FACTS = tomllib.loads(Path(__file__).with_name("rmi.toml").read_text(encoding="utf-8"))
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}


@dataclass(frozen=True)
class Case:
    """``sure``: how far logits of true classes are above the others; ``void``: the share of such pixels."""

    classes: int
    size: tuple[int, int]
    sure: float = 2.0
    void: float = 0.0


CASES = {
    "plain": Case(4, (48, 64)),
    "odd": Case(3, (45, 61)),
    "void": Case(5, (50, 39), void=0.3),
    "sure": Case(3, (40, 56), sure=12.0, void=0.1),
}


def scene(case: Case) -> tuple[Tensor, Tensor]:
    """Two images of waves of classes, with noise and void pixels by the rule."""
    height, width = case.size
    u = torch.from_numpy(uniform((2, case.classes + 2, height, width), FACTS["seed"], case.classes))
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    waves = torch.stack([(rows + shift * columns) / 7 for shift in (1, 2)]).sin()
    labels = ((waves + 1) / 2 * case.classes).long().clamp_max(case.classes - 1)
    labels = torch.where(u[:, -1] < 0.05, (u[:, -2] * case.classes).long(), labels)
    truth = torch.nn.functional.one_hot(labels, case.classes).movedim(-1, 1)
    logits = 4 * u[:, : case.classes] - 2 + case.sure * (truth - 0.5)
    return logits, labels.masked_fill(u[:, -2] < case.void, -1)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_equals_what_was_recorded(name: str, dtype: torch.dtype) -> None:
    recorded, tolerance = load_file(RECORD), TOLERANCE[dtype]
    logits, labels = scene(CASES[name])
    logits = logits.to(dtype).requires_grad_()
    # theirs divides the cross-entropy by the pixels and one more
    pixels = int((labels >= 0).sum())
    entropy = RegionMutualInformation(share=1.0)(logits, labels) * pixels / (pixels + 1)
    value = 0.5 * entropy + 0.5 * RegionMutualInformation(share=0.0)(logits, labels)
    gradient = torch.autograd.grad(value, logits, retain_graph=True)[0][:, :, ::3, ::4]
    expected = {part: recorded[f"{name}.{part}"].double() for part in ("entropy", "loss", "gradient")}
    largest = {"entropy": expected["entropy"], "loss": expected["entropy"] + expected["loss"].abs()}
    for part, own in (("entropy", entropy), ("loss", value), ("gradient", gradient)):
        error = (own.detach().double() - expected[part]).abs().max()
        assert error < tolerance * largest.get(part, expected[part].abs().max()), part


def test_the_whole_is_half_of_each() -> None:
    logits, labels = scene(CASES["void"])
    parts = [RegionMutualInformation(share=share)(logits, labels) for share in (1.0, 0.0)]
    torch.testing.assert_close(RegionMutualInformation()(logits, labels), torch.stack(parts).mean())


def test_a_map_that_knows_the_truth_leaves_nothing_open() -> None:
    """The determinant is then that of what is added to the diagonal."""
    _, labels = scene(CASES["plain"])
    truth = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).double()
    value = RegionMutualInformation(share=0.0)(80 * (truth - 0.5), labels)
    least = (
        4 * 0.5 * torch.tensor(5e-4, dtype=torch.float64).log()
    )  # each class: half of nine logarithms, by 9
    assert value < 0.9 * least * 0.5
    assert value > least
