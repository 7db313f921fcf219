"""Training batches as a pure function of (seed, step), whatever the number of processes and threads.

Sample ``p`` of a run is picture ``p mod n`` of the permutation of epoch ``p div n``, transformed with seed
``(seed, p)``; step ``s`` takes samples ``s * batch`` to ``(s + 1) * batch``. So a run can stop and go on at
any step, and two processes see what one would have seen.

Batches are prepared ahead by threads, not by processes: decoding, resampling and arithmetic all let go of the
interpreter lock, decoded pictures are shared, nothing is copied between processes, and no worker can die
unseen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

from segmentarium.data.borders import Borders
from segmentarium.data.dataset import DataSet, Pair
from segmentarium.data.memory import Memory
from segmentarium.data.normalise import Normalise, unit_limits
from segmentarium.data.transforms import Augment, augmented
from segmentarium.data.translate import classes_of
from segmentarium.errors import BadData, BadRecipe, SegError
from segmentarium.values.image import Image

_ORDER, _SAMPLE = 0, 1
"""Random numbers for the order of an epoch and for a sample come from different streams."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's worth: normalised images, class indices (void -1), and the stems of their files.

    ``weights`` are what the pixels count for, if that was asked for.
    """

    images: Float32[Tensor, "b c h w"]
    labels: Int64[Tensor, "b h w"]
    stems: tuple[str, ...]
    weights: Float32[Tensor, "b h w"] | None = None


class TrainBatches:
    """The batches of a training run.

    Args:
        dataset: its ``train`` split is used; pairs without mask are left out.
        crop: height and width of what the network sees, in pixels.
        batch: images a step, over all ``world`` processes together.
        rank: number of this process; it gets its part of each batch.
        workers: threads that prepare batches ahead; 0 prepares each when it is asked for.
        borders: weigh pixels by these; objects then go through the transforms with their numbers, so that two
            that touch stay two, and the map is that of the crop as the network sees it.
        memory_format: of the images, ``torch.channels_last`` being the faster one for convolutions.
        cache_mb: memory for decoded pictures; None takes a quarter of what is free.

    Attributes:
        notes: what is done to the images that a user may not expect, found when pictures are first read.

    Raises:
        BadData: no picture with a mask, or borders are wanted and the masks do not number objects.
        BadRecipe: ``batch`` cannot be shared evenly.
    """

    def __init__(
        self,
        dataset: DataSet,
        *,
        normalise: Normalise,
        augment: Augment,
        crop: tuple[int, int],
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        borders: Borders | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
        cache_mb: float | None = None,
    ) -> None:
        self.pairs = tuple(pair for pair in dataset.train if pair.mask is not None)
        if not self.pairs:
            cure = "put one mask beside each image, see `seg check`"
            raise BadData(f"{dataset.root}: no training image has a mask", cure=cure)
        if batch < 1 or batch % world:
            raise BadRecipe(
                f"recipe.train.batch: got {batch} for {world} processes",
                allowed=f"a multiple of {world}",
                cure="every process takes the same number of images",
            )
        self._normalise, self._augment, self._crop = normalise, augment, crop
        self._batch, self._seed, self._rank, self._world = batch, seed % 2**63, rank, world
        self._workers, self._format, self._borders = workers, memory_format, borders
        if borders is not None:
            dataset.require_objects()
        self._memory = Memory(
            dataset,
            normalise,
            anchors=augment.foreground_crop > 0,
            objects=borders is not None,
            budget_mb=cache_mb,
        )
        self.notes: tuple[str, ...] = ()

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every picture was seen once."""
        return len(self.pairs) / self._batch

    def batch_at(self, step: int) -> Batch:
        """The batch of ``step``, prepared here and now."""
        canvas = self._canvas()
        for slot, position in enumerate(self._positions(step)):
            self._paint(position, slot, canvas)
        return self._finished(step, canvas)

    def batches(self, start_step: int, stop_step: int) -> Iterator[Batch]:
        """The batches of steps ``start_step`` up to, not including, ``stop_step``, in order.

        An error in a picture is raised at the step that needs it.
        """
        if self._workers == 0:
            yield from map(self.batch_at, range(start_step, stop_step))
            return
        # The workers must not call torch.set_num_threads: it would slow the network down as well.
        pool = ThreadPoolExecutor(self._workers, "batches")
        steps, waiting = iter(range(start_step, stop_step)), deque[_Pending]()
        try:
            while True:
                while len(waiting) < self._ahead and (step := next(steps, None)) is not None:
                    waiting.append(self._begin(pool, step))
                if not waiting:
                    return
                pending = waiting.popleft()
                for sample in pending.samples:
                    sample.result()
                yield self._finished(pending.step, pending.canvas)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def _ahead(self) -> int:
        """Batches in preparation: enough that no thread waits for the last picture of a batch."""
        return 2 + self._workers * self._world // self._batch

    def _begin(self, pool: ThreadPoolExecutor, step: int) -> _Pending:
        canvas = self._canvas()
        places = enumerate(self._positions(step))
        samples = [pool.submit(self._paint, position, slot, canvas) for slot, position in places]
        return _Pending(step, canvas, samples)

    def _positions(self, step: int) -> range:
        share = self._batch // self._world
        first = step * self._batch + self._rank * share
        return range(first, first + share)

    def _pair(self, position: int) -> Pair:
        epoch, place = divmod(position, len(self.pairs))
        order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self.pairs))
        return self.pairs[int(order[place])]

    def _canvas(self) -> _Canvas:
        count, channels, (height, width) = self._batch // self._world, self._normalise.channels, self._crop
        if self._format is torch.channels_last:
            images = np.empty((count, height, width, channels), np.float32).transpose(0, 3, 1, 2)
        else:
            images = np.empty((count, channels, height, width), np.float32)
        weights = None if self._borders is None else np.empty((count, height, width), np.float32)
        return _Canvas(images, np.empty((count, height, width), np.int64), weights)

    def _paint(self, position: int, slot: int, canvas: _Canvas) -> None:
        """Write sample ``position`` into its slot of the batch."""
        pair = self._pair(position)
        try:
            decoded = self._memory.decoded(pair)
            pixels, truth = augmented(
                decoded.pixels,
                decoded.truth,
                augment=self._augment,
                crop=self._crop,
                seed=(self._seed, _SAMPLE, position),
                anchors=decoded.anchors,
                limits=decoded.limits,
            )
            limits = decoded.limits if pixels.dtype == np.uint8 else unit_limits(pixels.shape[2])
            self._normalise(pixels, limits=limits, out=canvas.images[slot])
        except SegError as error:
            raise _naming(pair, error) from error
        except Exception as error:
            raise BadData(f"{pair.image} could not be prepared for training ({error!r})") from error
        canvas.labels[slot] = truth if self._borders is None else classes_of(truth)
        if self._borders is not None and canvas.weights is not None:
            canvas.weights[slot] = self._borders.weigh(truth)
        self._take_note(self._normalise.note(decoded.pixels.shape[2]))

    def _take_note(self, note: str) -> None:
        if note and note not in self.notes:
            self.notes += (note,)

    def _finished(self, step: int, canvas: _Canvas) -> Batch:
        stems = tuple(self._pair(position).stem for position in self._positions(step))
        weights = None if canvas.weights is None else torch.from_numpy(canvas.weights)
        return Batch(torch.from_numpy(canvas.images), torch.from_numpy(canvas.labels), stems, weights)


def _naming(pair: Pair, error: SegError) -> SegError:
    """The same error with the name of the file, if it does not have it yet."""
    if pair.image.name in error.came or (pair.mask is not None and pair.mask.name in error.came):
        return error
    return type(error)(f"{pair.image}: {error.came}", allowed=error.allowed, cure=error.cure)


@dataclass(frozen=True, eq=False)
class _Canvas:
    """Where the samples of a batch are written."""

    images: Float32[np.ndarray, "b c h w"]
    labels: Int64[np.ndarray, "b h w"]
    weights: Float32[np.ndarray, "b h w"] | None


@dataclass(frozen=True, eq=False)
class _Pending:
    """A batch in preparation."""

    step: int
    canvas: _Canvas
    samples: list[Future[None]]


def val_samples(dataset: DataSet) -> Iterator[tuple[str, Image, Int32[np.ndarray, "h w"]]]:
    """Stem, image and labels of each validation picture that has a mask, whole, one at a time."""
    for pair in dataset.val:
        if pair.mask is not None:
            yield pair.stem, dataset.image(pair), dataset.labels(pair)
