"""What the losses that look at shapes rather than at single pixels have in common.

They take probabilities, memberships and the worth of each pixel, 0 for ignored ones, and return one number.
Ignored pixels are as if the image ended there: what stands in them is replaced before anything is computed,
and neither distances nor neighbourhoods reach into them. A border of ignored pixels around an image therefore
changes nothing. A batch without any other pixel has the loss 0 and no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.ops.signed_distance import signed_distance

Maps = Float[Tensor, "b k *s"]
Worth = Float[Tensor, "b 1 *s"]
Scalar = Float[Tensor, ""]
Total = Callable[[Float[Tensor, "..."]], Float[Tensor, "..."]]
"""Applied to sums over pixels; ``sum_over_processes`` unites a batch spread over processes."""

_TINY = 1e-12
_ROUNDING = 1e-3  # by which half-precision probabilities may leave 0..1


class Prepared(NamedTuple):
    """Maps in single precision or better, with 0 in the pixels that do not count, and which those are not."""

    probs: Maps
    truth: Maps
    worth: Worth
    known: Bool[Tensor, "b 1 *s"]


def alone(sums: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The sums of this process are all there are."""
    return sums


def prepare(probs: Maps, truth: Maps, worth: Worth, *, classes: Sequence[int] | None) -> Prepared:
    """Choose the channels ``classes`` (all if None) and empty the ignored pixels.

    Raises:
        BadArgument: shapes or ``classes`` do not fit.
    """
    _require_shapes(probs, truth, worth)
    if classes is not None:
        if not classes or any(not 0 <= index < probs.shape[1] for index in classes):
            raise BadArgument(f"classes: {tuple(classes)}", allowed=f"some of 0 to {probs.shape[1] - 1}")
        probs, truth = probs[:, list(classes)], truth[:, list(classes)]
    kind = torch.promote_types(probs.dtype, torch.float32)
    known = worth > 0
    emptied = [maps.to(kind).masked_fill(~known, 0) for maps in (probs, truth, worth)]
    return Prepared(emptied[0], emptied[1], emptied[2], known)


def require_probabilities(maps: Prepared) -> None:
    """Refuse logits, ids and the like; looked for on the CPU only, as a GPU would be held up at each step."""
    for name, values in (("probs", maps.probs), ("truth", maps.truth)):
        if values.device.type == "cpu" and values.numel():
            least, most = (float(v) for v in values.detach().aminmax())
            if least < -_ROUNDING or most > 1 + _ROUNDING:
                raise BadArgument(
                    f"{name}: values from {least:.4g} to {most:.4g}",
                    allowed="0 to 1",
                    cure="logits need a softmax or a sigmoid, labels one channel a class",
                )


def distance_maps(
    members: Bool[Tensor, "b k *s"],
    known: Bool[Tensor, "b 1 *s"],
    *,
    spacing: Sequence[float] | None = None,
    shift: float = 0.0,
) -> Float[Tensor, "b k *s"]:
    """:func:`segmentarium.ops.signed_distance.signed_distance` of each channel of each image."""
    masks, seen = members.detach().cpu().numpy(), known.detach().cpu().numpy()
    maps = np.empty(masks.shape, np.float32)
    for image, channel in np.ndindex(*masks.shape[:2]):
        maps[image, channel] = signed_distance(
            masks[image, channel], known=seen[image, 0], spacing=spacing, shift=shift
        )
    return torch.from_numpy(maps).to(members.device)


def mean_over_pixels(values: Maps, worth: Worth, total: Total) -> Scalar:
    """Mean over classes and pixels, each pixel counted by its worth."""
    sums = torch.stack([(values * worth).sum(), worth.sum() * values.shape[1]])
    return quotient(total(sums))


def quotient(sums: Float[Tensor, "2"]) -> Scalar:
    """The first by the second, and 0 for nothing by nothing."""
    return sums[0] / sums[1].clamp_min(_TINY)


def _require_shapes(probs: Maps, truth: Maps, worth: Worth) -> None:
    wanted = (probs.shape[0], 1, *probs.shape[2:])
    if probs.ndim not in (4, 5) or not probs.is_floating_point():
        raise BadArgument(
            f"probs: {probs.dtype} of shape {tuple(probs.shape)}",
            allowed="floating point, batch, classes, then two or three axes of space",
        )
    for name, maps, shape in (("truth", truth, tuple(probs.shape)), ("worth", worth, wanted)):
        if tuple(maps.shape) != shape:
            raise BadArgument(f"{name}: shape {tuple(maps.shape)}", allowed=f"{shape}, as probs have it")
