"""The forms and textures of drawn shapes: signed distances and patterns, alike in 2-D and 3-D.

Every form takes coordinates around its centre, in units of its radius, and gives the signed distance to its
surface in the same unit: negative inside. Every texture takes coordinates in units of its period and gives 0
to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from jaxtyping import Float32

from segmentarium.values.classes import Class, Classes, Color, distinct_color

Place = Float32[np.ndarray, "n ..."]
Field = Float32[np.ndarray, "*s"]


def disc(place: Place) -> Field:
    """A disc; a ball in space."""
    return _length(place) - np.float32(0.9)


def rectangle(place: Place) -> Field:
    """An upright rectangle; a box in space."""
    return _box(place, (0.6, 0.95, 0.6))


def triangle(place: Place) -> Field:
    """A regular triangle; a tetrahedron in space."""
    corners = _around(3) if len(place) == 2 else np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
    return _half_spaces(place, corners, 0.52)


def ring(place: Place) -> Field:
    """A disc with a hole; a torus in space."""
    from_circle = _length(place[:2]) - np.float32(0.66)
    return _length(np.stack([from_circle, *place[2:]])) - np.float32(0.27)


def star(place: Place) -> Field:
    """Long points along the axes, waisted between them."""
    power = np.float32(0.62)
    reach = np.sum((np.abs(place) + np.float32(1e-6)) ** power, axis=0) ** (1 / power)
    distance: Field = np.float32(0.6) * (reach - np.float32(1.15))
    return distance


def ellipse(place: Place) -> Field:
    """Half as wide as high."""
    axes = np.array([0.52, 1.0, 0.7][: len(place)], np.float32).reshape(-1, *[1] * (place.ndim - 1))
    return np.float32(0.7) * (_length(place / axes) - 1)


def cross(place: Place) -> Field:
    """Bars along the axes."""
    bars = [
        _box(place, tuple(0.95 if axis == long else 0.3 for axis in range(3))) for long in range(len(place))
    ]
    distance: Field = np.minimum.reduce(bars)
    return distance


def hexagon(place: Place) -> Field:
    """A regular hexagon; an octahedron in space."""
    corners = _around(6) if len(place) == 2 else np.array(list(product((-1, 1), repeat=3)))
    return _half_spaces(place, corners, 0.78 if len(place) == 2 else 0.6)


def crescent(place: Place) -> Field:
    """A disc out of which another one bit."""
    bite = place - np.array([0.0, 0.52, 0.0][: len(place)], np.float32).reshape(-1, *[1] * (place.ndim - 1))
    return np.maximum(_length(place) - np.float32(0.95), np.float32(0.72) - _length(bite))


def stripes(place: Place) -> Field:
    """Even stripes across the first axis."""
    return _sharp(np.sin(2 * np.pi * place[0]))


def dots(place: Place) -> Field:
    """A lattice of dots."""
    return _sharp(np.cos(2 * np.pi * place[0]) + np.cos(2 * np.pi * place[1]) - np.float32(0.7))


def waves(place: Place) -> Field:
    """Stripes that swing."""
    return _sharp(np.sin(2 * np.pi * (place[0] + np.float32(0.25) * np.sin(np.pi * place[1]))))


def circles(place: Place) -> Field:
    """Rings around the centre."""
    return _sharp(np.sin(2 * np.pi * _length(place)))


def checks(place: Place) -> Field:
    """A soft checkerboard."""
    return _sharp(3 * np.sin(np.pi * place[0]) * np.sin(np.pi * place[1]))


def marble(place: Place) -> Field:
    """Winding veins."""
    swirl = np.sin(np.float32(3.1) * place[1] + 2 * np.sin(np.float32(1.7) * place[0]))
    veins: Field = np.sin(np.float32(2.3) * place[0] + 2 * swirl)
    return (veins + 1) / 2


def spokes(place: Place) -> Field:
    """Eight rays around the centre."""
    return _sharp(np.sin(8 * np.arctan2(place[1], place[0])))


Form = Callable[[Place], Field]
FORMS: tuple[Form, ...] = (disc, rectangle, triangle, ring, star, ellipse, cross, hexagon, crescent)
SOLIDS = ("ball", "box", "tetrahedron", "torus", "spark", "ellipsoid", "jack", "octahedron", "bowl")
TEXTURES: tuple[Form, ...] = (circles, stripes, dots, waves, spokes, marble, checks)
COLORS: tuple[Color, ...] = (
    (236, 112, 60),
    (42, 157, 143),
    (233, 196, 86),
    (198, 63, 92),
    (250, 238, 210),
    (116, 92, 186),
    (84, 164, 226),
    (138, 177, 74),
    (231, 140, 178),
)


def form_of(index: int) -> Form:
    """The form of class ``index``; 0 is the ground and has none."""
    return FORMS[(index - 1) % len(FORMS)]


def texture_of(index: int) -> Form:
    """The texture of class ``index``; classes that share a form differ here."""
    return TEXTURES[(index - 1) % len(TEXTURES)]


def color_of(index: int) -> Color:
    """The usual colour of class ``index``, from 1."""
    return COLORS[index - 1] if index <= len(COLORS) else distinct_color(index)


def shape_classes(count: int, dimensions: int) -> Classes:
    """The ground and ``count - 1`` classes of shapes."""
    ground = Class(id=0, name="ground", color=(38, 50, 64))
    return Classes(
        [
            ground,
            *(Class(id=i, name=_name(i, dimensions), color=color_of(i), thing=True) for i in range(1, count)),
        ]
    )


def _name(index: int, dimensions: int) -> str:
    turn, kind = divmod(index - 1, len(FORMS))
    name = FORMS[kind].__name__ if dimensions == 2 else SOLIDS[kind]
    return f"{name} {turn + 1}" if turn else name


def _length(place: Place) -> Field:
    squared: Field = np.einsum("i...,i...->...", place, place)
    return squared**0.5


def _box(place: Place, half: tuple[float, ...]) -> Field:
    beyond: Place = np.abs(place) - np.array(half[: len(place)], np.float32).reshape(
        -1, *[1] * (place.ndim - 1)
    )
    inner: Field = np.minimum(beyond.max(axis=0), 0)
    distance: Field = _length(np.maximum(beyond, 0)) + inner
    return distance


def _half_spaces(place: Place, normals: np.ndarray, distance: float) -> Field:
    """The body cut out by planes at ``distance`` from the centre."""
    unit = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
    beyond: Field = np.tensordot(unit, place, axes=1).max(axis=0) - np.float32(distance)
    return beyond


def _around(count: int) -> np.ndarray:
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)


def _sharp(wave: Field) -> Field:
    """A wave with steep flanks, between 0 and 1."""
    steep: Field = np.clip(np.float32(0.5) + np.float32(1.4) * wave, 0, 1)
    return steep
