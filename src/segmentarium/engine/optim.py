"""The optimiser, its rate, and the running mean of weights: all without a state of their own making.

The rate is a function of the step alone, so a run can be taken up anywhere from weights, moments and step.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from segmentarium.backbones import Backbone
from segmentarium.engine.recipe import Train

BETA_OF_SQUARES = 0.999


def learning_rate(train: Train, step: int) -> float:
    """The rate of ``step``, counted from 1: a linear rise, then the schedule's fall.

    The rise takes ``warmup_steps``, but at most a quarter of all steps, so that short trials learn too.
    """
    warmup = min(train.warmup_steps, train.steps // 4)
    if step <= warmup:
        return train.lr * step / warmup
    progress = (step - 1 - warmup) / (train.steps - warmup)
    if train.schedule == "constant":
        return train.lr
    if train.schedule == "exponential":
        return float(train.lr * train.decay ** (step - 1 - warmup))
    if train.schedule == "cosine":
        return train.lr * 0.5 * (1 + math.cos(math.pi * progress))
    return float(train.lr * (1 - progress) ** train.power)


def make_optimizer(network: nn.Module, train: Train) -> Optimizer:
    """The recipe's optimiser, fused where that is possible; norms and biases are not decayed."""
    groups = [
        {"params": [p for p in some if (p.ndim > 1) == decayed], "weight_decay": train.weight_decay * decayed}
        | {"share": share}
        for some, share in _shares(network, train)
        for decayed in (True, False)
    ]
    # A fused step undoes the loss scaling of precision 16 by itself, too late for clipping.
    fused = not (train.precision == "16" and train.clip_norm)
    if train.optimizer == "sgd":
        nesterov = train.nesterov and train.momentum > 0
        return SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=nesterov, fused=fused)
    if train.optimizer == "rmsprop":
        return RMSprop(groups, lr=train.lr, momentum=train.momentum)
    kind = AdamW if train.optimizer == "adamw" else Adam
    return kind(groups, lr=train.lr, betas=(train.momentum, BETA_OF_SQUARES), fused=fused)


def _shares(network: nn.Module, train: Train) -> list[tuple[list[nn.Parameter], float]]:
    """The parameters that learn, and at which share of the rate: the encoder's apart if it has its own."""
    learning = [p for p in network.parameters() if p.requires_grad]
    encoder = next((part for part in network.modules() if isinstance(part, Backbone)), None)
    if train.backbone_lr == 1 or encoder is None:
        return [(learning, 1.0)]
    apart = {id(p) for p in encoder.parameters()}
    inside, outside = [p for p in learning if id(p) in apart], [p for p in learning if id(p) not in apart]
    return [(outside, 1.0), (inside, train.backbone_lr)]


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


class MovingAverage:
    """A running mean of weights: ``network`` is a copy that follows another network from step to step.

    Early on the mean is short, (1 + step) / (10 + step), so that it soon forgets the untrained weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after ``step``; whole numbers, such as counters of batches, are copied."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        mine, theirs = self.network.state_dict().values(), network.state_dict().values()
        for mean, value in zip(mine, theirs, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value.to(mean.dtype), share)
            else:
                mean.copy_(value)


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments as ``index.name`` → tensor."""
    entries = optimizer.state_dict()["state"].items()
    return {f"{i}.{name}": v for i, entry in entries for name, v in entry.items() if isinstance(v, Tensor)}


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` gave.

    A moment gets the memory layout of its parameter: fused steps walk both in the order of memory.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, field = name.partition(".")
        like = parameters[int(index)]
        kept = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
        state.setdefault(int(index), {})[field] = kept
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
