"""The listing beside results: which files of a folder are ours, so that nothing of others is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from segmentarium.errors import CannotWrite
from segmentarium.values.files import atomic_json


class Listing:
    """A JSON file of what was done: written before the work, to find out a missing permission, and after.

    Args:
        path: of the file, in the folder that holds the results; the folder is there.
        head: what is true of all rows.
        files: names relative to the folder that are to be written.
        rows: what the list of rows is called.
    """

    def __init__(self, path: Path, *, head: Mapping[str, Any], files: Sequence[Path], rows: str) -> None:
        self._path, self._rows = path, rows
        own = {file.relative_to(path.parent).as_posix() for file in files}
        self._head = {**head, "files": sorted(own | listed(path))}
        self.write([])

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the file by one with these rows."""
        atomic_json(self._path, {**self._head, self._rows: list(rows)})


def listed(path: Path) -> set[str]:
    """The files that earlier work wrote into a folder, by the listing at ``path``."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return set(json.loads(path.read_text(encoding="utf-8"))["files"])
    return set()


def refuse_loss(
    files: Sequence[Path], sources: Sequence[Path], listing: Path, *, what: str, overwrite: bool
) -> None:
    """Sources are never written over; other files only if ``listing`` has them or that is asked for.

    Raises:
        CannotWrite: names the file; ``what`` says what would have written it, such as "prediction".
    """
    originals, ours, out = {source.resolve() for source in sources}, listed(listing), listing.parent
    for file in files:
        if file.resolve() in originals:
            raise CannotWrite(
                f"the mask of an image would replace the image {file}", cure="choose another folder"
            )
        if not overwrite and file.exists() and file.relative_to(out).as_posix() not in ours:
            raise CannotWrite(
                f"{file} is there already, and no {what} wrote it",
                allowed=f"a new folder, or one that holds {what}s",
                cure="choose another folder",
            )
