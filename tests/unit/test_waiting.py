"""What OpenMP is told depends on who comes first, so each case has an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAY = "import os; print(os.environ.get('GOMP_SPINCOUNT'), segmentarium.waiting.GIVE_WAY)"
BLANK = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere OpenMP knows no number of spins")
@pytest.mark.parametrize(
    ("before", "asked", "expected"),
    [
        ("pass", {}, "20000 True"),
        ("pass", {"OMP_WAIT_POLICY": "active"}, "None False"),
        ("pass", {"OMP_WAIT_POLICY": "passive"}, "None True"),
        ("pass", {"GOMP_SPINCOUNT": "infinity"}, "infinity False"),
        ("pass", {"GOMP_SPINCOUNT": "100"}, "100 True"),
        (BLANK, {}, "None False"),
        (BLANK, {"OMP_WAIT_POLICY": "passive"}, "None True"),
    ],
)
def test_idle_threads_give_way_if_we_come_first(before: str, asked: dict[str, str], expected: str) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    program = f"{before}\nimport segmentarium\n{SAY}"
    said = subprocess.run(
        [sys.executable, "-c", program], env={**kept, **asked}, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == expected
