"""Atomic writing: a file is there whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from segmentarium.errors import CannotWrite

_NO_PERMISSION = ("no permission to write", "choose another folder or change its permissions")
_NO_SPACE = ("no space left to write", "free some space or choose another disk")
_IN_THE_WAY = ("a file stands where a folder is needed:", "choose another folder")
_SAYINGS = {
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: ("the disk is read-only, so nothing can be written to", "choose a folder on another disk"),
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: ("your disk quota does not allow to write", "free some space or choose another disk"),
    errno.EFBIG: ("the disk does not take so large a file as", "choose another disk"),
    errno.EISDIR: ("a folder already has the name", "choose another name for the file"),
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOENT: ("there is no folder for", "create the folder first"),
    errno.ENAMETOOLONG: ("the name is too long:", "choose a shorter one"),
}


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """The sentence for an operating-system error met while writing ``path``."""
    unknown = (f"the system says {error.strerror or error!s} about", "try another folder")
    came, cure = _SAYINGS.get(error.errno or 0, unknown)
    return CannotWrite(f"{came} {path}", cure=cure)


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a hidden neighbour of ``path`` for writing; it takes its place when the block ends well.

    When the block raises, the neighbour is removed and ``path`` is what it was before. A link stays a link,
    and its target is replaced.

    Raises:
        CannotWrite: no permission, no space, no folder, or a folder of that name.
    """
    target = Path(os.path.realpath(path))
    neighbour = target.with_name(f".{target.name[:60]}.{uuid4().hex[:12]}.part")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with neighbour.open("xb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(neighbour, target)  # noqa: PTH105 - beside os.fsync, so that both can be made to fail in tests
        _sync_folder(target.parent)
    except OSError as error:
        if error.filename not in (None, str(path), str(neighbour), str(target)):
            raise  # the block failed at some other file
        raise cannot_write(Path(path), error) from error
    finally:
        with suppress(OSError):
            neighbour.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Let the new name itself survive a power cut; where this is refused the file is there all the same."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def atomic_write(path: str | Path, data: bytes | Callable[[BinaryIO], object]) -> Path:
    """Write ``data``, bytes or a function that writes into the open file, so that no half file can remain.

    Raises:
        CannotWrite: no permission, no space, no folder, or a folder of that name; ``path`` is untouched then.
    """
    with atomic_file(path) as file:
        if callable(data):
            data(file)
        else:
            file.write(data)
    return Path(path)


def atomic_text(path: str | Path, text: str) -> Path:
    """Write text as UTF-8; raises as :func:`atomic_write`."""
    return atomic_write(path, text.encode())


def atomic_json(path: str | Path, value: Any, *, indent: int | None = 1) -> Path:
    """Write ``value`` as JSON; raises as :func:`atomic_write`.

    NaN is refused with ``ValueError``: other readers choke on it.
    """
    return atomic_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def ensure_folder(path: str | Path) -> Path:
    """Make a folder and its parents unless it is there.

    Raises:
        CannotWrite: no permission, or a file stands in the way.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def hash_file(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
