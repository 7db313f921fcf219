"""Any network that names each pixel, with the CRF-RNN layer behind it."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.errors import BadArgument
from segmentarium.nn.blocks import crop_or_pad, resize
from segmentarium.nn.crf_rnn import CRFLayer
from segmentarium.nn.geometry import geometry_of
from segmentarium.nn.outputs import Semantic

KEPT = ("aux_weights", "border", "dimensions", "input_side")
"""What is asked of a network besides its answer; the wrapper says what the network says."""


class Refined(nn.Module):
    """``network``, its logits enlarged to the image's size and refined; its ``config`` and auxiliary answers.

    Where the network loses a border, the field is that of the pixels it answers for. Give the network its
    trained weights before: by name they are those of ``network`` with a prefix.

    Args:
        iterations: in training and in evaluation.

    Raises:
        BadArgument: the network does not answer with scores of pixels.
    """

    def __init__(self, network: nn.Module, *, iterations: tuple[int, int] = (5, 10)) -> None:
        super().__init__()
        if hasattr(network, "terms") or hasattr(network, "loss"):
            raise BadArgument(
                f"{type(network).__name__}, which finds objects or segments, to be refined",
                allowed="networks that name each pixel",
                cure="leave the refinement out",
            )
        self.network = network
        config: Any = network.config
        self.config = config
        for name in KEPT:
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))
        self.refine = CRFLayer(config.classes, channels=config.in_channels, iterations=iterations)

    def forward(self, image: Float[Tensor, "b c *s"]) -> Semantic:
        logits, aux = self.network(image)
        border = geometry_of(self).border
        size = [side - 2 * border for side in image.shape[2:]]
        return Semantic(self.refine(resize(logits, size), crop_or_pad(image, size)), aux)
