"""The section of pictures: worst, typical and best images with truth, prediction and errors."""

from __future__ import annotations

import re
from pathlib import Path

from segmentarium.engine.report.folder import RunFiles
from segmentarium.engine.report.inline import inlined
from segmentarium.engine.report.markup import Markup, element, join
from segmentarium.engine.report.origin import swatch
from segmentarium.values.draw import CONFUSED, FALSE_NEGATIVE, FALSE_POSITIVE

_GROUPS = {
    "worst": ("The worst: here is most to be learnt", 12),
    "typical": ("Typical: around the median", 3),
    "best": ("The best", 3),
    "montage": ("Slice by slice: predictions for the worst, the best and a typical volume", 3),
}
_MISSED = {"missed": FALSE_NEGATIVE, "painted where nothing is": FALSE_POSITIVE}
_UNMATCHED = {"missed": FALSE_NEGATIVE, "found where nothing is": FALSE_POSITIVE, "both": CONFUSED}
_CONFUSED = {"one class taken for another": CONFUSED}
_SCORES = {"iou": "mean IoU", "dice": "mean Dice", "ap": "AP", "pq": "PQ"}
_BACKGROUND = ("background", "_background_")
_CAPTION = re.compile(r"\d+_(?P<stem>.*)_(?P<score>[a-z]+\d*?)(?P<value>\d\.\d+)")


def pictures(run: RunFiles) -> Markup:
    """Image, truth, prediction and errors of the worst images, some typical ones and the best."""
    groups = [
        join(element("h3", title), [_figure(path) for path in paths[:most]])
        for name, (title, most) in _GROUPS.items()
        if (paths := run.pictures.get(name, []))
    ]
    if not groups:
        return element("p", "The run folder holds no pictures of predictions.", class_="empty")
    words = "From left to right: image, truth, prediction, errors. Void is darkest among the errors."
    if run.pictures.get("montage"):
        words += " Rows are slices across the axes to the head, to the back and to the left."
    return join(element("p", words, class_="small"), _legend(run), groups)


def _legend(run: RunFiles) -> Markup:
    """One legend for all pictures; a background is not tinted, hence not named."""
    if run.summary.get("task", "semantic") != "semantic":
        errors = [element("span", swatch(color), name) for name, color in _UNMATCHED.items()]
        words = "Every object has a colour of its own. Errors, by an IoU of at most one half: "
        return element("div", words, errors, class_="legend")
    named = [entry for entry in run.classes if str(entry["name"]).lower() not in _BACKGROUND]
    kinds = _MISSED if len(named) < len(run.classes) else {}
    kinds = kinds | (_CONFUSED if len(named) > 1 else {})
    classes = [element("span", swatch(entry.get("color")), str(entry["name"])) for entry in named]
    errors = [element("span", swatch(color), name) for name, color in kinds.items()]
    return join(element("div", classes, class_="legend"), element("div", "Errors: ", errors, class_="legend"))


def _figure(path: Path) -> Markup:
    """A picture of the run folder, carried inside the page."""
    what = _CAPTION.fullmatch(path.stem)
    stem, told = (
        (what["stem"], f"{_SCORES.get(what['score'], what['score'])} {what['value']}")
        if what
        else (path.stem, "")
    )
    try:
        source = inlined(path)
    except (OSError, ValueError):
        return element("p", f"{path.name} cannot be read.", class_="empty")
    image = element("img", src=source, alt=f"{stem}: image, truth, prediction, errors", loading="lazy")
    caption = element("figcaption", element("strong", stem), " ", told)
    return element("figure", element("div", image, class_="scroll"), caption, class_="case")
