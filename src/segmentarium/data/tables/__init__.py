"""Class tables of well-known data sets, kept as data: names, ids and colours."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from segmentarium.values.classes import Class, Classes, Color, distinct_color

VOID_COLOR: Color = (224, 224, 192)
"""The cream in which Pascal VOC draws void."""


def voc() -> Classes:
    """The 21 classes of Pascal VOC, background first."""
    return _table("voc")


def cityscapes() -> Classes:
    """The 19 evaluated classes of Cityscapes; ids are those of ``labelIds`` files."""
    return _table("cityscapes")


def cityscapes_train() -> Classes:
    """The same classes with the ids 0 to 18 of ``labelTrainIds`` files."""
    return Classes(Class(id=i, name=c.name, color=c.color, thing=c.thing) for i, c in enumerate(cityscapes()))


def camvid() -> Classes:
    """The 11 classes of CamVid that SegNet evaluates; its files have 11 for void."""
    return _table("camvid")


def ade20k() -> Classes:
    """The 150 classes of SceneParse150; ids start at 1, since 0 is void."""
    return _table("ade20k")


@cache
def _table(name: str) -> Classes:
    text = files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["classes"]
    return Classes(
        Class(id=row[0], name=row[1], color=tuple(row[2:5]) if len(row) > 2 else distinct_color(row[0]))
        for row in rows
    )
