"""The command line: thin verbs, each one call to the engine function of the same name."""

from __future__ import annotations

from segmentarium.cli.app import main

__all__ = ["main"]
