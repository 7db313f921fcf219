"""Every row of the atlas of foundations but the data has a test that answers for it by name."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = [
    *(f"L{n:02}" for n in range(1, 32)),
    *(f"M{n:02}" for n in range(1, 44)),
    *(f"U{n:02}" for n in range(1, 10)),
    *(f"C{n:02}" for n in range(1, 22)),
    *(f"R{n:02}" for n in range(1, 22)),
]
UNANSWERED: set[str] = set()
"""Rows that nothing answers for yet; documentation says so too."""


def answered() -> set[str]:
    marks = [
        mark
        for path in TESTS.rglob("test_*.py")
        for mark in re.findall(r"mark\.atlas\(([^)]*)\)", path.read_text(encoding="utf-8"))
    ]
    return set(re.findall(r"\"([CLMRU]\d\d)\"", " ".join(marks)))


def test_each_row_names_its_test() -> None:
    assert answered() <= set(ROWS)
    assert set(ROWS) - answered() == UNANSWERED
