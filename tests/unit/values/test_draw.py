"""Pictures for people: what is coloured, what is not, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium.errors import BadImage
from segmentarium.values import (
    VOID,
    Classes,
    Image,
    contact_sheet,
    error_map,
    legend,
    overlay,
    to_rgb8,
)
from segmentarium.values.draw import CONFUSED, FALSE_NEGATIVE, FALSE_POSITIVE, contour, entries_of

NUCLEI = Classes.named("background", "nucleus", "debris")
STREET = Classes.named("sky", "road")
GRAY = np.full((20, 30, 3), 100, np.uint8)


def test_fill_is_blended_and_contour_is_not() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[5:15, 5:15] = 1
    drawn = np.array(overlay(GRAY, labels, NUCLEI, alpha=0.5))[:20, :30]
    color = np.array(NUCLEI[1].color)
    assert (drawn[5, 5] == color).all()
    assert np.abs(drawn[10, 10] - (100 + color) / 2).max() <= 0.5
    assert (drawn[labels == 0] == 100).all()
    assert (drawn[14, 5:15] == color).all()


def test_void_is_untinted_and_a_first_class_of_another_name_is_not() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[:, :10] = VOID
    drawn = np.array(overlay(GRAY, labels, STREET, alpha=0.5))
    assert (drawn[:20, :10] == 100).all()
    assert (drawn[:20, 11:30] == 50).all()


def test_anything_can_be_drawn_on(tmp_path: Path) -> None:
    labels = np.zeros((20, 30), np.int32)
    Pil.fromarray(GRAY).save(tmp_path / "a.png")
    for picture in (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        GRAY,
        Image(GRAY),
        Pil.fromarray(GRAY),
        GRAY[..., 0],
    ):
        assert overlay(picture, labels, NUCLEI, with_legend=False).size == (30, 20)
    with pytest.raises(BadImage, match="picture of 30x20 for labels of 3x2 pixels"):
        overlay(GRAY, np.zeros((2, 3), np.int32), NUCLEI)


def test_contour() -> None:
    labels = np.array([[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2]])
    assert contour(labels).tolist() == [[False, False, True, True]] * 3
    assert not contour(np.zeros((1, 1), np.int32)).any()


def test_errors_have_their_colours() -> None:
    truth = np.array([[0, 0, 1, 1, 2, VOID, 1]])
    prediction = np.array([[0, 1, 0, 1, 1, 1, 1]])
    picture = np.full((1, 7, 3), 200, np.uint8)
    drawn = np.array(error_map(picture, truth, prediction, NUCLEI, with_legend=False))[0]
    assert drawn[0].tolist() == drawn[3].tolist() == [120] * 3
    assert tuple(drawn[1]) == FALSE_POSITIVE
    assert tuple(drawn[2]) == FALSE_NEGATIVE
    assert tuple(drawn[4]) == CONFUSED
    assert drawn[5].tolist() == [60] * 3
    street = np.array(
        error_map(picture[:, :2], np.array([[0, 1]]), np.array([[1, 1]]), STREET, with_legend=False)
    )
    assert tuple(street[0, 0]) == CONFUSED


def test_display_says_what_it_did() -> None:
    rgb, said = to_rgb8(GRAY)
    assert said == ""
    assert rgb is GRAY or (rgb == GRAY).all()
    ramp = np.linspace(0, 60000, 600).astype(np.uint16).reshape(20, 30, 1)
    shown, said = to_rgb8(ramp)
    assert (shown.min(), shown.max()) == (0, 255)
    assert said.startswith("shown from")
    assert "channels 1 to 3 of 5" in to_rgb8(np.zeros((2, 2, 5), np.float32))[1]
    assert to_rgb8(np.full((2, 2), 7, np.uint16))[0].max() == 0
    with pytest.raises(BadImage, match="volume"):
        to_rgb8(Image(np.zeros((2, 3, 4, 1), np.uint8)))


def test_legend_wraps_and_never_cuts() -> None:
    classes = Classes.named(*"abcdefghi")
    narrow, wide = legend(classes, width=60), legend(classes, width=900)
    assert narrow.height > wide.height
    assert wide.width == 900
    assert legend(Classes.named("a rather long name"), width=20).width > 60
    assert legend([], width=50).height == 0


def test_a_legend_of_very_many_names_the_largest() -> None:
    labels = np.repeat(np.arange(60, dtype=np.int32), np.arange(60) + 1)[None]
    entries = entries_of(Classes.named("background", *(f"object {i}" for i in range(1, 60))), labels)
    assert [name for name, _ in entries] == [*(f"object {i}" for i in range(20, 60)), "and 19 more"]


def test_contact_sheet_keeps_its_grid() -> None:
    cells = [
        (Pil.new("RGB", size, (9, 9, 9)), f"picture {size} " * 20)
        for size in ((640, 480), (10, 10), (50, 400))
    ]
    sheet = contact_sheet(cells, columns=2, cell=200, title="A title")
    assert sheet.width == 10 + 2 * 210
    assert sheet.getpixel((0, 0)) == (255, 255, 255)
    assert contact_sheet(cells, columns=3, cell=200).height < sheet.height
    assert contact_sheet([], columns=3).width > 0
