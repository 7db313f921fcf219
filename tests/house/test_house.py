"""Rung 0: is it still this house? Ratchets that a reader feels: lengths, heads, names, bans."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "segmentarium"
FILES = sorted(SOURCE.rglob("*.py"))

FILE_LINES, FUNCTION_LINES, MEDIAN_LINES = 400, 60, 14
BANNED_NAMES = {"utils", "misc", "helpers", "common", "base"}


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code without the docstring: prose must not be punished."""
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        whole -= (first.end_lineno or first.lineno) - first.lineno + 1
    return whole


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_file_is_short_and_has_a_head(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= FILE_LINES, f"{lines} lines: does it still have one subject?"
    head = ast.get_docstring(ast.parse(text))
    assert len(head or "") > 20, "a module says what lives in it"
    assert path.stem not in BANNED_NAMES, "a name that says nothing"


def test_functions_are_small() -> None:
    sizes = {
        f"{path.relative_to(SOURCE)}:{node.name}": length(node) for path in FILES for node in functions(path)
    }
    too_long = {name: size for name, size in sizes.items() if size > FUNCTION_LINES}
    assert not too_long
    assert statistics.median(sizes.values()) <= MEDIAN_LINES


def test_public_functions_and_classes_are_documented() -> None:
    silent = []
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(SOURCE)}:{node.name}")
    assert not silent


def test_nothing_unsafe_is_called() -> None:
    banned = re.compile(
        r"pickle\.loads?\(|yaml\.load\(|extractall\(|unpack_archive\(|(?<![\w.])eval\(|weights_only\s*=\s*False"
    )
    found = [
        str(path.relative_to(SOURCE)) for path in FILES if banned.search(path.read_text(encoding="utf-8"))
    ]
    assert not found
    loads = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "torch.load(" in line and "weights_only=True" not in line
    ]
    assert not loads


@pytest.mark.parametrize("statement", ["import segmentarium", "import segmentarium.cli"])
def test_the_face_and_the_door_load_no_torch(statement: str) -> None:
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_face_lists_its_names_in_order() -> None:
    import segmentarium

    assert list(segmentarium.__all__) == sorted(segmentarium.__all__)
    for name in segmentarium.__all__:
        assert getattr(segmentarium, name) is not None


def test_no_machine_path_or_registry_address_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    foreign = re.compile(r"/(?:work|root|opt/pypi|opt/wheels)/|pypi\.org|files\.pythonhosted")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        text = path.suffix in {".py", ".md", ".toml", ".txt", ".sh", ".json", ".cfg", ""} and path.is_file()
        if (
            text
            and path != Path(__file__)
            and foreign.search(path.read_text(encoding="utf-8", errors="ignore"))
        ):
            found.append(name)
    assert not found
