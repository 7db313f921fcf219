"""Pages that are made from the code say what the code says today."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from segmentarium.engine.methods import methods
from segmentarium.models import architectures
from segmentarium.weights.cards import read_card

DOCS = Path(__file__).parents[2] / "docs"


def made_by(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"make_{name}", DOCS / f"make_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["classical", "losses", "metrics"])
def test_the_page_is_the_one_made_from_the_code(name: str) -> None:
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert page == made_by(name).page(), f"run: python docs/make_{name}.py"


@pytest.fixture(scope="module")
def models() -> ModuleType:
    return made_by("models")


@pytest.mark.parametrize("name", [*architectures(), "README"])
def test_the_page_of_each_paper_is_the_one_made_from_code_and_card(name: str, models: ModuleType) -> None:
    text = (DOCS / "models" / f"{name}.md").read_text(encoding="utf-8")
    assert text == models.pages()[name], "run: python docs/make_models.py"


@pytest.mark.parametrize("name", architectures())
def test_every_paper_of_a_fixed_course_has_a_figure(name: str) -> None:
    drawn = (DOCS / "models" / "figures" / f"{name}.svg").is_file()
    assert drawn == (read_card(name).output in ("semantic", "queries"))


def test_every_classical_method_has_its_pictures() -> None:
    told = made_by("classical").told()
    missing = {name for names in methods().values() for name in names} - {"dense_crf"} - set(told)
    assert not missing
    for name, examples in told.items():
        assert set(examples) == {"good", "bad"}
        assert all((DOCS / "classical" / f"{name}_{kind}.jpg").is_file() for kind in examples)
