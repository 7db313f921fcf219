"""What a network says before it computes nonsense."""

from __future__ import annotations

from torch import Tensor

from segmentarium.errors import BadImage


def require_channels(image: Tensor, channels: int, *, dimensions: int = 2) -> None:
    """Refuse a batch whose second axis is not ``channels`` long.

    Args:
        dimensions: 2 for pictures, 3 for volumes.

    Raises:
        BadImage: the batch has another number of channels, or is no batch of images at all.
    """
    if image.ndim != dimensions + 2 or image.shape[1] != channels:
        space = "depth, height, width" if dimensions == 3 else "height, width"
        raise BadImage(
            f"a tensor of shape {tuple(image.shape)} came to a network for {channels} channels",
            allowed=f"(batch, {channels}, {space})",
            cure="convert the image, or build the network with in_channels of the image",
        )
