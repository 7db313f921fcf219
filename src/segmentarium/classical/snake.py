"""Snakes: a closed polygon that is short and smooth, and drawn to edges.

Paper    Kass, Witkin, Terzopoulos 1988, "Snakes: Active contour models", IJCV; computed by scikit-image

    E = integral of (alpha |v'|^2 + beta |v''|^2) / 2 + E_image,  E_image = -(lines I + edges |grad I|)

I is the picture from 0 to 1 under a Gaussian. A step is implicit in the polygon's own forces. It slides down
one slope into the next valley, so it must begin near the thing.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64
from scipy import ndimage

from segmentarium.classical.levels import TOP, Picture, levels, within
from segmentarium.classical.partition import cut_out
from segmentarium.classical.seeds import Points
from segmentarium.errors import BadArgument, BadImage
from segmentarium.ops.polygons import fill
from segmentarium.values import LabelMap

STILL = 0.01
"""Pixels: when no vertex has moved by more in ten steps, the snake is at rest."""


def snake(
    picture: Picture,
    *,
    polygon: Points = (),
    vertices: int = 200,
    alpha: float = 0.015,
    beta: float = 10.0,
    edges: float = 1.0,
    lines: float = 0.0,
    sigma: float = 2.0,
    gamma: float = 0.01,
    iterations: int = 2500,
) -> LabelMap:
    """The inside of a closed polygon that settles on edges; of pictures only.

    Args:
        polygon: corners (x, y) of the start, around the thing and not far from it; if left out, an ellipse in
            the middle, 0.9 of the picture wide and high.
        vertices: of the snake.
        alpha: price of length: higher contracts faster.
        beta: price of bending: higher is smoother.
        edges: how strongly edges attract; below 0 they repel.
        lines: how strongly bright pixels attract; below 0 dark ones do.
        sigma: of the Gaussian before anything is measured, in pixels: wider reaches farther.
        gamma: inverse length of a step.
        iterations: steps, at the most.
    """
    taken = levels(picture, volumes=False)
    if min(taken.size) < 3:
        raise BadImage(f"a picture of {taken.size}", allowed="3 x 3 pixels at least")
    start = resampled(polygon, vertices) if polygon else ellipse(taken.size, vertices)
    values = taken.values if taken.channels == 3 else taken.grey()[..., None]
    settled = settle(
        values,
        start,
        alpha=alpha,
        beta=beta,
        edges=edges,
        lines=lines,
        sigma=sigma,
        gamma=gamma,
        iterations=iterations,
    )
    height, width = taken.size
    return cut_out(fill([settled + 0.5], (height, width)), taken)  # there, 0 is a pixel's edge


def settle(
    values: Float[np.ndarray, "h w c"],
    start: Float64[np.ndarray, "n 2"],
    *,
    alpha: float = 0.015,
    beta: float = 10.0,
    edges: float = 1.0,
    lines: float = 0.0,
    sigma: float = 2.0,
    gamma: float = 0.01,
    iterations: int = 2500,
) -> Float64[np.ndarray, "n 2"]:
    """The vertices (x, y) where a closed snake comes to rest, 0 being the middle of the first pixel.

    Args:
        values: from 0 to 255, of one channel or three.
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("sigma", sigma)):
        within(name, value, 0)
    within("gamma", gamma, 0, open_low=True)
    within("iterations", float(iterations), 1.0)
    from skimage.segmentation import active_contour

    smooth = ndimage.gaussian_filter(values.astype(np.float64) / TOP, (sigma, sigma, 0), mode="nearest")
    share = 1 / values.shape[-1]  # scikit-image adds channels up
    at = active_contour(
        smooth if values.shape[-1] == 3 else smooth[..., 0],
        start[:, ::-1],
        alpha=alpha,
        beta=beta,
        w_line=lines * share,
        w_edge=edges * share,
        gamma=gamma,
        max_num_iter=iterations,
        convergence=STILL,
    )
    return np.ascontiguousarray(at[:, ::-1])


def ellipse(size: tuple[int, ...], vertices: int, *, share: float = 0.9) -> Float64[np.ndarray, "n 2"]:
    """Vertices (x, y) of an ellipse in the middle of a picture, of a ``share`` of its width and height."""
    within("vertices", float(vertices), 5.0)
    turn = np.arange(vertices) * 2 * np.pi / vertices
    height, width = size
    x = (width - 1) / 2 * (1 + share * np.cos(turn))
    return np.stack([x, (height - 1) / 2 * (1 + share * np.sin(turn))], axis=1)


def resampled(polygon: Points, vertices: int) -> Float64[np.ndarray, "n 2"]:
    """Vertices in equal distances along a closed polygon.

    Raises:
        BadArgument: fewer than three different corners.
    """
    within("vertices", float(vertices), 5.0)
    flat = all(len(corner) == 2 for corner in polygon)
    corners = np.array(polygon if flat else [], np.float64)
    if not flat or len(np.unique(corners, axis=0)) < 3 or not np.isfinite(corners).all():
        raise BadArgument(f"a polygon of {len(polygon)} corners", allowed="three different (x, y) at least")
    closed = np.concatenate([corners, corners[:1]])
    way = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    at = np.arange(vertices) * way[-1] / vertices
    return np.stack([np.interp(at, way, closed[:, axis]) for axis in (0, 1)], axis=1)
