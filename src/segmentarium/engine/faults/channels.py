"""Pictures that disagree with the others: number of channels, alpha, range of values, order of colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from segmentarium.engine.faults.finding import Finding, Hit, Severity, group
from segmentarium.engine.faults.survey import Picture, Survey

FACTOR = 50  # between the brightest values of two files, from which their ranges disagree
FEW = 6  # pictures below which no order of colours can be told
CLEAR = 0.2  # difference of red and blue, relative to brightness, from which an exchange can be told
CLOSE = 0.2  # radius of "like this file", relative to how far an exchange would move it
SHARE = 0.3  # of all files that must look like the exchanged one
DIM = 0.02  # share of an integer type's range that a full-range file passes


def find(survey: Survey) -> Iterator[Finding]:
    """Files that differ from most others."""
    pictures = list(survey.pictures())
    if pictures:
        yield from _channels(pictures)
        yield from _alpha(pictures)
        yield from _ranges(pictures)
        yield from _colors(pictures)


def _channels(pictures: Sequence[Picture]) -> Iterator[Finding]:
    usual = Counter(p.channels for p in pictures).most_common(1)[0][0]
    other = [p for p in pictures if p.channels != usual]
    grave = [p for p in other if {p.channels, usual} != {1, 3}]
    mild = [p for p in other if p not in grave]
    for severity, which in ((Severity.ERROR, grave), (Severity.WARNING, mild)):
        yield from group(
            "channel-count",
            severity,
            [Hit(p.file, note=_channel_note(p)) for p in which],
            what=f"another number of channels than most files, which have {usual}",
            allowed="the same number of channels in all files",
            cure="convert them; grey and RGB may stand together, grey is then repeated or RGB made grey",
        )


def _channel_note(picture: Picture) -> str:
    return f"{picture.channels} channel" + ("s" if picture.channels != 1 else "")


def _alpha(pictures: Sequence[Picture]) -> Iterator[Finding]:
    with_alpha = [p for p in pictures if p.mode in ("RGBA", "LA", "PA")]
    if with_alpha:
        yield from group(
            "alpha-channel",
            Severity.WARNING,
            [Hit(p.file, note=f"mode {p.mode}") for p in with_alpha],
            what="has an alpha channel, which is dropped here and may be read as a fourth colour elsewhere",
            allowed="grey or RGB",
            cure="`seg check --fix` drops it",
            fixable=True,
        )


def _ranges(pictures: Sequence[Picture]) -> Iterator[Finding]:
    tops = np.array([p.top for p in pictures])
    lit = tops[tops > 0]
    usual = float(np.median(lit)) if lit.size else 0.0
    strange = [p for p in pictures if usual and p.top > 0 and not usual / FACTOR < p.top < usual * FACTOR]
    own = [p for p in strange if not _fills_its_type(p)]
    yield from group(
        "value-range",
        Severity.WARNING,
        [Hit(p.file, note=f"brightest {p.top:g}, stored as {p.dtype}") for p in own],
        what=f"values of another range than in most files, whose brightest are about {usual:g}",
        allowed="one range for all files",
        cure="`seg check --fix` rescales them",
        fixable=True,
    )


def _fills_its_type(picture: Picture) -> bool:
    """An 8-bit file among 16-bit ones is no fault where both use what their type offers."""
    if not picture.dtype.startswith("uint"):
        return False
    return picture.top >= DIM * float(np.iinfo(picture.dtype).max)


def _colors(pictures: Sequence[Picture]) -> Iterator[Finding]:
    colored = [p for p in pictures if p.channels == 3 and any(abs(t) > 1e-3 for t in p.tints.values())]
    yield from group(
        "channel-order",
        Severity.WARNING,
        [Hit(p.file, note="fits the others when red and blue are exchanged") for p in exchanged(colored)],
        what="red and blue are exchanged, compared with the other files",
        allowed="RGB in all files",
        cure="look at the pictures; save again with `pixels[..., ::-1]`",
    )


def exchanged(pictures: Sequence[Picture]) -> list[Picture]:
    """Pictures whose tints few others share, but many once red and blue change places."""
    if len(pictures) < FEW:
        return []
    labels = sorted({label for picture in pictures for label in picture.tints})
    tints = np.array([[p.tints.get(label, np.nan) for label in labels] for p in pictures], np.float32)
    return [p for place, p in enumerate(pictures) if _is_exchanged(place, tints)]


def _is_exchanged(place: int, tints: np.ndarray) -> bool:
    here = tints[place]
    move = 2 * float(np.nanmean(np.abs(here)))
    if move < 2 * CLEAR:
        return False
    others = np.delete(tints, place, axis=0)
    like = int((_distances(others, here) < CLOSE * move).sum())
    like_exchanged = int((_distances(others, -here) < CLOSE * move).sum())
    return like_exchanged >= max(3, SHARE * len(tints)) and 3 * like < like_exchanged


def _distances(tints: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Mean difference over the classes that both show; infinite where these are less than half."""
    shared = ~np.isnan(tints) & ~np.isnan(here)
    count = shared.sum(axis=1)
    apart = np.where(shared, np.abs(np.nan_to_num(tints) - np.nan_to_num(here)), 0).sum(axis=1)
    enough = 2 * count >= (~np.isnan(here)).sum()
    return np.where(enough & (count > 0), apart / np.maximum(count, 1), np.inf)
