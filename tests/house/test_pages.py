"""Pages that are made from the code say what the code says today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["losses", "metrics"])
def test_the_page_is_the_one_made_from_the_code(name: str) -> None:
    spec = importlib.util.spec_from_file_location(f"make_{name}", DOCS / f"make_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert page == module.page(), f"run: python docs/make_{name}.py"
