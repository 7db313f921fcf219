"""Settings of all tests: property tests are repeatable and may take their time on a loaded machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
