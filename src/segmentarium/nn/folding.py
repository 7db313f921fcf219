"""BatchNorm folded into the convolution before it: the same answers with one layer less.

In evaluation mode a BatchNorm multiplies each channel by a constant and adds another one; a convolution whose
output it reads can do both. Which pairs these are is not read off the order of modules, which need not be the
order of computing. Instead the network looks at one small batch, and every tensor operation of that run is
watched. A pair is folded only if

* each time the norm ran it was given the very tensor that one convolution had made, and that convolution made
  no other; its weight is a parameter of one module, as it stands, not computed from another;
* nobody but the norm read that tensor, nor a view of it, and the network does not answer with it;
* what the norm answered was its input times the one constant plus the other, through its activation.

What did not run, or is not proved so, stays as it is. The run shows one path through the network: a network
that takes another path for other images must not branch between a convolution and its norm.
"""

from __future__ import annotations

import copy
from collections import Counter
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Network = TypeVar("Network", bound=nn.Module)

CLOSE = 1e-4
"""How near a norm's answer must be to what its constants make of its input, as a share of the largest."""


class Pair(NamedTuple):
    """The paths of a convolution and of the norm that reads its output."""

    convolution: str
    norm: str


class Constants(NamedTuple):
    """What a norm multiplies each channel by, and what it adds then."""

    scale: Float[Tensor, " c"]
    shift: Float[Tensor, " c"]


def folded(network: Network, image: Float[Tensor, "b c ..."]) -> Network:
    """A copy of ``network`` in evaluation mode, its norms part of the convolutions wherever that is proved.

    An activation that timm joins to a norm stays in its place. ``network`` stays untouched; the copy is not
    for training.

    Args:
        image: whatever the network takes; small is enough, and its numbers hardly matter.
    """
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    for convolution, norm in consecutive(copied, image):
        module = copied.get_submodule(norm)
        _fold(copied.get_submodule(convolution), _constants(module))
        copied.set_submodule(norm, _activation(module))
    return copied


def consecutive(network: nn.Module, image: Float[Tensor, "b c ..."]) -> list[Pair]:
    """What can be folded of ``network``, which must be in evaluation mode."""
    watch = _Watch()
    norms = {name: module for name, module in network.named_modules() if _is_norm(module)}
    hooks = [m.register_forward_pre_hook(partial(watch.begin, name)) for name, m in norms.items()]
    hooks += [m.register_forward_hook(partial(watch.end, name)) for name, m in norms.items()]
    try:
        with torch.no_grad(), watch:
            answer = network(image)
    finally:
        for hook in hooks:
            hook.remove()
    watch.read(answer, by="the caller")
    owners = _convolutions(network)
    paths = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    found = ((name, watch.weight_before(name)) for name in norms if paths[id(norms[name])] == 1)
    return [Pair(owners[weight], name) for name, weight in found if weight in owners]


class _Watch(TorchDispatchMode):
    """Who made and who read each piece of memory while a network runs; all of it is kept until the end."""

    def __init__(self) -> None:
        super().__init__()
        self._running = ""
        self._kept: list[Any] = []  # or freed memory would come back under the same address
        self._readers: dict[int, set[str]] = {}
        self._made: dict[int, list[int]] = {}  # by each weight
        self._given: dict[str, list[int]] = {}  # to each norm
        self._proved: dict[str, bool] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or the compiler would be loaded, which takes seconds, to be told to stay away

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.read((args, kwargs), by=self._running)
        made = func(*args, **(kwargs or {}))
        self._kept.append(made)
        if func is torch.ops.aten.convolution.default:
            self._made.setdefault(_memory(args[1]), []).append(_memory(made))
        return made

    def read(self, values: Any, *, by: str) -> None:
        for value in tree_leaves(values):
            if isinstance(value, Tensor):
                self._readers.setdefault(_memory(value), set()).add(by)

    def begin(self, name: str, norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._running = name
        self._given.setdefault(name, []).append(_memory(inputs[0]))

    def end(self, name: str, norm: nn.Module, inputs: tuple[Any, ...], answer: Tensor) -> None:
        scale, shift = (c.view(-1, *[1] * (answer.ndim - 2)) for c in _constants(norm))
        expected = _activation(norm)(inputs[0] * scale + shift)
        near = bool((answer - expected).abs().max() <= CLOSE * expected.abs().max())
        self._proved[name] = self._proved.get(name, True) and near
        self._running = ""

    def weight_before(self, norm: str) -> int | None:
        """The weight of the one convolution that works for ``norm`` alone; None if there is none."""
        given = self._given.get(norm, [])
        if not given or not self._proved[norm] or any(self._readers[tensor] != {norm} for tensor in given):
            return None
        return next((weight for weight, made in self._made.items() if made == given), None)


def _memory(tensor: Tensor) -> int:
    """The same for a tensor and all views of it."""
    return int(tensor.untyped_storage()._cdata)


def _convolutions(network: nn.Module) -> dict[int, str]:
    """The module of each weight that one module has, and under one name."""
    weights = [
        (name.rpartition("."), _memory(parameter))
        for name, parameter in network.named_parameters(remove_duplicate=False)
    ]
    counted = Counter(weight for _, weight in weights)
    return {weight: path for (path, _, kind), weight in weights if kind == "weight" and counted[weight] == 1}


def _is_norm(module: nn.Module) -> bool:
    """Whether it has statistics of its own: BatchNorm, frozen or not, and InstanceNorm if it keeps them."""
    return getattr(module, "running_mean", None) is not None and hasattr(module, "eps")


def _constants(norm: Any) -> Constants:
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    return Constants(scale, shift if norm.bias is None else shift + norm.bias)


def _activation(norm: nn.Module) -> nn.Module:
    act: nn.Module = getattr(norm, "act", nn.Identity())
    return act.eval()


def _fold(convolution: Any, constants: Constants) -> None:
    scale, shift = constants
    weight = convolution.weight
    if getattr(convolution, "transposed", False):  # inputs, then outputs of one group
        outputs = scale.view(convolution.groups, 1, -1).expand(-1, len(weight) // convolution.groups, -1)
        factor = outputs.flatten(0, 1)
    else:
        factor = scale[:, None]
    factor = factor.view(*factor.shape, *[1] * (weight.ndim - 2))
    bias = shift if convolution.bias is None else convolution.bias * scale + shift
    convolution.weight = nn.Parameter((weight * factor).to(weight), requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(weight), requires_grad=False)
