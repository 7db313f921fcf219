"""Encoders: an image in, a list of maps out, each with its channels and stride."""

from __future__ import annotations

from segmentarium.backbones.encoder import Encoder, encoder_names
from segmentarium.backbones.vgg import VGG

__all__ = ["VGG", "Encoder", "encoder_names"]
