"""Maps read at points, and the points worth reading.

A point is (x, y) or (x, y, z) as a share of the map's extent, from 0 at one border to 1 at the other, so that
a small prediction and a large truth are read at the same places. Pixel ``i`` of ``n`` has its centre at
``(i + 0.5) / n``; between centres values are linear, and beyond the border all maps are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.losses import points_kernels as kernels
from segmentarium.ops.share import share

Draw = Callable[[tuple[int, ...]], Float[Tensor, "..."]]
Rest = Literal["fresh", "unselected"]


def drawing(source: Draw | torch.Generator | None, device: torch.device) -> Draw:
    """Where random numbers from 0 to 1 come from.

    Args:
        source: a generator, numbers of one's own by their shape, or None for torch's own stream.
        device: where the numbers are needed; they are drawn where the generator lives.
    """
    if callable(source):
        own = source
        return lambda shape: own(shape).to(device)
    return lambda shape: torch.rand(
        shape, generator=source, device=source.device if source is not None else device
    ).to(device)


def sample(
    maps: Float[Tensor, " maps *s"] | Bool[Tensor, " maps *s"],
    points: Float[Tensor, "n d"] | Float[Tensor, "m n d"],
    *,
    rows: Int[Tensor, " m"] | None = None,
) -> Float[Tensor, "m n"]:
    """Read maps at points.

    Args:
        maps: numbers, or masks of which the covered share is read.
        points: one set for all maps, or one set for each.
        rows: the map that each set is for; by default the sets are in the order of the maps. Masks are not
            copied for it.

    Source: bilinear reading at points as in PointRend (Kirillov et al. 2020, arXiv:1912.08193, section 3.1).
    """
    if points.shape[-1] != maps.ndim - 1:
        raise BadArgument(
            f"points of {points.shape[-1]} coordinates came for maps of {maps.ndim - 1} axes",
            allowed="(x, y) for images, (x, y, z) for volumes",
            cure="pass one coordinate an axis",
        )
    if points.ndim == 2:
        return _at_shared(maps if rows is None else maps[rows], points)
    return _at_own(maps, points, torch.arange(len(points), device=maps.device) if rows is None else rows)


def uncertain_points(
    logits: Float[Tensor, " m *s"],
    count: int,
    *,
    draw: Draw,
    oversample: float = 3.0,
    importance: float = 0.75,
    rest: Rest = "fresh",
    void: Bool[Tensor, " b *t"] | None = None,
    images: Int[Tensor, " m"] | None = None,
) -> Float[Tensor, "m count d"]:
    """Points that lie mostly where a mask is undecided, for each mask its own.

    Args:
        logits: 0 is undecided.
        count: how many points a mask gets.
        draw: first asked for all candidates, ``(m, count * oversample, d)``, then for the rest.
        oversample: how many candidates are drawn for each point.
        importance: the share of points that are the least decided candidates.
        rest: the other points are drawn anew over the whole map (PointRend, Mask2Former), or are candidates
            that were not selected.
        void: candidates there are selected last.
        images: the row of ``void`` that belongs to each mask; by default they are in one order.

    Source: Kirillov et al. 2020, arXiv:1912.08193, section 3.1; numbers of Cheng et al. 2022,
        arXiv:2112.01527, section 4.1.
    """
    _require_shares(count, oversample, importance)
    masks, axes = len(logits), logits.ndim - 1
    candidates = draw((masks, int(count * oversample), axes)).to(logits.dtype)
    with torch.no_grad():
        doubt = -sample(logits, candidates).abs()
        if void is not None:
            doubt = doubt.masked_fill(sample(void, candidates, rows=images) > 0, -torch.inf)
    selected = doubt.topk(int(importance * count), dim=1).indices
    points = _take(candidates, selected)
    missing = count - points.shape[1]
    if rest == "fresh":
        others = draw((masks, missing, axes)).to(logits.dtype) if missing else points[:, :0]
    else:
        # candidates are independent, so the first that were not selected are as random as any others
        passed = torch.zeros_like(doubt, dtype=torch.uint8).scatter(1, selected, 1)
        others = _take(candidates, passed.argsort(dim=1, stable=True)[:, :missing])
    return torch.cat([points, others], dim=1)


def _take(points: Float[Tensor, "m n d"], which: Int[Tensor, "m k"]) -> Float[Tensor, "m k d"]:
    return points.gather(1, which[..., None].expand(-1, -1, points.shape[-1]))


def sample_together(
    jobs: Sequence[tuple[Shaped[Tensor, "..."], Float[Tensor, "..."]]],
) -> list[Float[Tensor, "..."]]:
    """:func:`sample` of several stacks of maps ``(m, *s)``, each at points ``(n, d)`` that its maps share.

    One call for a whole batch wakes the threads once; between torch's own parallel loops that is half the
    time.
    """
    if not all(_is_compiled(maps) for maps, _ in jobs):
        return [sample(maps, points) for maps, points in jobs]
    readings = [_reading(maps, points) for maps, points in jobs]
    firsts = list(accumulate((len(maps) for maps, _ in jobs), initial=0))

    def read(start: int, stop: int) -> None:
        for reading, first, following in zip(readings, firsts[:-1], firsts[1:], strict=True):
            if start < following and first < stop:
                kernels.read(*reading, max(start - first, 0), min(stop, following) - first)

    share(read, firsts[-1])
    return [torch.from_numpy(reading.values) for reading in readings]


class _Reading(NamedTuple):
    """What the compiled loop takes; ``values`` it fills."""

    maps: np.ndarray
    place: np.ndarray
    weight: np.ndarray
    order: np.ndarray
    values: np.ndarray


def _reading(maps: Shaped[Tensor, " m *s"], points: Float[Tensor, "n d"]) -> _Reading:
    xy, size = points.detach().numpy(), maps.shape[1:]
    rows = (xy[:, -1] * size[0]).astype(np.int32).astype(np.uint16)
    order = rows.argsort(kind="stable")  # of sixteen bits, it is sorted by radix
    place = np.empty((len(xy), 2 ** len(size)), np.int32)
    weight = np.empty(place.shape, xy.dtype)
    numbers = np.array([0, 0.5, 1], xy.dtype)
    kernels.corners(xy, np.array(size, np.int64), numbers, order, place, weight)
    kind = xy.dtype if maps.dtype == torch.bool else maps.detach()[:0].numpy().dtype
    flat = maps.detach().flatten(1).contiguous()
    return _Reading(
        (flat.view(torch.uint8) if maps.dtype == torch.bool else flat).numpy(),
        place,
        weight.astype(kind, copy=False),
        order,
        np.empty((len(maps), len(xy)), kind),
    )


def _is_compiled(maps: Shaped[Tensor, " m *s"]) -> bool:
    learning = maps.requires_grad and torch.is_grad_enabled()
    kinds = (torch.bool, torch.float32, torch.float64)
    return maps.device.type == "cpu" and maps.dtype in kinds and not learning


def _at_shared(
    maps: Float[Tensor, " m *s"] | Bool[Tensor, " m *s"], points: Float[Tensor, "n d"]
) -> Float[Tensor, "m n"]:
    return sample_together([(maps, points)])[0] if _is_compiled(maps) else _gathered(maps, points)


def _gathered(
    maps: Float[Tensor, " m *s"] | Bool[Tensor, " m *s"], points: Float[Tensor, "n d"]
) -> Float[Tensor, "m n"]:
    place, weight = _corners(points, maps.shape[1:])
    flat = maps.flatten(1)
    if maps.dtype == torch.bool:
        return (flat[:, place] * weight).sum(1)
    # one fused gather and sum of whole rows, all maps of a pixel side by side
    weight = weight.T.to(maps.dtype).contiguous()
    return functional.embedding_bag(
        place.T.contiguous(), flat.T.contiguous(), mode="sum", per_sample_weights=weight
    ).T


def _at_own(
    maps: Float[Tensor, " maps *s"] | Bool[Tensor, " maps *s"],
    points: Float[Tensor, "m n d"],
    rows: Int[Tensor, " m"],
) -> Float[Tensor, "m n"]:
    if maps.dtype == torch.bool:
        place, weight = _corners(points, maps.shape[1:])
        start = rows * maps.shape[1:].numel()
        return (maps.reshape(-1)[place + start[:, None]] * weight).sum(0)
    sets, each, axes = points.shape
    grid = (2 * points.to(maps.dtype) - 1).view(sets, each, *[1] * (axes - 1), axes)
    return functional.grid_sample(maps[rows][:, None], grid, align_corners=False).reshape(sets, each)


def _corners(
    points: Float[Tensor, " *m d"], size: Sequence[int]
) -> tuple[Int[Tensor, " corners *m"], Float[Tensor, " corners *m"]]:
    """The pixels around each point, by their place in the flattened map, and how much each counts."""
    place = torch.zeros((1, *points.shape[:-1]), dtype=torch.int64, device=points.device)
    weight = torch.ones_like(place, dtype=points.dtype)
    for axis, length in enumerate(size):
        position = points[..., len(size) - 1 - axis] * length - 0.5
        low = position.floor()
        high, first = position - low, low.long()
        near = torch.stack([first, first + 1])
        share = torch.stack([1 - high, high]).masked_fill((near < 0) | (near >= length), 0)
        place = (place[:, None] * length + near.clamp_(0, length - 1)).flatten(0, 1)
        weight = (weight[:, None] * share).flatten(0, 1)
    return place, weight


def _require_shares(count: int, oversample: float, importance: float) -> None:
    if count < 1 or oversample < 1 or not 0 <= importance <= 1:
        raise BadArgument(
            f"count={count}, oversample={oversample}, importance={importance}",
            allowed="count and oversample of at least 1, importance from 0 to 1",
            cure="the papers use 12544, 3 and 0.75",
        )
