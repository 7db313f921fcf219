"""Weights and inputs by a rule, so that a recorded figure needs no stored weights.

Tensor ``i`` of a network is filled from ``PCG64([seed, i]).random_raw``, a stream numpy promises never to
change, scaled to u in 0..1: weights of convolutions are ``(2 u - 1) sqrt(6 / inputs)`` with ``inputs`` the
number of values over the first axis, scales and variances are ``0.5 + u``, biases and means ``u - 0.5``,
counters stay.
"""

from __future__ import annotations

from math import prod, sqrt

import numpy as np
import torch
from torch import Tensor, nn

TAP_CHANNELS = 4
TAP_STRIDE = 3


def uniform(shape: tuple[int, ...], seed: int, index: int) -> np.ndarray:
    raw = np.random.PCG64([seed, index]).random_raw(prod(shape))
    return (np.asarray(raw) >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def tensor_by_rule(name: str, shape: tuple[int, ...], seed: int, index: int) -> Tensor:
    u = uniform(shape, seed, index)
    if len(shape) > 1:
        u = (2 * u - 1) * sqrt(6 / prod(shape[1:]))
    elif name.endswith((".weight", "running_var")):
        u = u + 0.5
    else:
        u = u - 0.5
    return torch.from_numpy(u)


def fill(network: nn.Module, seed: int) -> None:
    """Give every tensor of ``network`` its value by the rule, in the order of its ``state_dict``."""
    state = {name: tensor for name, tensor in network.state_dict().items() if tensor.ndim}
    for index, (name, tensor) in enumerate(state.items()):
        tensor.copy_(tensor_by_rule(name, tuple(tensor.shape), seed, index))


def image_by_rule(shape: tuple[int, ...], seed: int) -> Tensor:
    """A batch of images with values from -2 to 2, index 1,000,000 of the rule's streams."""
    return torch.from_numpy(4 * uniform(shape, seed, 1_000_000) - 2)


def tap(maps: Tensor) -> Tensor:
    """The part of a feature map that is recorded: four channels, every third row and column."""
    step = max(1, maps.shape[1] // TAP_CHANNELS)
    return maps.detach()[:, ::step, ::TAP_STRIDE, ::TAP_STRIDE].contiguous()


def taps(network: nn.Module, image: Tensor, names: dict[str, str]) -> dict[str, Tensor]:
    """Run ``network`` on ``image`` without learning; the maps of its modules by the names given to them."""
    seen: dict[str, Tensor] = {}

    def watch(name: str):  # type: ignore[no-untyped-def]
        return lambda module, inputs, output: seen.__setitem__(name, tap(output))

    hooks = [network.get_submodule(path).register_forward_hook(watch(name)) for path, name in names.items()]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return seen
