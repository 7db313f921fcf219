"""What a network says before it computes nonsense."""

from __future__ import annotations

from torch import Tensor

from segmentarium.errors import BadImage


def require_channels(image: Tensor, channels: int) -> None:
    """Refuse a batch whose second axis is not ``channels`` long.

    Raises:
        BadImage: the batch has another number of channels, or is no batch of images at all.
    """
    if image.ndim != 4 or image.shape[1] != channels:
        raise BadImage(
            f"a tensor of shape {tuple(image.shape)} came to a network for {channels} channels",
            allowed=f"(batch, {channels}, height, width)",
            cure="convert the image, or build the network with in_channels of the image",
        )
