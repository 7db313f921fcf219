"""From pixels to labels for an image of any size: whole, in blended tiles, or in tiles that abut.

Labels come in bands of rows from the top, so that an image needs no more memory than a row of tiles, however
high it is. Where the network wants pixels beyond the image, the image is mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int64, Shaped
from torch import Tensor, nn

from segmentarium.data.normalise import Normalise
from segmentarium.errors import BadImage
from segmentarium.nn.blocks import resize
from segmentarium.nn.geometry import geometry_of
from segmentarium.nn.outputs import Queries, Semantic
from segmentarium.ops.blend import RollingBand, margins
from segmentarium.ops.tiles import Window, mirror_index, plan_tiles
from segmentarium.post.finish import finish, part
from segmentarium.post.semantic import argmax_resized, label_type, probabilities
from segmentarium.values.classes import Classes
from segmentarium.values.results import LabelMap

WHOLE_PIXELS = 2**20
"""Images up to this size are always seen whole: a large network needs about a GiB for them."""
WHOLE_TILES = 4
"""So are images of up to so many times the area of a tile."""
_MEASURED_PIXELS = 2**18
_LEAST = 1e-12


@runtime_checkable
class Source(Protocol):
    """Pixels (h, w, c) that can be had in bands of rows: an array, a memory map, ``values.open_rows``."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> Shaped[np.ndarray, "n w c"]: ...


class Band(NamedTuple):
    """The labels of some rows, the first of which is ``top``; probabilities only if they were asked for."""

    top: int
    labels: Shaped[np.ndarray, "n w"]
    probs: Float16[np.ndarray, "k n w"] | None = None


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How large images are cut.

    Attributes:
        tile: height and width; of what comes out, for networks that lose a border.
        overlap: share of a tile that its neighbour covers again, at the least.
        batch: tiles the network sees at a time.
        step: sides of an image that is seen whole are mirrored up to multiples of this.
        always: cut whatever is larger than a tile, also images that could be seen whole.
    """

    tile: tuple[int, int]
    overlap: float = 0.25
    batch: int = 1
    step: int = 1
    always: bool = False

    def whole(self, size: tuple[int, int]) -> bool:
        """Whether an image of this size is given to the network in one piece."""
        if self.always:
            return size[0] <= self.tile[0] and size[1] <= self.tile[1]
        limit = max(WHOLE_PIXELS, WHOLE_TILES * self.tile[0] * self.tile[1])
        return max(size[0], self.tile[0]) * max(size[1], self.tile[1]) <= limit


@dataclass(frozen=True, eq=False)
class Eye:
    """A network with what it needs to look at pixels."""

    network: nn.Module
    normalise: Normalise
    device: str = "cpu"

    @torch.inference_mode()
    def output(
        self,
        views: Sequence[Shaped[np.ndarray, "h w c"]],
        limits: Sequence[Float32[np.ndarray, "2 c"] | None],
    ) -> Any:
        """The network's raw output on equally large views, on the device.

        Args:
            limits: of the image each view is a part of (see ``Normalise.limits``).
        """
        shape = (len(views), self.normalise.channels, *views[0].shape[:2])
        batch = torch.empty(shape, memory_format=torch.channels_last)
        for view, limit, place in zip(views, limits, batch, strict=True):
            self.normalise(view, limits=limit, out=place.numpy())
        return self.network(batch.to(self.device))

    def scores(
        self,
        views: Sequence[Shaped[np.ndarray, "h w c"]],
        limits: Sequence[Float32[np.ndarray, "2 c"] | None],
    ) -> Float[Tensor, "b k h2 w2"]:
        """Class scores of equally large views; see :meth:`output`."""
        size = (views[0].shape[0], views[0].shape[1])
        return class_scores(self.output(views, limits), size)

    def limits(self, source: Source) -> Float32[np.ndarray, "2 c"]:
        """The limits of a whole image; where they depend on its content, from evenly spaced pixels."""
        first = np.asarray(source[0:1])
        if self.normalise.range == "dtype" and first.dtype.kind != "f":
            return self.normalise.limits(first)
        height, width = source.shape[:2]
        step = max(1, round((height * width / _MEASURED_PIXELS) ** 0.5))
        rows = [source[row : row + 1][:, ::step] for row in range(0, height, step)]
        return self.normalise.limits(np.concatenate(rows))


def class_scores(output: Semantic | Queries, size: tuple[int, int]) -> Float[Tensor, "b k h2 w2"]:
    """Scores of classes whose largest is the answer, and whose soft-max tells how likely each is.

    Those of queries are logarithms of the sums over what each query says.

    Args:
        size: height and width of what the network saw.

    Source: Cheng et al. 2021, arXiv:2107.06278, section 3.4 (semantic inference).
    """
    if isinstance(output, Semantic):
        return output.logits
    shares = output.class_logits.float().softmax(-1)[..., :-1]
    masks = resize(output.mask_logits.float(), size).sigmoid()
    return torch.einsum("bqk,bqhw->bkhw", shares, masks).clamp_min(_LEAST).log()


def label_bands(source: Source, eye: Eye, tiling: Tiling, *, probs: bool = False) -> Iterator[Band]:
    """Label an image from top to bottom.

    Args:
        source: the pixels; each row is asked for at most twice.
        probs: whether to give the probabilities of all classes, too.

    Raises:
        BadImage: a channel count that does not fit the network, or pixels that are no numbers.
    """
    size = (source.shape[0], source.shape[1])
    if min(size) < 1:
        raise BadImage(f"an image of {size[0]}x{size[1]} pixels", allowed="at least one pixel")
    if tiling.whole(size):
        return iter((see_whole([source[0 : size[0]]], eye, tiling, probs=probs)[0],))
    if geometry_of(eye.network).border:
        return _abutting(source, eye, tiling, probs=probs)
    return _blended(source, eye, tiling, probs=probs)


def see_whole(
    images: Sequence[Shaped[np.ndarray, "h w c"]], eye: Eye, tiling: Tiling, *, probs: bool = False
) -> list[Band]:
    """Label equally large images, each in one piece, in one forward pass."""
    size = images[0].shape[:2]
    border, before, seen = _frame(eye.network, tiling, size)
    rows, columns = (
        mirror_index(-first - border, -first - border + side, length)
        for first, side, length in zip(before, seen, size, strict=True)
    )
    views = [_view(image, rows, columns) for image in images]
    output = eye.output(views, [eye.normalise.limits(image) for image in images])
    answered = (seen[0] - 2 * border, seen[1] - 2 * border)
    window = Window(before[0], before[1], before[0] + size[0], before[1] + size[1])
    if isinstance(output, Queries) and not probs:
        return [Band(0, _read_out(eye, output, index, answered, window)) for index in range(len(images))]
    logits = class_scores(output, answered)
    labels = argmax_resized(logits, answered, window=window)
    shares = probabilities(logits, answered, window=window) if probs else [None] * len(images)
    return [Band(0, *both) for both in zip(labels, shares, strict=True)]


def _read_out(
    eye: Eye, output: Queries, index: int, size: tuple[int, int], window: Window
) -> Shaped[np.ndarray, "h w"]:
    """Labels by the network's own rule, without full-size scores of all classes."""
    names = Classes.named(*map(str, range(output.class_logits.shape[-1] - 1)))
    rule = getattr(eye.network, "readout", "")
    found = finish(part(output, index), task="semantic", size=size, classes=names, rule=rule, window=window)
    assert isinstance(found, LabelMap)
    return found.labels


def _frame(
    network: nn.Module, tiling: Tiling, size: tuple[int, int]
) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """For an image seen whole: the border lost, the mirrored pixels before it, the sides of what is seen."""
    geometry = geometry_of(network)
    if geometry.border:
        return geometry.border, (0, 0), (geometry.input_side(size[0]), geometry.input_side(size[1]))
    tall, wide = (
        -(-max(length, tile) // tiling.step) * tiling.step
        for length, tile in zip(size, tiling.tile, strict=True)
    )
    return 0, margins(size, (tall, wide)), (tall, wide)


def _blended(source: Source, eye: Eye, tiling: Tiling, *, probs: bool) -> Iterator[Band]:
    """Overlapping tiles, the middle of each counting most; a row of tiles is in memory at a time."""
    size = (source.shape[0], source.shape[1])
    windows = plan_tiles(size, tiling.tile, tiling.overlap)
    rows_of_tiles = [list(row) for _, row in groupby(windows, key=lambda window: window.top)]
    stops = [row[0].top for row in rows_of_tiles[1:]] + [size[0]]
    limits = eye.limits(source)
    band: RollingBand | None = None
    for row, stop in zip(rows_of_tiles, stops, strict=True):
        pixels = _read(source, row[0].top, row[0].bottom)
        for start in range(0, len(row), tiling.batch):
            some = row[start : start + tiling.batch]
            views = [_mirrored(pixels[:, window.left : window.right], tiling.tile) for window in some]
            scores = _innermost(eye.scores(views, [limits] * len(views)))
            if band is None:
                band = _band(scores.shape[-1], size, tiling, keep=probs)
            for tile, window in zip(scores, some, strict=True):
                band.add(tile, window)
        assert band is not None
        yield _taken(band, stop, probs=probs)


def _band(classes: int, size: tuple[int, int], tiling: Tiling, *, keep: bool) -> RollingBand:
    kind = label_type(classes)
    return RollingBand(
        classes=classes, size=size, tile=tiling.tile, overlap=tiling.overlap, kind=kind, keep=keep
    )


def _taken(band: RollingBand, stop: int, *, probs: bool) -> Band:
    top = band.top
    shares = _softmax(band.scores(stop)) if probs else None
    return Band(top, band.finish(stop), shares)


def _softmax(scores: Float32[np.ndarray, "n w k"]) -> Float16[np.ndarray, "k n w"]:
    shares: Float16[np.ndarray, "k n w"] = (
        torch.from_numpy(scores).softmax(-1).permute(2, 0, 1).half().numpy()
    )
    return shares


def _abutting(source: Source, eye: Eye, tiling: Tiling, *, probs: bool) -> Iterator[Band]:
    """The overlap-tile strategy of networks that lose a border: what goes in overlaps, what comes out abuts.

    Tiles stand at multiples of the network's own step, so that each pixel is answered as in one pass over the
    whole.

    Source: Ronneberger et al. 2015, figure 2.
    """
    size = (source.shape[0], source.shape[1])
    (tall, step_y), (wide, step_x) = (_stride(eye.network, tile) for tile in tiling.tile)
    border = geometry_of(eye.network).border
    limits = eye.limits(source)
    lefts = range(0, size[1], step_x)
    for top in range(0, size[0], step_y):
        rows = mirror_index(top - border, top - border + tall, size[0])
        pixels, rows = _read(source, int(rows.min()), int(rows.max()) + 1), rows - rows.min()
        height = min(step_y, size[0] - top)
        parts = []
        for start in range(0, len(lefts), tiling.batch):
            some = lefts[start : start + tiling.batch]
            views = [
                _view(pixels, rows, mirror_index(left - border, left - border + wide, size[1]))
                for left in some
            ]
            logits = eye.scores(views, [limits] * len(views))[:, :, :height, :step_x]
            parts.append(
                (argmax_resized(logits, (height, logits.shape[3])), _shares(logits) if probs else None)
            )
        labels = np.concatenate([row for part, _ in parts for row in part], axis=1)[:, : size[1]]
        shares = np.concatenate([row for _, part in parts for row in part or ()], axis=2) if probs else None
        yield Band(top, labels, None if shares is None else shares[:, :, : size[1]])


def _shares(logits: Float[Tensor, "b k h w"]) -> list[Float16[np.ndarray, "k h w"]]:
    return list(probabilities(logits, (logits.shape[2], logits.shape[3])))


def _stride(network: nn.Module, tile: int) -> tuple[int, int]:
    """For tiles of at least ``tile`` answered pixels: the side that goes in, and from one tile to the next.

    Valid sides are evenly spaced; tiles that far apart see their poolings fall on the same pixels.
    """
    geometry = geometry_of(network)
    side = geometry.input_side(tile)
    answered = side - 2 * geometry.border
    unit = geometry.input_side(answered + 1) - side
    return side, answered - answered % unit if answered >= unit else answered


def _read(source: Source, top: int, bottom: int) -> Shaped[np.ndarray, "n w c"]:
    """Rows of the source; numbers that are none are refused with their place in the whole image."""
    pixels = np.asarray(source[top:bottom])
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        row, column, _ = np.argwhere(~np.isfinite(pixels))[0]
        raise BadImage(
            f"the image holds NaN or infinity, first at row {top + row}, column {column}",
            allowed="finite numbers",
            cure="replace those pixels before giving the image",
        )
    return pixels


def _view(
    pixels: Shaped[np.ndarray, "h w c"], rows: Int64[np.ndarray, " h2"], columns: Int64[np.ndarray, " w2"]
) -> Shaped[np.ndarray, "h2 w2 c"]:
    """``pixels[rows][:, columns]``, without a copy where both are simple ranges."""
    return _taken_along(_taken_along(pixels, rows, 0), columns, 1)


def _taken_along(
    pixels: Shaped[np.ndarray, "h w c"], index: Int64[np.ndarray, " n"], axis: int
) -> np.ndarray:
    first, last = int(index[0]), int(index[-1])
    if last - first + 1 == len(index) and (np.diff(index) == 1).all():
        return pixels[first : last + 1] if axis == 0 else pixels[:, first : last + 1]
    return pixels.take(index, axis)


def _mirrored(pixels: Shaped[np.ndarray, "h w c"], tile: tuple[int, int]) -> Shaped[np.ndarray, "h2 w2 c"]:
    """``pixels`` in the middle of a tile."""
    size = (pixels.shape[0], pixels.shape[1])
    rows, columns = (
        mirror_index(-before, side - before, length)
        for before, side, length in zip(margins(size, tile), tile, size, strict=True)
    )
    return _view(pixels, rows, columns)


def _innermost(logits: Float[Tensor, "b k h w"]) -> Float32[np.ndarray, "b h w k"]:
    """Scores with the classes innermost; no copy if the network answers so (channels last)."""
    scores: Float32[np.ndarray, "b h w k"] = logits.float().cpu().permute(0, 2, 3, 1).contiguous().numpy()
    return scores
