"""Pull the plug: training killed at random moments ends with the bits of training that nobody disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "pull_the_plug.py"


@pytest.mark.slow
def test_killed_and_resumed_runs_end_with_the_same_bits() -> None:
    command = [sys.executable, str(SCRIPT), "--kills", "4", "--steps", "24", "--threads", "2", "--seed", "3"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "2"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["different"] == []
    assert report["kills"] == 4
