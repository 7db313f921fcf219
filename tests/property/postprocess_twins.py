"""Slow and obvious read-outs: full-size maps, one query after the other, no bounds and no strips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from segmentarium.nn.outputs import Queries
from segmentarium.values.classes import Class, Classes, distinct_color


def some_classes(things: int, stuff: int) -> Classes:
    return Classes(
        Class(id=i, name=f"c{i}", color=distinct_color(i), thing=i < things) for i in range(things + stuff)
    )


def some_queries(seed: int, *, queries: int, classes: int, masks: tuple[int, int], sure: float) -> Queries:
    """Smooth masks of random blobs; ``sure`` is how peaked classes and masks are."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, queries, 4, 5, generator=draw)
    smooth = interpolate(coarse, size=masks, mode="bicubic")
    rough = torch.randn(1, queries, *masks, generator=draw)
    labels = torch.randn(1, queries, classes + 1, generator=draw)
    return Queries(4 * sure * labels, 3 * sure * smooth + 0.2 * rough - 0.5)


def resized(logits: Tensor, size: tuple[int, int], *, aligned: bool = False) -> Tensor:
    return interpolate(logits, size=size, mode="bilinear", align_corners=aligned)[0]


def semantic(output: Queries, size: tuple[int, int]) -> Tensor:
    """Sums by class, in double precision."""
    chances = output.class_logits[0].double().softmax(-1)[:, :-1]
    return torch.einsum("qk,qhw->khw", chances, resized(output.mask_logits.double(), size).sigmoid())


def pairs(output: Queries, size: tuple[int, int], top: int) -> list[tuple[int, float, np.ndarray]]:
    """(class, score, mask) of the likeliest pairs, empty masks and all classes included."""
    chances = output.class_logits[0].softmax(-1)[:, :-1]
    masks = resized(output.mask_logits, size)
    order = sorted(np.ndindex(*chances.shape), key=lambda qk: (-float(chances[qk]), qk))
    found = []
    for query, label in order[:top]:
        inside = masks[query] > 0
        mean = float(masks[query].sigmoid()[inside].double().mean()) if inside.any() else 0.0
        found.append((label, float(chances[query, label]) * mean, inside.numpy()))
    return found


def _kept(output: Queries, score: float) -> list[tuple[int, float, int]]:
    """(query, probability, class) of the queries that take part."""
    found = []
    for query, chances in enumerate(output.class_logits[0].softmax(-1)):
        label = int(chances.argmax())
        if label < len(chances) - 1 and chances[label] > score:
            found.append((query, float(chances[label]), label))
    return found


def by_likelihood(
    output: Queries, size: tuple[int, int], classes: Classes, *, score: float, overlap: float, inside: bool
) -> tuple[np.ndarray, list[int]]:
    """MaskFormer's rule, or Mask2Former's if ``inside``: the map and the class of each segment."""
    ids, labels_of, stuff = np.zeros(size, np.int32), [], {}
    kept = _kept(output, score)
    if not kept:
        return ids, labels_of
    masks = resized(output.mask_logits, size)
    likely = torch.stack([masks[query] for query, _, _ in kept])
    weights = torch.tensor([chance for _, chance, _ in kept])
    winner = (weights[:, None, None] * likely.sigmoid()).argmax(0).numpy()
    for place, (_, _, label) in enumerate(kept):
        own, won = (likely[place] >= 0).numpy(), winner == place
        given = won & own if inside else won
        if not own.sum() or not given.sum() or won.sum() / own.sum() < overlap:
            continue
        if not classes[label].thing and label in stuff:
            ids[given] = stuff[label]
            continue
        labels_of.append(label)
        stuff[label] = len(labels_of)
        ids[given] = len(labels_of)
    return ids, labels_of


def by_elimination(
    output: Queries, size: tuple[int, int], classes: Classes, *, score: float, area: int
) -> tuple[np.ndarray, list[int]]:
    """DETR's rule."""
    kept, masks, first = _kept(output, score), resized(output.mask_logits, size), True
    while kept:
        winner = torch.stack([masks[query] for query, _, _ in kept]).argmax(0).numpy()
        if first:
            for place, (_, _, label) in enumerate(kept):
                same = [p for p, (_, _, other) in enumerate(kept) if other == label]
                if not classes[label].thing:
                    winner[winner == place] = same[0]
        first = False
        areas = [int((winner == place).sum()) for place in range(len(kept))]
        if min(areas) > area:
            return winner + 1, [label for _, _, label in kept]
        kept = [entry for entry, pixels in zip(kept, areas, strict=True) if pixels > area]
    return np.zeros(size, np.int32), []


def by_slots(
    output: Queries,
    size: tuple[int, int],
    classes: Classes,
    *,
    score: float,
    pixel: float,
    thing_area: int,
    stuff_area: int,
) -> list[tuple[int, np.ndarray]]:
    """MaX-DeepLab's rule: (class, mask) of each segment, stuff by class."""
    chances, labels = output.class_logits[0].softmax(-1)[:, :-1].max(-1)
    masks = resized(output.mask_logits, size, aligned=True)
    detected = chances >= score
    if not detected.any():
        return []
    muted = torch.where(detected[:, None, None], masks, torch.tensor(-99999.0))
    confident = (muted.softmax(0).amax(0) > pixel) & (muted.amax(0) == masks.amax(0))
    winner = muted.argmax(0)
    found: dict[tuple[int, int], np.ndarray] = {}
    for query, label in enumerate(labels.tolist()):
        mask = ((winner == query) & confident).numpy()
        key = (label, query if classes[label].thing else -1)
        found[key] = found.get(key, np.zeros(size, bool)) | mask
    limit = {True: thing_area, False: stuff_area}
    return [
        (label, mask)
        for (label, _), mask in found.items()
        if mask.any() and mask.sum() >= limit[classes[label].thing]
    ]


def by_laying(
    output: Queries,
    size: tuple[int, int],
    classes: Classes,
    *,
    thing_score: float,
    stuff_score: float,
    pixel: float,
    overlap: float,
) -> tuple[np.ndarray, list[int]]:
    """kMaX-DeepLab's rule."""
    chances, labels = output.class_logits[0].softmax(-1)[:, :-1].max(-1)
    shares = resized(output.mask_logits, size, aligned=size[1] % 2 == 1).softmax(0)
    binary = shares > pixel
    means = torch.stack(
        [s[b].mean() if b.any() else torch.tensor(0.0) for s, b in zip(shares, binary, strict=True)]
    )
    ids, labels_of, stuff = np.zeros(size, np.int32), [], {}
    for query in torch.argsort(chances * means, descending=True, stable=True).tolist():
        label = int(labels[query])
        thing, mask = classes[label].thing, binary[query].numpy()
        free = mask & (ids == 0)
        sure = chances[query] > (thing_score if thing else stuff_score)
        if not sure or not free.sum() > overlap * mask.sum():
            continue
        if thing or label not in stuff:
            labels_of.append(label)
            stuff[label] = len(labels_of)
        ids[free] = len(labels_of) if thing else stuff[label]
    return ids, labels_of


def pasted(box: Tensor, mask_logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    """detectron2's rule for one object, by sampling the grid at each pixel of the picture."""
    (x0, y0, x1, y1), (height, width) = box.double().tolist(), size
    x = (torch.arange(width, dtype=torch.float64) + 0.5 - x0) / (x1 - x0) * 2 - 1
    y = (torch.arange(height, dtype=torch.float64) + 0.5 - y0) / (y1 - y0) * 2 - 1
    at = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1)
    grid = mask_logits.double().sigmoid()[None, None]
    sampled = torch.nn.functional.grid_sample(grid, at[None], align_corners=False)
    return (sampled[0, 0] >= 0.5).numpy()
