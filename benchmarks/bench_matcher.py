"""Matching of queries to true masks, and the loss: ours against Mask2Former's in transformers.

    python benchmarks/bench_matcher.py [--rounds 7]

Batch 8, 100 queries, 40 truths, predictions 128x128, truths 512x512, 12544 points; both get the same points
and must find the same assignments.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerHungarianMatcher, Mask2FormerLoss

from harness import Race
from segmentarium.losses.mask_classification import SETTINGS, MaskClassificationLoss
from segmentarium.losses.matching import Pairs, Truth, assign
from segmentarium.losses.points import sample
from segmentarium.nn.outputs import Queries

BATCH, QUERIES, TRUTHS, KINDS, SMALL, LARGE, POINTS = 8, 100, 40, 150, 128, 512, 12544


def regions(seed: int) -> Tensor:
    """The nearest of 40 random seeds at each pixel."""
    draw = torch.Generator().manual_seed(seed)
    seeds = LARGE * torch.rand(TRUTHS, 2, 1, 1, generator=draw)
    grid = torch.stack(torch.meshgrid(torch.arange(LARGE), torch.arange(LARGE), indexing="ij"))
    best, nearest = torch.full((LARGE, LARGE), torch.inf), torch.zeros(LARGE, LARGE, dtype=torch.int64)
    for number, place in enumerate(seeds):
        away = (grid - place).square().sum(0)
        nearest = torch.where(away < best, number, nearest)
        best = torch.minimum(away, best)
    return nearest


def scene() -> tuple[Queries, list[Truth]]:
    """Truths that cover the image; predictions are blurred truths, some of them twice, with noise."""
    draw = torch.Generator().manual_seed(0)
    masks = torch.stack(
        [regions(image)[None] == torch.arange(TRUTHS)[:, None, None] for image in range(BATCH)]
    )
    blurred = avg_pool2d(interpolate(masks.float(), size=SMALL), 5, 1, 2)
    logits = 8 * blurred.repeat(1, 3, 1, 1)[:, :QUERIES] - 4
    logits += torch.randn(logits.shape, generator=draw)
    classes = torch.randint(0, KINDS, (BATCH, TRUTHS), generator=draw)
    output = Queries(torch.randn(BATCH, QUERIES, KINDS + 1, generator=draw), logits)
    return output, [Truth(*pair) for pair in zip(masks, classes, strict=True)]


def same_points(matcher: Mask2FormerHungarianMatcher, *inputs: object) -> tuple[Tensor, object]:
    """What it finds from a known seed, and the points it had."""
    torch.manual_seed(0)
    found = matcher(*inputs)
    torch.manual_seed(0)
    return torch.cat([torch.rand(1, POINTS, 2) for _ in range(BATCH)]), found


def race_matchers(output: Queries, truths: list[Truth], rounds: int) -> None:
    setting = SETTINGS["mask2former"]
    ours = setting.matcher()
    theirs = Mask2FormerHungarianMatcher(
        setting.class_weight, setting.mask_weight, setting.dice_weight, POINTS
    )
    inputs = (output.mask_logits, output.class_logits, *as_floats(truths))
    points, expected = same_points(theirs, *inputs)
    found = ours(output, truths, draw=lambda shape: points)
    equal = all(torch.equal(m.truths, e[1]) for m, e in zip(found, expected, strict=True))
    pairs = [
        Pairs(classes, truth.classes, sample(masks, own), sample(truth.masks, own))
        for classes, masks, truth, own in zip(*output[:2], truths, points, strict=True)
    ]
    costs = [sum(w * cost(one) for cost, w in ours.costs.items()).numpy() for one in pairs]
    contenders = {
        "transformers": lambda: theirs(*inputs),
        "HungarianMatcher": lambda: ours(output, truths),
        "(part) reading predictions": lambda: [
            sample(masks, own) for masks, own in zip(output.mask_logits, points, strict=True)
        ],
        "(part) reading truths": lambda: [
            sample(truth.masks, own) for truth, own in zip(truths, points, strict=True)
        ],
        "(part) costs": lambda: [[cost(replace(one)) for cost in ours.costs] for one in pairs],
        "(part) assignment": lambda: [assign(cost) for cost in costs],
    }
    Race(f"matching, {torch.get_num_threads()} threads; assignments equal: {equal}").run(
        contenders, rounds=rounds
    ).show()


def race_losses(output: Queries, truths: list[Truth], rounds: int) -> None:
    """Two images, one output, forward and backward."""
    two = Queries(*(logits[:2].clone().requires_grad_() for logits in output[:2]))
    config = Mask2FormerConfig(num_labels=KINDS)
    theirs, ours = Mask2FormerLoss(config, {}), MaskClassificationLoss("mask2former")
    masks, classes = as_floats(truths[:2])

    def of_theirs() -> object:
        return torch.autograd.grad(sum(theirs(two[1], two[0], masks, classes).values()), two[:2])

    Race(f"loss and gradient, {torch.get_num_threads()} threads").run(
        {
            "transformers": of_theirs,
            "MaskClassificationLoss": lambda: torch.autograd.grad(ours(two, truths[:2])["loss"], two[:2]),
        },
        rounds=rounds,
    ).show()


def as_floats(truths: list[Truth]) -> tuple[list[Tensor], list[Tensor]]:
    return [truth.masks.float() for truth in truths], [truth.classes for truth in truths]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    output, truths = scene()
    with torch.no_grad():
        race_matchers(output, truths, rounds)
    race_losses(output, truths, rounds)


if __name__ == "__main__":
    main()
