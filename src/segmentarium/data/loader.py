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
from typing import Any

import numpy as np
from jaxtyping import Int32

from segmentarium.data.batch import Batch, Samples
from segmentarium.data.dataset import DataSet, Pair
from segmentarium.errors import BadData, BadRecipe, SegError
from segmentarium.values.image import Image

_ORDER, _SAMPLE = 0, 1
"""Random numbers for the order of an epoch and for a sample come from different streams."""


class TrainBatches:
    """The batches of a training run.

    Args:
        samples: makes what the batches hold.
        batch: images a step, over all ``world`` processes together.
        rank: number of this process; it gets its part of each batch.
        workers: threads that prepare batches ahead; 0 prepares each when it is asked for.

    Raises:
        BadRecipe: ``batch`` cannot be shared evenly.
    """

    def __init__(
        self, samples: Samples, *, batch: int, seed: int, rank: int = 0, world: int = 1, workers: int = 0
    ) -> None:
        if batch < 1 or batch % world:
            raise BadRecipe(
                f"recipe.train.batch: got {batch} for {world} processes",
                allowed=f"a multiple of {world}",
                cure="every process takes the same number of images",
            )
        self.samples, self.pairs = samples, samples.pairs
        self._batch, self._seed, self._rank, self._world = batch, seed % 2**63, rank, world
        self._workers = workers

    @property
    def notes(self) -> tuple[str, ...]:
        """What is done to the images that a user may not expect, found when pictures are first read."""
        return self.samples.notes

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every picture was seen once."""
        return len(self.pairs) / self._batch

    def batch_at(self, step: int) -> Batch:
        """The batch of ``step``, prepared here and now."""
        canvas = self.samples.canvas(self._share)
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

    @property
    def _share(self) -> int:
        """Images of a batch that this process gets."""
        return self._batch // self._world

    def _begin(self, pool: ThreadPoolExecutor, step: int) -> _Pending:
        canvas = self.samples.canvas(self._share)
        places = enumerate(self._positions(step))
        samples = [pool.submit(self._paint, position, slot, canvas) for slot, position in places]
        return _Pending(step, canvas, samples)

    def _positions(self, step: int) -> range:
        first = step * self._batch + self._rank * self._share
        return range(first, first + self._share)

    def _pair(self, position: int) -> Pair:
        epoch, place = divmod(position, len(self.pairs))
        order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self.pairs))
        return self.pairs[int(order[place])]

    def _paint(self, position: int, slot: int, canvas: Any) -> None:
        """Write sample ``position`` into its slot of the batch."""
        pair = self._pair(position)
        try:
            self.samples.paint(pair, canvas, slot, seed=(self._seed, _SAMPLE, position))
        except SegError as error:
            raise _naming(pair, error) from error
        except Exception as error:
            raise BadData(f"{pair.image} could not be prepared for training ({error!r})") from error

    def _finished(self, step: int, canvas: Any) -> Batch:
        stems = tuple(self._pair(position).stem for position in self._positions(step))
        return self.samples.batch(canvas, stems)


def _naming(pair: Pair, error: SegError) -> SegError:
    """The same error with the name of the file, if it does not have it yet."""
    if pair.image.name in error.came or (pair.mask is not None and pair.mask.name in error.came):
        return error
    return type(error)(f"{pair.image}: {error.came}", allowed=error.allowed, cure=error.cure)


@dataclass(frozen=True, eq=False)
class _Pending:
    """A batch in preparation."""

    step: int
    canvas: Any
    samples: list[Future[None]]


def val_samples(dataset: DataSet) -> Iterator[tuple[str, Image, Int32[np.ndarray, "h w"]]]:
    """Stem, image and labels of each validation picture that has a mask, whole, one at a time."""
    for pair in dataset.val:
        if pair.mask is not None:
            yield pair.stem, dataset.image(pair), dataset.labels(pair)
