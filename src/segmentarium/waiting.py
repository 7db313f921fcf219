"""How the threads of OpenMP, with which torch computes, wait for work.

By default they spin for a while after each operation and keep the cores busy with nothing: our own compiled
loops, the readers of data and NNPACK, which have threads of their own, then come late. OpenMP asks the
environment once, when it is loaded, so this must be imported before torch is.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "OMP_WAIT_POLICY"

if "torch" not in sys.modules:
    os.environ.setdefault(VARIABLE, "PASSIVE")

GIVE_WAY = os.environ.get(VARIABLE, "").strip().upper() == "PASSIVE"
"""Whether idle threads leave the cores to others; not if torch came first, or the user wishes otherwise."""
