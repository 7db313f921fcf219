"""Settings of all tests: property tests are repeatable and may take their time on a loaded machine."""

from __future__ import annotations

import os

import torch
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # each core has tests of its own
    torch.set_num_threads(1)

settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
