"""What OpenMP is told depends on who comes first, so each case has an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAY = "import os; print(os.environ.get('OMP_WAIT_POLICY'), segmentarium.waiting.GIVE_WAY)"
BLANK = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')"


@pytest.mark.parametrize(
    ("before", "asked", "expected"),
    [
        ("pass", None, "PASSIVE True"),
        ("pass", "active", "active False"),
        ("pass", "passive", "passive True"),
        (BLANK, None, "None False"),
        (BLANK, "passive", "passive True"),
    ],
)
def test_idle_threads_give_way_if_we_come_first(before: str, asked: str | None, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if asked:
        environment["OMP_WAIT_POLICY"] = asked
    program = f"{before}\nimport segmentarium\n{SAY}"
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == expected
