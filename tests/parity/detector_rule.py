"""What the parity tests of detectors share: weights, truths, the stages of a detector, the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from rule import fill, uniform
from torch import Tensor, nn

from segmentarium.nn import Truth

QUIET = {
    ("bn3.weight", "bn2.weight"): 0.3,  # or each block would double the spread
    ("inner_blocks", "pyramid.lateral"): 0.3,
    ("bbox_pred", ".shift."): 0.05,  # boxes stay near the image
    ("cls_logits", "cls_score", "proposals.classify", "box.classify"): 0.1,  # or scores round to one and tie
    ("mask_fcn_logits", "mask.classify"): 0.1,
}


def fill_detector(network: nn.Module, seed: int) -> None:
    """The rule of ``rule.py``, with the tensors of ``QUIET``, torchvision's or ours, made smaller."""
    fill(network, seed)
    for name, tensor in network.state_dict().items():
        for parts, factor in QUIET.items():
            if any(part in name for part in parts):
                tensor.mul_(factor)


def scene(size: tuple[int, int], *, classes: int, seed: int) -> tuple[list[Truth], list[Tensor]]:
    """Two images: one with three ellipses, one with two; and 17 keypoints in the box of each, some unseen."""
    rows, columns = torch.meshgrid(*(torch.arange(side) + 0.5 for side in size), indexing="ij")
    truths, keypoints = [], []
    for image, count in enumerate((3, 2)):
        u = torch.from_numpy(uniform((count, 4 + 17 * 3), seed, 2_000_000 + image))
        centre = (0.2 + 0.6 * u[:, :2]) * torch.tensor(size)
        radius = 6 + 20 * u[:, 2:4]
        away = (rows - centre[:, 0, None, None]) / radius[:, 0, None, None]
        along = (columns - centre[:, 1, None, None]) / radius[:, 1, None, None]
        kinds = torch.arange(count) % classes
        truths.append(Truth(away.square() + along.square() < 1, kinds))
        points = u[:, 4:].reshape(count, 17, 3)
        places = centre[:, None].flip(-1) + (points[..., :2] - 0.5) * 1.5 * radius[:, None].flip(-1)
        keypoints.append(torch.cat([places, (points[..., 2:] > 0.2).to(places)], dim=-1).float())
    return truths, keypoints


def stages(network: Any, images: Tensor) -> dict[str, Tensor]:
    """What our detectors compute on their way, in the order of computing; the ground is last or absent."""
    maps, detector, size = network._maps(images), network.detector, images.shape[-2:]
    seen = {f"pyramid {level}": own for level, own in enumerate(maps)}
    for level, own in enumerate(maps):
        hidden = detector.proposals.convolve(own)
        seen[f"objectness {level}"] = detector.proposals.classify(hidden)
        seen[f"shifts {level}"] = detector.proposals.shift(hidden)
    proposals = detector.proposals.propose(detector.proposals(maps), size, training=False)
    regions = detector.box_pooling(maps, proposals)
    kinds, moves = detector.box(regions)
    seen |= {"proposals": torch.cat(proposals), "regions": regions, "classes": kinds}
    found = detector(maps, size)
    seen |= {"moves": moves.flatten(1), "boxes": found.boxes, "scores": found.scores, "kinds": found.classes}
    masks, keypoints = detector._outline(maps, [found.boxes[found.image == i] for i in range(len(images))])
    if masks is not None:
        seen |= {"masks": masks, "found masks": found.mask_logits.sigmoid()}
    if keypoints is not None:
        seen["keypoints"] = keypoints
        assert torch.equal(found.keypoint_logits, keypoints)
    return seen


def assert_equal(seen: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> float:
    """Equal to ``tolerance`` of each tensor's largest value; the first that differs is named.

    Returns the largest error.
    """
    assert list(seen) == list(expected)
    worst = 0.0
    for name, value in expected.items():
        own = seen[name].detach()
        assert own.shape == value.shape, f"first difference at {name}: {own.shape} for {value.shape}"
        error = ((own - value).abs().max() / value.abs().max().clamp_min(1e-12)).item()
        assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"
        worst = max(worst, error)
    return worst
