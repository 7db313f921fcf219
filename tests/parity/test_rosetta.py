"""The documented disagreements are real: each number again from our protocol, and from the tool itself."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import rosetta

HERE = Path(__file__).parent
RECORDED = tomllib.loads((HERE / "rosetta.toml").read_text(encoding="utf-8"))["row"]
ROWS = rosetta.rows()
NAMES = [f"{row.quantity}: {row.input}" for row in ROWS]


def as_list(value: Any) -> list[float]:
    return list(value) if isinstance(value, list) else [value]


def test_the_table_is_the_recorded_one() -> None:
    assert [f"{entry['quantity']}: {entry['input']}" for entry in RECORDED] == NAMES


@pytest.mark.parametrize("index", range(len(ROWS)), ids=NAMES)
def test_numbers_are_the_documented_ones(index: int) -> None:
    values = {name: rosetta.shown(number()) for name, number in ROWS[index].ours.items()}
    assert values == RECORDED[index]["values"]
    assert len(set(values.values())) > 1, "a table of disagreements"


@pytest.mark.filterwarnings("ignore")  # of the tools, on newer libraries than they know
@pytest.mark.parametrize(
    ("index", "tool"), [(i, tool) for i, row in enumerate(ROWS) for tool in row.tools], ids=str
)
def test_the_tool_itself_says_so(index: int, tool: str) -> None:
    theirs, ours = ROWS[index].tools[tool](), ROWS[index].ours[tool]()
    assert as_list(ours) == pytest.approx(as_list(theirs), abs=2e-6, nan_ok=True)
