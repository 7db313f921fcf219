"""Deep supervision: the same loss on several heads of one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import Num
from torch import Tensor, nn

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.nn.upsampling import nearest

SCHEDULES: dict[str, Callable[[int], tuple[float, ...]]] = {
    "equal": lambda heads: (1 / heads,) * heads,
    "halving": lambda heads: tuple(2.0**-k / (2 - 2.0 ** (1 - heads)) for k in range(heads)),
    "auxiliary": lambda heads: (1.0,) + (0.4,) * (heads - 1),
}
"""How much each head counts, the one that counts in the end first; see :class:`DeepSupervision`."""


class DeepSupervision(nn.Module):
    """The weighted sum of ``loss`` over heads, each against the truth brought to its size.

    Args:
        loss: takes one head and its targets; returns a number, or named numbers.
        weights: ``equal`` is the mean (UNet++, arXiv:1807.10165, whose four heads have full size).
            ``halving`` is 2^-k, scaled to the sum 1 (nnU-Net, arXiv:1904.08128; its code also gives the last
            head 0). ``auxiliary`` is 1 for the first and 0.4 for the others (PSPNet, arXiv:1612.01105,
            section 4). Or a number for each head, such as ``(1.0,) * 6`` for the decoder layers of DETR.

    Raises:
        UnknownName: there is no such schedule.
    """

    def __init__(self, loss: Callable[..., Any], *, weights: str | Sequence[float] = "halving") -> None:
        super().__init__()
        if isinstance(weights, str) and weights not in SCHEDULES:
            raise UnknownName.among("schedule of deep supervision", weights, SCHEDULES)
        self.loss, self.weights = loss, weights

    def forward(self, heads: Sequence[Tensor], *targets: Tensor) -> Any:
        """The sum, of the kind that the loss returns.

        Args:
            heads: ``b k *s``, the finest first.
            targets: ``b *s`` or ``b c *s`` each, such as labels and the worth of pixels; brought to the size
                of each head with the nearest pixel centre. A head that weighs 0 is not looked at.

        Raises:
            BadArgument: there are no heads, or not as many as weights.
        """
        parts = [
            (weight, self.loss(head, *(at_size(target, head) for target in targets)))
            for weight, head in zip(head_weights(self.weights, len(heads)), heads, strict=True)
            if weight
        ]
        if isinstance(parts[0][1], Mapping):
            return {name: sum(weight * value[name] for weight, value in parts) for name in parts[0][1]}
        return sum(weight * value for weight, value in parts)


def head_weights(weights: str | Sequence[float], heads: int) -> tuple[float, ...]:
    """The weights of so many heads by a schedule or a list.

    Raises:
        UnknownName: there is no such schedule.
        BadArgument: there are no heads, or not as many as weights.
    """
    if isinstance(weights, str):
        if weights not in SCHEDULES:
            raise UnknownName.among("schedule of deep supervision", weights, SCHEDULES)
        weights = SCHEDULES[weights](heads) if heads else ()
    if len(weights) != heads or not any(weights):
        raise BadArgument(
            f"heads: {heads} for the weights {tuple(weights)}",
            allowed="as many as weights, one at least that counts",
        )
    return tuple(weights)


def at_size(target: Num[Tensor, " b *t"], head: Num[Tensor, "b k *s"]) -> Num[Tensor, " b *u"]:
    """``target`` with the size in space of ``head``, each pixel that of the nearest centre."""
    size = head.shape[2:]
    if target.ndim == head.ndim - 1:
        return nearest(target[:, None], size)[:, 0]
    if target.ndim == head.ndim:
        return nearest(target, size)
    raise BadArgument(
        f"targets: shape {tuple(target.shape)} for a head of {tuple(head.shape)}",
        allowed="one axis less, or as many axes with channels second",
    )
