"""Encoders: an image in, a list of maps out, each with its channels and stride."""

from __future__ import annotations

from segmentarium.backbones.encoder import Encoder, encoder_names
from segmentarium.backbones.hrnet import HRNet
from segmentarium.backbones.swin import SIZES, Swin
from segmentarium.backbones.vgg import VGG
from segmentarium.backbones.vit import ViT

__all__ = ["VGG", "Backbone", "Encoder", "HRNet", "Swin", "ViT", "encoder_names", "encoder_of"]

Backbone = Encoder | HRNet | Swin | VGG | ViT
"""What begins with trained weights where a paper says so; for ``isinstance`` too."""


def encoder_of(name: str, *, in_channels: int) -> Encoder | Swin:
    """Our Swin for the names in ``swin.SIZES``, such as ``swin_t``; any other name is timm's.

    Raises:
        UnknownName: timm has no such model, or it has no maps at strides 2, 4, 8 and so on.
    """
    if name in SIZES:
        return Swin(SIZES[name], in_channels=in_channels)
    return Encoder(name, in_channels=in_channels)
