"""What learns: a network, its optimiser and its loss, moved on by one step at a time.

A step is a function of the state before it, of the batch, and of (seed, step, rank): rates, dropout and
batches keep no state of their own. So a checkpoint holds weights, moments, the step, and little else.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from segmentarium.data.batch import Batch
from segmentarium.engine.checkpoint import Checkpoint
from segmentarium.engine.doors import Door, halves, placed
from segmentarium.engine.optim import (
    MovingAverage,
    learning_rate,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_rate,
)
from segmentarium.engine.recipe import Train
from segmentarium.engine.reproducible import seeded
from segmentarium.errors import OutOfMemory
from segmentarium.nn.layout import training_layout
from segmentarium.weights.store import fit

_DROPOUT = 1
"""The stream of random numbers that networks draw from; 0 is that of their first weights."""


class Learner:
    """A network in training.

    Args:
        network: on any device, in any layout; it is moved and trained in place.
        door: what it learns through.
        seed: of the random numbers that the network draws.

    The loss is that of the *whole* batch, however it is divided. Over processes, sums of pixels are added up
    before they are divided, so it is exact for each term. Halves (see :meth:`halve`) count by their shares of
    pixels that are not void, or of their weights, which is exact for means over pixels (cross-entropy without
    weights of classes) and close for the rest. BatchNorm sees each part alone.
    """

    def __init__(self, network: nn.Module, door: Door, train: Train, fabric: Fabric, *, seed: int) -> None:
        self.fabric, self.train, self.seed = fabric, train, seed
        self.parts = 1
        network.to(fabric.device)
        self.layout = training_layout(network)
        self.network: nn.Module = network.to(memory_format=self.layout)
        self.door = door
        door.to(fabric.device)
        self.optimizer = make_optimizer(self.network, train)
        self.average = MovingAverage(self.network, train.ema) if train.ema else None
        self._network, self._optimizer = fabric.setup(self.network, self.optimizer)
        if hasattr(network, "terms"):
            self._network.mark_forward_method("terms")

    @property
    def published(self) -> nn.Module:
        """The network that is evaluated and saved for use: the average if there is one."""
        return self.average.network if self.average else self.network

    def step(self, batch: Batch, step: int) -> dict[str, Float[Tensor, ""]]:
        """Do optimiser step number ``step``, counted from 1; returns the loss and its terms.

        Raises:
            torch.OutOfMemoryError, RuntimeError: it did not fit; nothing has been learnt (see :meth:`halve`).
        """
        self._network.train()
        set_rate(self.optimizer, learning_rate(self.train, step))
        self.optimizer.zero_grad(set_to_none=True)
        device = self.fabric.device
        whole = placed(batch, device, memory_format=self.layout)
        with seeded(device, self.seed, _DROPOUT, step, self.fabric.global_rank):
            terms = self._accumulate(whole)
        if self.train.clip_norm:
            self.fabric.clip_gradients(
                self._network, self._optimizer, max_norm=self.train.clip_norm, error_if_nonfinite=False
            )
        self._optimizer.step()
        if self.average:
            self.average.update(self.network, step)
        return terms

    def _accumulate(self, whole: Batch) -> dict[str, Tensor]:
        """Gradients of the whole batch, part by part; its terms."""
        draw = torch.Generator(self.fabric.device).manual_seed(int(torch.randint(1 << 62, ()).item()))
        sums: dict[str, Tensor] = {}
        for part, share in halves(whole, self.parts):
            terms = self.door(self._network, part, draw=draw)
            self.fabric.backward(terms["loss"] * share)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach() * share
        return sums

    def halve(self, batch: int, error: BaseException) -> None:
        """From now on take a batch in two parts.

        Raises:
            OutOfMemory: that was done before, a part is one image, or several processes share the batch,
                which cannot be halved for one of them alone.
        """
        if self.parts > 1 or batch < 2 or self.fabric.world_size > 1:
            crop = "x".join(map(str, self.train.crop))
            why = "not even in halves" if self.parts > 1 else "and is not to be halved"
            raise OutOfMemory(
                f"a batch of {self.train.batch} crops of {crop} does not fit, {why}",
                cure="lower train.batch or train.crop, or choose a smaller model",
            ) from error
        self.parts = 2
        self.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()

    def checkpoint(
        self, step: int, *, metadata: Mapping[str, str], progress: Mapping[str, Any]
    ) -> Checkpoint:
        """Everything that :meth:`restore` needs."""
        trainer = {f"optimizer.{name}": value for name, value in optimizer_tensors(self.optimizer).items()}
        if self.average:
            trainer |= {f"network.{name}": value for name, value in self.network.state_dict().items()}
        scaler = self.fabric.strategy.precision.state_dict()
        return Checkpoint(
            step=step,
            weights=self.published.state_dict(),
            metadata=metadata,
            trainer=trainer,
            progress={**progress, "parts": self.parts, "scaler": scaler},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from where :meth:`checkpoint` was taken.

        Raises:
            WeightsMismatch: it was taken of another network.
        """
        kept: dict[str, dict[str, Tensor]] = {"optimizer": {}, "network": {}}
        for name, tensor in checkpoint.trainer.items():
            kind, _, rest = name.partition(".")
            kept[kind][rest] = tensor
        where = f"the checkpoint of step {checkpoint.step}"
        fit(self.published, checkpoint.weights, where=where)
        if self.average:
            fit(self.network, kept["network"], where=where)
        restore_optimizer(self.optimizer, kept["optimizer"])
        self.fabric.strategy.precision.load_state_dict(checkpoint.progress["scaler"])
        self.parts = int(checkpoint.progress["parts"])
