"""Finishers: raw outputs and sizes in, results out.

semantic.py   class scores to a label map: resize, choose, crop, in one pass
kernels.py    the compiled loops behind it
"""

from __future__ import annotations

from segmentarium.post.semantic import argmax_resized, finish_semantic, probabilities

__all__ = ["argmax_resized", "finish_semantic", "probabilities"]
