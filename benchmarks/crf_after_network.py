"""What a fully connected field does to a network's labels: scores before and after, on pictures with truth.

    python benchmarks/crf_after_network.py RUN DATA [-o OUT] [--pictures 50] [--split val]

``RUN`` is what ``seg train`` left (or any weights that ``seg predict`` takes), ``DATA`` what ``seg eval``
takes. The settings of the field must not be chosen on the pictures that are reported, and on those the
network was trained on it is too sure of itself: so the first half of the split chooses for the second, and
the second for the first, by mean IoU. Neighbouring frames of a film stay in one half.

Printed: mean IoU, mean boundary F (Csurka), mean boundary IoU and mean IoU within five pixels of a border,
before and after, with 95 % intervals of the two of boundaries; the same for the usual field of
``seg predict``. Then the IoU of each class. ``OUT`` gets the pictures that gained and lost most, before and
after.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segmentarium.classical.crf.dense import DenseCRF
from segmentarium.data import open_data
from segmentarium.data.dataset import DataSet, Pair
from segmentarium.engine.gallery import strip
from segmentarium.engine.load import load
from segmentarium.engine.model import Model
from segmentarium.engine.refining import field_of, refined
from segmentarium.errors import BadArgument
from segmentarium.metrics.boundary_scores import Boundaries
from segmentarium.metrics.confusion import SemanticScores, count_pairs
from segmentarium.values import LabelMap

GRID = {"weight": (2.0, 4.0, 7.0), "sigma": (30.0, 60.0), "contrast": (5.0, 10.0)}

Settings = tuple[float, float, float]
CHOICES: list[Settings] = list(itertools.product(*GRID.values()))


@dataclass
class Column:
    """One way to label the pictures."""

    name: str
    boundaries: Boundaries
    matrix: np.ndarray
    each: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, names: tuple[str, ...]) -> Column:
        count = len(names)
        return cls(name, Boundaries(count, names=names), np.zeros((count, count), np.int64))

    def update(self, stem: str, labels: np.ndarray, truth: np.ndarray) -> None:
        self.boundaries.update(labels, truth, name=stem)
        counts = count_pairs(labels, truth, classes=len(self.matrix))
        self.matrix += counts
        self.each[stem] = SemanticScores.of(counts).mean_iou


def answer(model: Model, data: DataSet, pair: Pair) -> LabelMap:
    found = model(data.image(pair), probs=True)
    assert isinstance(found, LabelMap)
    return found


def choose(model: Model, data: DataSet, pairs: list[Pair], iterations: int) -> Settings:
    """The settings of the highest mean IoU."""
    count = len(model.classes)
    matrices = np.zeros((len(CHOICES), count, count), np.int64)
    for pair in pairs:
        found, image, truth = answer(model, data, pair), data.image(pair), data.labels(pair)
        for i, settings in enumerate(CHOICES):
            after = refined(found, image, field=field_of(*settings, iterations=iterations))
            matrices[i] += count_pairs(after.labels, truth, classes=count)
    return CHOICES[int(np.argmax([SemanticScores.of(matrix).mean_iou for matrix in matrices]))]


def show(columns: list[Column]) -> None:
    print(f"\n{'':<28}" + "".join(f"{column.name:>26}" for column in columns))
    scores = [(SemanticScores.of(column.matrix), column.boundaries.compute()) for column in columns]
    rows = {
        "mean IoU": [f"{of.mean_iou:.4f}" for of, _ in scores],
        "mean boundary F": [f"{b.mean_bf_score:.4f}{told(b.intervals['mean_bf_score'])}" for _, b in scores],
        "mean boundary IoU": [
            f"{b.mean_boundary_iou:.4f}{told(b.intervals['mean_boundary_iou'])}" for _, b in scores
        ],
        "mean IoU within 5 pixels": [f"{b.trimap_mean_iou[5.0]:.4f}" for _, b in scores],
    }
    for i, name in enumerate(columns[0].boundaries.names):
        rows[f"IoU of {name}"] = [f"{of.iou[i]:.4f}" for of, _ in scores]
    for name, values in rows.items():
        print(f"{name:<28}" + "".join(f"{value:>26}" for value in values))


def told(interval: tuple[float, float]) -> str:
    return " ({:.4f}-{:.4f})".format(*interval)


def draw(model: Model, data: DataSet, pairs: list[Pair], fields: dict[str, DenseCRF], columns: list[Column],
         out: Path) -> None:  # fmt: skip
    """The two pictures that gained most and the two that lost most; two rows each, before and after."""
    out.mkdir(parents=True, exist_ok=True)
    gain = {pair.stem: columns[1].each[pair.stem] - columns[0].each[pair.stem] for pair in pairs}
    order = sorted(pairs, key=lambda pair: gain[pair.stem])
    for kind, chosen in (("lost", order[:2]), ("gained", order[-2:])):
        for pair in chosen:
            image, truth, before = data.image(pair), data.labels(pair), answer(model, data, pair)
            after = refined(before, image, field=fields[pair.stem])
            for name, labels in (("before", before.labels), ("after", after.labels)):
                sheet = strip(image, truth, labels, model.classes)
                sheet.save(out / f"{kind}_{pair.stem}_{name}.png")
            print(f"{kind}: {pair.stem} {gain[pair.stem]:+.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/crf"))
    parser.add_argument("--pictures", type=int, default=50, help="evenly spaced pictures of the split")
    parser.add_argument("--split", default="val")
    parser.add_argument("--iterations", type=int, default=10)
    words = parser.parse_args()
    model, data = load(words.run), open_data(words.data)
    if model.classes.names != data.classes.names:
        raise BadArgument(
            f"a model of {model.classes.names} for data of {data.classes.names}", allowed="the same classes"
        )
    pairs = [pair for pair in data.split(words.split) if pair.mask is not None]
    count = min(words.pictures, len(pairs))
    pairs = [pairs[i * len(pairs) // count] for i in range(count)]
    halves = pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]
    names = tuple(model.classes.names)
    columns = [Column.of(name, names) for name in ("network", "field, chosen", "field, as it comes")]
    fields: dict[str, DenseCRF] = {}
    for reported, chosen_by in (halves, halves[::-1]):
        settings = choose(model, data, chosen_by, words.iterations)
        told_of = ", ".join(f"{name} {value:g}" for name, value in zip(GRID, settings, strict=True))
        print(f"{chosen_by[0].stem} to {chosen_by[-1].stem} choose {told_of}", flush=True)
        for pair in reported:
            fields[pair.stem] = field_of(*settings, iterations=words.iterations)
            image, truth, before = data.image(pair), data.labels(pair), answer(model, data, pair)
            after = [refined(before, image, field=one) for one in (fields[pair.stem], field_of())]
            for column, labels in zip(columns, (before, *after), strict=True):
                column.update(pair.stem, labels.labels, truth)
    show(columns)
    draw(model, data, pairs, fields, columns, words.output)


if __name__ == "__main__":
    main()
