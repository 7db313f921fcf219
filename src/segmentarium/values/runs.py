"""Run-length code of masks as COCO writes it: runs down the columns, background first, packed into ASCII.

Source: the format of COCO's mask annotations (Lin et al. 2014); written from its description.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Int, UInt8

from segmentarium.errors import BadMask

_LONGEST = 12  # characters of the longest number: 60 bits


Box = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in pixels, end exclusive."""


class Rle(TypedDict):
    """A mask in COCO's compressed form; ``size`` is [height, width]."""

    size: list[int]
    counts: str


def encode(mask: Bool[np.ndarray, "h w"]) -> Rle:
    """Pack a mask into COCO's compressed run-length form."""
    height, width = mask.shape
    return {"size": [height, width], "counts": _pack(count_runs(mask))}


def decode(rle: Rle) -> Bool[np.ndarray, "h w"]:
    """Unpack what :func:`encode`, or pycocotools, packed.

    Raises:
        BadMask: the counts do not add up to the size.
    """
    height, width = rle["size"]
    counts = unpack(rle)
    values = np.zeros(len(counts), bool)
    values[1::2] = True
    return np.repeat(values, counts).reshape(width, height).T


def area(rle: Rle) -> int:
    """Pixels inside the mask."""
    return int(unpack(rle)[1::2].sum())


def box(rle: Rle) -> Box:
    """The smallest box around the mask, end exclusive; all zero for an empty mask."""
    height = rle["size"][0]
    starts, ends = _spans(unpack(rle))
    if not len(starts):
        return (0, 0, 0, 0)
    columns, last = (int(starts[0]) // height, int(ends[-1] - 1) // height), ends - 1
    if (starts // height != last // height).any():  # a run over the end of a column meets bottom and top
        return (columns[0], 0, columns[1] + 1, height)
    return (columns[0], int((starts % height).min()), columns[1] + 1, int((last % height).max()) + 1)


def place(rle: Rle, at: tuple[int, int], size: tuple[int, int]) -> Rle:
    """The same mask in a larger picture, with its upper left corner at ``at`` (x, y); no picture is unpacked.

    ``size`` is the height and width of the larger picture.
    """
    height, (x, y) = rle["size"][0], at
    starts, ends = _spans(unpack(rle))
    if not len(starts):
        return {"size": list(size), "counts": _pack(np.array([size[0] * size[1]]))}
    first, last = starts // height, (ends - 1) // height
    pieces = last - first + 1  # a run over several columns is parted where columns end
    column = np.repeat(first, pieces) + _steps(pieces)
    top = np.maximum(np.repeat(starts, pieces) - column * height, 0)
    bottom = np.minimum(np.repeat(ends, pieces) - column * height, height)
    starts, ends = ((x + column) * size[0] + y + row for row in (top, bottom))
    parted = starts[1:] != ends[:-1]  # pieces that touch in the larger picture are one run again
    starts, ends = starts[np.r_[True, parted]], ends[np.r_[parted, True]]
    turns = np.stack([starts, ends], axis=1).reshape(-1)
    counts = np.diff(turns, prepend=0, append=size[0] * size[1])
    return {"size": list(size), "counts": _pack(counts if counts[-1] else counts[:-1])}


def _spans(counts: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Where the runs inside the mask start and end, in the order of the pixels; empty runs are left out."""
    ends = np.cumsum(counts)
    starts, ends = (ends - counts)[1::2], ends[1::2]
    full = ends > starts
    return starts[full], ends[full]


def _steps(counts: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """0, 1 .. count-1 for each count, one after another."""
    steps = np.arange(counts.sum())
    steps -= np.repeat(np.cumsum(counts) - counts, counts)
    return steps


def count_runs(mask: Bool[np.ndarray, "h w"]) -> Int[np.ndarray, " n"]:
    """Lengths of the runs down the columns, background first (0 if the first pixel is inside)."""
    flat = mask.T.reshape(-1)
    if not flat.size:
        return np.zeros(1, np.int64)
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate(([0], turns, [flat.size])))
    return np.concatenate(([0], counts)) if flat[0] else counts


def unpack(rle: Rle) -> Int[np.ndarray, " n"]:
    """The run lengths of a packed mask, background first.

    Raises:
        BadMask: the text is cut off, holds foreign characters, or does not add up to the size.
    """
    height, width = rle["size"]
    counts = _unpack(np.frombuffer(rle["counts"].encode("ascii", "replace"), np.uint8))
    total = int(counts.sum())
    if total != height * width or (counts < 0).any():
        raise BadMask(
            f"a run-length mask of {total} pixels for a size of {height}x{width}",
            allowed="runs that add up to height x width",
            cure="write the mask again",
        )
    return counts


def _pack(counts: Int[np.ndarray, " n"]) -> str:
    """Five bits a character, lowest first; from the fourth run on, the difference to the run two before."""
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    codes = np.zeros((len(values), _LONGEST), np.uint8)
    lengths = np.full(len(values), _LONGEST)
    for place in range(_LONGEST):
        low = values & 31
        values >>= 5
        ends = np.where(low & 16, values == -1, values == 0)
        codes[:, place] = np.where(ends, low, low | 32) + 48
        lengths = np.where(ends, np.minimum(lengths, place + 1), lengths)
        if (lengths <= place + 1).all():
            break
    return codes[np.arange(_LONGEST) < lengths[:, None]].tobytes().decode("ascii")


def _unpack(text: UInt8[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """The inverse of :func:`_pack`."""
    if not len(text):
        return np.zeros(0, np.int64)
    codes = text.astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    lengths = np.diff(ends, prepend=-1)
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32 or lengths.max() > _LONGEST:
        raise BadMask(
            "a run-length mask with broken text", allowed="COCO's compressed counts", cure="write it again"
        )
    values = np.add.reduceat((codes & 31) << (5 * _steps(lengths)), ends - lengths + 1)
    values -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    counts = values.copy()
    counts[1::2] = np.cumsum(values[1::2])  # each run was stored less the one two before
    counts[2::2] = np.cumsum(values[2::2])
    return counts
