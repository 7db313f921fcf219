"""The drawings of the page as pictures: one drawing, two materials.

Only what our own charts are made of is understood: lines, polylines, rectangles, circles and text, in the
classes that ``style.css`` names; its light colours are used.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from segmentarium.engine.report.markup import Markup

Color = tuple[int, int, int]
Node = ElementTree.Element

_ZOOM, _WIDEST = 2.0, 2400
_FINER = 2
"""Drawn so many times larger and reduced afterwards, since Pillow's lines have hard edges."""
_LETTERS = 11.0

_NAMED_BY = {
    "grid": "rule", "track": "rule", "none": "raised", "right": "right", "wrong": "wrong", "fill": "accent",
    "whisker": "ink", "row-name": "ink", "weak": "ink", "strong": "strong", "title": "ink",
}  # fmt: skip
_WIDTHS = {"line": 2.0, "faint": 1.0, "grid": 1.0, "whisker": 1.5}
_ANCHORS = {"tick-y": "rm", "tick-x": "ms", "name": "lm", "row-name": "rm", "strong": "mm", "weak": "mm"}
_FAINT = 0.3
_TURN = re.compile(r"rotate\((-?[\d.]+)")
_NO_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def painted(svg: Markup) -> Pil.Image:
    """A chart of the page as a picture, twice as large, on white."""
    root = ElementTree.fromstring(_NO_XML.sub("", svg))
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    zoom = min(_ZOOM, _WIDEST / max(width, height))
    brush = _Brush(width, height, zoom * _FINER)
    for node in root:
        brush.paint(node)
    return brush.sheet.resize((round(width * zoom), round(height * zoom)), Pil.Resampling.BOX)


@cache
def palette() -> dict[str, Color]:
    """The light colours of the page by their names in ``style.css``."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    light = style[: style.index("}")]
    return {
        name: (int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16))
        for name, code in re.findall(r"--([\w-]+): #([0-9a-f]{6})", light)
    }


class _Brush:
    """Paints elements onto a sheet; ``scale`` is pixels by unit."""

    def __init__(self, width: float, height: float, scale: float) -> None:
        self.scale = scale
        self.sheet = Pil.new("RGB", (round(width * scale), round(height * scale)), palette()["ground"])
        self._pen = ImageDraw.Draw(self.sheet)

    def paint(self, node: Node) -> None:
        """Paint one element and what is inside of it."""
        match node.tag:
            case "g":
                for inner in node:
                    self.paint(inner)
            case "rect":
                x, y, width, height = self._numbers(node, "x", "y", "width", "height")
                if width >= 1 and height >= 1:
                    self._pen.rectangle((x, y, x + width - 1, y + height - 1), fill=_color(node))
            case "line":
                ends = self._numbers(node, "x1", "y1", "x2", "y2")
                self._pen.line(ends, fill=_color(node), width=self._width(node))
            case "polyline":
                course = [
                    float(number) * self.scale for number in re.findall(r"[-\d.]+", node.attrib["points"])
                ]
                self._pen.line(course, fill=_color(node), width=self._width(node), joint="curve")
            case "circle":
                x, y, radius = self._numbers(node, "cx", "cy", "r")
                self._pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_color(node))
            case "text":
                self._write(node)

    def _write(self, node: Node) -> None:
        """Text with its anchor at (x, y), turned about it if need be."""
        x, y = self._numbers(node, "x", "y")
        text = (node.text or "").replace("\u2009", " ")  # a space that the font does not have
        font = ImageFont.load_default(float(node.get("font-size", _LETTERS)) * self.scale)
        anchor = next((_ANCHORS[word] for word in _words(node) if word in _ANCHORS), "ls")
        if node.get("text-anchor") == "middle":
            anchor = "ms"
        turn = _TURN.match(node.get("transform", ""))
        if turn is None:
            self._pen.text((x, y), text, fill=_color(node), font=font, anchor=anchor)
            return
        reach = round(font.getlength(text)) + 1
        stencil = Pil.new("L", (2 * reach, 2 * reach))
        ImageDraw.Draw(stencil).text((reach, reach), text, fill=255, font=font, anchor=anchor)
        stencil = stencil.rotate(-float(turn[1]), Pil.Resampling.BICUBIC)
        self.sheet.paste(_color(node), (round(x) - reach, round(y) - reach), stencil)

    def _numbers(self, node: Node, *names: str) -> tuple[float, ...]:
        return tuple(float(node.attrib[name]) * self.scale for name in names)

    def _width(self, node: Node) -> int:
        return max(1, round(self.scale * min(_WIDTHS.get(word, 2.0) for word in _words(node))))


def _words(node: Node) -> list[str]:
    return node.get("class", "").split()


def _color(node: Node) -> Color:
    """The colour that the style sheet gives to the classes of an element, thinned by its opacity."""
    words, colors = _words(node), palette()
    names = [word if word.startswith("series-") else _NAMED_BY.get(word, "") for word in words]
    color = next((colors[name] for name in names if name), colors["quiet"])
    opacity = _FAINT if "faint" in words else float(node.get("fill-opacity", 1))
    ground = colors["raised" if "fill-opacity" in node.attrib else "ground"]
    red, green, blue = (round(g + (c - g) * opacity) for c, g in zip(color, ground, strict=True))
    return red, green, blue
