"""Interactive graph cut: the cheapest border between what is marked as foreground and as background.

Paper    Boykov, Jolly 2001, "Interactive graph cuts for optimal boundary and region segmentation of objects
         in N-D images", ICCV, equations 1 to 4 and the table of section 2.3

    E(A) = lambda sum over p of R_p(A_p)  +  sum over neighbours p, q of B_pq [A_p != A_q]
    R_p(l) = -ln Pr(I_p | l)                B_pq = exp(-|I_p - I_q|^2 / 2 sigma^2) / dist(p, q)

The cut is the least of all that keep the marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32, Integer, Real

from segmentarium.classical.crf.energy import contrast_weights
from segmentarium.classical.levels import Picture, levels, within
from segmentarium.classical.partition import cut_out
from segmentarium.classical.seeds import BACKGROUND, FOREGROUND, Points, require_labels, seed_map
from segmentarium.errors import BadArgument
from segmentarium.ops.gaussian_mixture import learn, parted
from segmentarium.ops.grid_cut import grid_cut
from segmentarium.ops.neighbours import Offset, neighbours
from segmentarium.values import LabelMap

Model = Literal["gaussians", "histogram"]
MOST_CELLS = 2**20


def graph_cut(
    picture: Picture,
    *,
    foreground: Points = (),
    background: Points = (),
    seeds: Integer[np.ndarray, "*s"] | None = None,
    radius: float = 0.0,
    region: float = 0.02,
    sigma: float | None = None,
    connectivity: int | None = None,
    model: Model = "gaussians",
    components: int = 5,
    bins: int = 16,
    seed: int = 0,
) -> LabelMap:
    """Cut out what is marked, along edges and by the colours of the marks.

    Args:
        foreground: marked pixels (x, y) of the thing.
        background: marked pixels (x, y) around it.
        seeds: a map of marks: 0 unknown, 1 background, 2 foreground.
        radius: of the dabs that points are, in pixels; wide ones tell more of the colours.
        region: weight lambda of colours against borders; 0 looks at borders only.
        sigma: the contrast that makes a border cheap, in levels; if left out, the root of the mean square of
            all contrasts.
        connectivity: 4 or 8 neighbours in pictures, 6, 18 or 26 in volumes; 8 and 6 if left out.
        model: how the colours of the marks are learnt.
        components: Gaussians of a region.
        bins: of the histogram, for each channel.
        seed: of the first centres of the Gaussians.
    """
    taken = levels(picture)
    within("region", region, 0.0)
    within("components", float(components), 1.0)
    within("bins", float(bins), 1.0, 256.0)
    known = seed_map(taken.size, seeds=seeds, foreground=foreground, background=background, radius=radius)
    if require_labels(known) > FOREGROUND:
        raise BadArgument(f"the seed {known.max()}", allowed="1 for background, 2 for foreground")
    usual = 8 if len(taken.size) == 2 else 6
    offsets = neighbours(len(taken.size), usual if connectivity is None else connectivity)
    nearest = tuple(step / min(taken.spacing) for step in taken.spacing)
    links = contrast_weights(taken.values, offsets, sigma=sigma, spacing=nearest)
    costs = np.zeros((2, *taken.size))
    if region > 0:
        costs = np.stack(
            [
                gaussian_costs(taken.values, known == label, components, seed)
                if model == "gaussians"
                else histogram_costs(taken.values, known == label, bins)
                for label in (BACKGROUND, FOREGROUND)
            ]
        )
    inside, _ = seeded_cut(region * costs, known, links, offsets)
    return cut_out(inside, taken)


def seeded_cut(
    costs: Float64[np.ndarray, " 2 *s"],
    known: Int32[np.ndarray, "*s"],
    links: Sequence[Float64[np.ndarray, "*s"]],
    offsets: tuple[Offset, ...],
) -> tuple[Bool[np.ndarray, "*s"], float]:
    """The cheapest foreground that keeps the marks, and its energy.

    Args:
        costs: R of background and of foreground; negative ones may occur.
        known: 0 unknown, 1 background, 2 foreground.
        links: B for each offset.
    """
    free, hard = known == 0, 1 + 2 * sum(float(link.max()) for link in links)  # K of the paper, or more
    base = costs.min(axis=0)
    source = np.where(free, costs[0] - base, hard * (known == FOREGROUND))
    sink = np.where(free, costs[1] - base, hard * (known == BACKGROUND))
    cut = grid_cut(source, sink, links, links, offsets)
    marked = np.where(known == FOREGROUND, costs[1], costs[0])
    return cut.source_side, cut.flow + float(np.where(free, base, marked).sum())


def gaussian_costs(
    values: Float[np.ndarray, "*s c"], marked: Bool[np.ndarray, "*s"], components: int, seed: int
) -> Float64[np.ndarray, "*s"]:
    """-ln Pr of each pixel under Gaussians of the marked ones, each pixel under its likeliest."""
    own = values[marked]
    mixture = learn(own, parted(own, components, seed), components)
    costs, _ = mixture.costs(values.reshape(-1, values.shape[-1]))
    return costs.reshape(marked.shape)


def histogram_costs(
    values: Real[np.ndarray, "*s c"], marked: Bool[np.ndarray, "*s"], bins: int
) -> Float64[np.ndarray, "*s"]:
    """-ln Pr of each pixel by a histogram of the marked ones, to each cell of which one pixel is added."""
    channels = values.shape[-1]
    cells = bins**channels
    if cells > MOST_CELLS:
        raise BadArgument(
            f"a histogram of {bins} bins for each of {channels} channels",
            allowed=f"up to {MOST_CELLS} cells",
            cure="take fewer bins, or model='gaussians'",
        )
    cell = np.zeros(marked.shape, np.int64)
    for channel in range(channels):
        cell = bins * cell + np.minimum(values[..., channel] * (bins / 256), bins - 1).astype(np.int64)
    counts = np.bincount(cell[marked], minlength=cells) + 1.0
    return np.asarray(-np.log(counts / counts.sum())[cell])
