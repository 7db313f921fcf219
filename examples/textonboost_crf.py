"""Segmentation before networks: boosted textures guess the class of each pixel, a random field sharpens it.

    python examples/textonboost_crf.py [--train 8] [--val 4]
    python examples/textonboost_crf.py --data DIR      # DIR/train and DIR/val with images/ and masks/

Without data, shapes are drawn. Masks hold class numbers; ``--ignore`` is that of pixels of no class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from segmentarium.classical.crf.dense import DenseCRF, Kernel
from segmentarium.classical.textonboost import TextonBoost
from segmentarium.data.shapes import draw_scene
from segmentarium.values import VOID, read_image, read_mask

Pairs = list[tuple[np.ndarray, np.ndarray]]


def drawn(first: int, count: int) -> Pairs:
    scenes = [draw_scene(first + i, size=(120, 160), classes=4, objects=7) for i in range(count)]
    return [(scene.image.pixels, scene.labels) for scene in scenes]


def read(folder: Path, count: int, ignore: int) -> Pairs:
    """Evenly spaced pictures of a folder."""
    paths = sorted((folder / "images").iterdir())
    pairs = []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        labels = read_mask(folder / "masks" / f"{path.stem}.png").values.astype(np.int32)
        pairs.append((read_image(path).pixels, np.where(labels == ignore, VOID, labels)))
    return pairs


def scores(truths: list[np.ndarray], found: list[np.ndarray], classes: int) -> str:
    """Pixel accuracy and mean IoU over the classes that occur."""
    table = sum(
        np.bincount(truth[truth > VOID] * classes + labels[truth > VOID], minlength=classes**2)
        for truth, labels in zip(truths, found, strict=True)
    ).reshape(classes, classes)
    union = table.sum(0) + table.sum(1) - table.diagonal()
    iou = table.diagonal()[union > 0] / union[union > 0]
    return f"pixel accuracy {table.trace() / table.sum():.3f}, mean IoU {iou.mean():.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--train", type=int, default=12)
    parser.add_argument("--val", type=int, default=4)
    parser.add_argument("--ignore", type=int, default=255)
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    if args.data:
        train = read(args.data / "train", args.train, args.ignore)
        val = read(args.data / "val", args.val, args.ignore)
    else:
        train, val = drawn(0, args.train), drawn(1000, args.val)
    pictures, labels = map(list, zip(*train, strict=True))
    model = TextonBoost.fit(pictures, labels, rounds=args.rounds)
    field = DenseCRF((Kernel(3.0, compatibility=3.0), Kernel(40.0, 10.0, compatibility=4.0)), iterations=10)
    truths = [truth for _, truth in val]
    guesses = [model.predict(picture) for picture, _ in val]
    energies = [-np.log(np.clip(probs, 1e-4, 1)) for probs in guesses]
    fields = [field.infer(energy, picture) for energy, (picture, _) in zip(energies, val, strict=True)]
    before, after = ([probs.argmax(0) for probs in maps] for maps in (guesses, fields))
    print("textures alone:   ", scores(truths, before, model.classes))
    print("and the dense CRF:", scores(truths, after, model.classes))


if __name__ == "__main__":
    main()
