"""How the threads of OpenMP, with which torch computes, wait for work.

By default they spin for about a millisecond after each operation and keep the cores busy with nothing: our
own compiled loops, the readers of data and NNPACK, which have threads of their own, then come late. To sleep
at once is no better, as to wake takes long beside the small operations of a training step. So they are asked
to spin for some ten microseconds; what each costs stands in the log.

OpenMP asks the environment once, when it is loaded, so this must be imported before torch is.
"""

from __future__ import annotations

import os
import sys

SPINS = "20000"

if sys.platform == "linux" and "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def _give_way() -> bool:
    policy, spins = os.environ.get("OMP_WAIT_POLICY", ""), os.environ.get("GOMP_SPINCOUNT", "")
    short = spins.isdecimal() and int(spins) <= int(SPINS)
    return policy.strip().upper() == "PASSIVE" or (sys.platform == "linux" and short)


GIVE_WAY = _give_way()
"""Whether idle threads leave the cores to others; not if torch came first, or the user wishes otherwise."""
