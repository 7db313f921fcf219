"""Sums over a batch that is spread over processes.

Every term is a ratio of sums over pixels. With the sums taken over all processes, a batch split among them
has the loss and the gradient of the undivided one, whatever share of each part is void.
"""

from __future__ import annotations

from typing import Any

import torch.distributed
from jaxtyping import Float
from torch import Tensor


def sum_over_processes(sums: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """Add up ``sums`` over the processes of the default group, and their gradients on the way back.

    DistributedDataParallel then divides by the number of processes, which leaves the gradient of the loss
    over the whole batch. All processes must call this equally often. Alone, it changes nothing.
    """
    if not torch.distributed.is_initialized():
        return sums
    total: Tensor = _Sum.apply(sums)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums: Tensor) -> Tensor:
        total = sums.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total
