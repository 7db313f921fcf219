"""Thumbnails that tell whether two pictures show the same, and averages that tell which channel is which."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pil
from scipy import ndimage

SIDE = 48  # of the signature, in cells
COARSE = 64  # side of the grid on which colours of classes are averaged
FEW = 20  # cells below which the mean colour of a class says nothing


def shown(pixels: np.ndarray) -> Pil.Image:
    """Pixels as an 8-bit picture, L or RGB; deeper or float ones are stretched between their extremes."""
    if pixels.dtype != np.uint8:
        pixels = _stretched(pixels)
    if pixels.shape[-1] == 3:
        return Pil.fromarray(pixels)
    plane = pixels[..., 0] if pixels.shape[-1] == 1 else pixels.mean(axis=-1).astype(np.uint8)
    return Pil.fromarray(np.ascontiguousarray(plane))


def signature_of(picture: Pil.Image) -> np.ndarray | None:
    """48x48 cells without broad light, equally strong everywhere, as int8; None if the picture is flat.

    Correlations of two signatures: above 0.9 for one picture in other light, size or compression; at most 0.8
    for different eyes seen through the same round window, which is the worst case known.
    """
    grey = picture.convert("L")
    cells = np.asarray(grey.resize((SIDE, SIDE), Pil.Resampling.BOX), np.float32)
    cells = cells - ndimage.uniform_filter(cells, 5, mode="reflect")
    if float(np.abs(cells).max()) < 2.0:  # less than rounding noise: nothing to compare
        return None
    strength = np.sqrt(np.maximum(ndimage.uniform_filter(cells * cells, 9, mode="reflect"), 0))
    cells = cells / (strength + 0.15 * strength.mean() + 0.5)
    signature: np.ndarray = np.round(cells * (127 / np.abs(cells).max())).astype(np.int8).reshape(-1)
    return signature


def tints_of(pixels: np.ndarray, labels: np.ndarray | None) -> dict[int, float]:
    """Mean of red minus blue, relative to brightness, by label; -1 for the whole picture."""
    if pixels.shape[-1] != 3:
        return {}
    rows = np.linspace(0, pixels.shape[0] - 1, min(COARSE, pixels.shape[0])).astype(np.intp)
    columns = np.linspace(0, pixels.shape[1] - 1, min(COARSE, pixels.shape[1])).astype(np.intp)
    grid = np.ix_(rows, columns)
    cells = pixels[grid].astype(np.float32)
    tint = ((cells[..., 0] - cells[..., 2]) / (cells.mean(axis=-1) + 1.0)).ravel()
    tints = {-1: float(tint.mean())}
    if labels is not None and labels.shape == pixels.shape[:2]:
        here = labels[grid].ravel()
        tints |= {int(v): float(tint[here == v].mean()) for v in _common(here)}
    return tints


def _common(values: np.ndarray) -> list[int]:
    found, counts = np.unique(values, return_counts=True)
    return [int(v) for v, n in zip(found, counts, strict=True) if n >= FEW and v >= 0][:64]


def _stretched(pixels: np.ndarray) -> np.ndarray:
    low, high = float(pixels.min()), float(pixels.max())
    scale = 255 / (high - low) if high > low else 0.0
    stretched: np.ndarray = ((pixels - np.asarray(low, np.float32)) * np.float32(scale)).astype(np.uint8)
    return stretched
