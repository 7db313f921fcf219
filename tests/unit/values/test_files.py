"""Files are there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from segmentarium.errors import CannotWrite
from segmentarium.values import (
    Classes,
    IndexPngWriter,
    LabelMap,
    atomic_json,
    atomic_text,
    atomic_write,
    ensure_folder,
    hash_file,
)

TROUBLES = [
    (errno.ENOSPC, "no space left"),
    (errno.EROFS, "read-only"),
    (errno.EACCES, "no permission"),
    (errno.EDQUOT, "quota"),
]


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "größe 1.bin"
    assert atomic_write(path, b"one") == path
    atomic_write(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert hash_file(path) == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


def test_text_and_json(tmp_path: Path) -> None:
    assert atomic_text(tmp_path / "a.txt", "Größe").read_bytes() == "Größe".encode()
    assert json.loads(atomic_json(tmp_path / "a.json", {"ä": [1, None]}).read_text("utf-8")) == {
        "ä": [1, None]
    }
    with pytest.raises(ValueError, match="JSON"):
        atomic_json(tmp_path / "a.json", float("nan"))


@pytest.mark.parametrize(("number", "said"), TROUBLES)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_trouble_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    path = atomic_write(tmp_path / "a.bin", b"old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(CannotWrite, match=said) as caught:
        atomic_write(path, b"new")
    assert str(path) in str(caught.value)
    assert caught.value.cure
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    with pytest.raises(CannotWrite, match=said):
        LabelMap(np.zeros((4, 4), np.int32), Classes.named("a")).save(tmp_path / "b.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        atomic_write(tmp_path / "a.bin", write)
    assert list(tmp_path.iterdir()) == []


def test_trouble_with_another_file_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "a.bin", lambda _: (tmp_path / "none").read_bytes())
    assert list(tmp_path.iterdir()) == []


def test_names_that_cannot_be_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name, said in (
        ("folder", "a folder already has the name"),
        ("none/a.bin", "no folder for"),
        ("file/a.bin", "a file stands where a folder is needed"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(CannotWrite, match=said):
            atomic_write(tmp_path / name, b"")
    for name in ("file", "file/deeper"):
        with pytest.raises(CannotWrite, match="a file stands"):
            ensure_folder(tmp_path / name)
    assert ensure_folder(tmp_path / "a/b/c").is_dir()
    assert ensure_folder(tmp_path / "a/b/c").is_dir()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = atomic_write(tmp_path / "target", b"old")
    (tmp_path / "link").symlink_to(target)
    atomic_write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new"


def test_an_unfinished_png_does_not_appear(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="1 of 2 rows"), IndexPngWriter(path, width=3, height=2) as png:
        png.write(np.zeros((1, 3), np.uint8))
    with pytest.raises(KeyboardInterrupt), IndexPngWriter(path, width=3, height=2):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_png_refuses_what_does_not_fit(tmp_path: Path) -> None:
    for rows, said in (
        (np.zeros((1, 4), np.uint8), "do not fit into the 2x3"),
        (np.zeros((3, 3), np.uint8), "do not fit"),
        (np.full((1, 3), 256, np.int32), "8 bits"),
        (np.full((1, 3), -1, np.int32), "8 bits"),
    ):
        with (
            pytest.raises(ValueError, match=said),
            IndexPngWriter(tmp_path / "a.png", width=3, height=2) as png,
        ):
            png.write(rows)
    with pytest.raises(ValueError, match="8 or 16"):
        IndexPngWriter(tmp_path / "a.png", width=3, height=2, bits=4)
