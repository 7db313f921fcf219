"""Data in: readers of data sets, drawn shapes, joint transforms, loaders.

dataset.py     DataSet, Pair, MaskReading: files by split, and labels, segments or volumes from them
guess.py       open_data: recognise a layout by looking at it
folders.py, voc.py, cityscapes.py, ade20k.py, coco*.py    readers, one a layout
segments.py, segmenting.py    objects and segments that may overlap, as parts of the picture
volumes.py     labels of volumes, checked to lie where their image lies
pictures.py, volume_samples.py, loader.py, memory.py    samples and batches of a training run
transforms.py, volume_transforms.py    joint random transforms; normalise.py, volume_normalise.py
meta.py        descriptions: meta.json, classes.json, classes.txt
pairing.py     which mask belongs to which image
evidence.py    what a sample of masks tells where no description does
translate.py   file values to class indices, nothing unknown let through
tables/        the classes of well-known sets
shapes.py      draw_scene, draw_volume, write_data_set (with shapes_forms, shapes_paint, shapes_layouts)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmentarium.data.dataset import DataSet, MaskReading, Pair
    from segmentarium.data.guess import open_data
    from segmentarium.data.shapes import draw_scene, draw_volume, write_data_set

_HOME = {
    "DataSet": "dataset",
    "MaskReading": "dataset",
    "Pair": "dataset",
    "draw_scene": "shapes",
    "draw_volume": "shapes",
    "open_data": "guess",
    "write_data_set": "shapes",
}

__all__ = ["DataSet", "MaskReading", "Pair", "draw_scene", "draw_volume", "open_data", "write_data_set"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"segmentarium.data.{_HOME[name]}"), name)
