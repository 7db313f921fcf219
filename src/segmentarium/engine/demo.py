"""The first minute: the whole main job on bundled pictures of nuclei, with no download and no flags."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segmentarium
from segmentarium.data import open_data
from segmentarium.data.transforms import Augment
from segmentarium.engine.events import Event
from segmentarium.engine.fit import Fitted, fit_recipe
from segmentarium.engine.gallery import write_contact_sheet
from segmentarium.engine.load import load_pictures
from segmentarium.engine.predict import predict
from segmentarium.engine.recipe import Recipe, Train
from segmentarium.engine.wishes import Wishes
from segmentarium.errors import BadRun
from segmentarium.values.results import LabelMap

NUCLEI = Path(segmentarium.__file__).parent / "data" / "nuclei"
"""Twenty-one CC0 pictures of cell nuclei: 16 to train on, 5 to judge by."""

REASONS = {
    "model": "unet-small: two classes, a CPU, and a minute",
    "train.steps": "90: about 40 seconds on two cores",
    "train.crop": "128x128: half a picture, so that eight of them make a quick batch",
    "train.loss": "cross-entropy for the pixels, Dice for the shapes",
    "augment": "nuclei look the same from all sides: flips, quarter turns and a little zoom",
}


@dataclass(frozen=True, kw_only=True)
class Demonstrated:
    """What the demo leaves behind."""

    fitted: Fitted
    sheet: Path

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**self.fitted.as_dict(), "contact_sheet": str(self.sheet)}

    def lines(self) -> list[str]:
        """The last words for a person: scores, paths, what to try next."""
        scores = self.fitted.scores
        return [
            f"\nmean IoU [bold]{scores.score:.3f}[/bold] on 5 pictures that it had not seen",
            f"report         [bold]{self.fitted.report}[/bold]",
            f"contact sheet  [bold]{self.sheet}[/bold]",
            f"\nNext: [bold]seg predict YOUR_PICTURES -m {self.fitted.run}[/bold]"
            "   or   [bold]seg train YOUR_FOLDER[/bold]",
        ]


def demo_recipe(*, seed: int = 0, device: str = "auto") -> Recipe:
    """The demo's settings: a small U-Net and as many steps as fit into a minute on two cores."""
    return Recipe(
        model="unet-small",
        data=str(NUCLEI),
        seed=seed,
        train=Train(
            steps=90,
            batch=8,
            crop=(128, 128),
            lr=3e-3,
            warmup_steps=10,
            loss={"cross_entropy": 1.0, "dice": 0.5},
            evaluate_every=30,
            checkpoint_every=30,
            clip_norm=5.0,
            device=device,
        ),
        augment=Augment(scale=(0.75, 1.33), vflip=0.5, rot90=True),
    )


def demo(out: Path, *, seed: int = 0, device: str = "auto") -> Generator[Event, None, Demonstrated]:
    """Train, predict, score and report on the bundled nuclei; a second demo replaces the first in its folder.

    Raises:
        CannotWrite: ``out`` cannot be written.
    """
    wishes = Wishes(source=NUCLEI, out=out, exist_ok=True)
    fitted = yield from fit_recipe(demo_recipe(seed=seed, device=device), wishes=wishes, reasons=REASONS)
    assert fitted is not None  # one process
    return Demonstrated(fitted=fitted, sheet=_predict_unseen(out, device))


def _predict_unseen(out: Path, device: str) -> Path:
    """Write masks of the pictures that were not trained on, and a sheet of them beside the truth."""
    model, data = load_pictures(out, device=device), open_data(NUCLEI)
    for row in predict(
        [pair.image for pair in data.val], model=model, out=out / "predictions", overwrite=True
    ):
        if row.error is not None:
            raise BadRun(row.error)
    cases = []
    for pair in data.val:
        image = data.image(pair)
        found = model(image)
        assert isinstance(found, LabelMap)
        cases.append((pair.stem, image, data.labels(pair), found.labels))
    return write_contact_sheet(cases, out / "contact_sheet.png", classes=data.classes)
