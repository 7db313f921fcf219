"""Fetching weight files: resumed where it broke off, checked before it is used, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from segmentarium.errors import CannotWrite, WeightsMismatch

TIMEOUT_S = 30.0
MOST_BYTES = 4 * 2**30
_CHUNK = 1 << 20
_PARTIAL, _RANGE_BEYOND = 206, 416

Say = Callable[[str], None]


def cache_folder() -> Path:
    """Where fetched weights lie: ``$SEGMENTARIUM_CACHE``, or ``~/.cache/segmentarium``."""
    return Path(os.environ.get("SEGMENTARIUM_CACHE") or Path.home() / ".cache" / "segmentarium")


def fetch(url: str, path: Path, *, sha256: str, licence: str, say: Say | None = None) -> Path:
    """Fetch ``url`` to ``path`` unless it is there already.

    What a broken connection left is in ``path`` with ``.part`` behind, and is gone on with.

    Args:
        sha256: the digest that the file must have, or its first digits.
        licence: told before the first byte is fetched.
        say: gets a sentence before and after; standard error if not given.

    Raises:
        WeightsMismatch: no connection, no such file, too large a file, or one with another digest.
        CannotWrite: no permission or no space.
    """
    if path.is_file():
        return path
    say = say or _to_stderr
    if urlsplit(url).scheme not in ("http", "https"):
        raise WeightsMismatch(f"the address {url}", allowed="http:// or https://", cure="mend the card")
    part = path.with_name(path.name + ".part")
    say(f"fetching {url} (licence of the weights: {licence})")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, part)
        _require_digest(part, sha256, url)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (URLError, TimeoutError, ConnectionError) as error:
        raise WeightsMismatch(
            f"{url} cannot be fetched ({_reason(error)})",
            allowed=f"a connection, or the file at {path}",
            cure="try again: what has arrived is kept; or fetch it elsewhere and put it there",
        ) from error
    except OSError as error:
        raise CannotWrite(
            f"{path} cannot be written ({error.strerror or error})",
            cure="free some space, or name another folder in SEGMENTARIUM_CACHE",
        ) from error
    say(f"kept as {path}")
    return path


def _receive(url: str, part: Path) -> None:
    """Append to ``part`` what is missing of the file."""
    have = part.stat().st_size if part.is_file() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urlopen(request, timeout=TIMEOUT_S)  # the scheme was checked
    except HTTPError as error:
        if error.code == _RANGE_BEYOND:  # nothing is missing
            return
        raise
    with answer:
        resumed = answer.status == _PARTIAL
        length = int(answer.headers.get("Content-Length") or 0)
        if length > MOST_BYTES:
            raise WeightsMismatch(f"{url} is {length / 2**30:.1f} GiB", allowed="up to 4 GiB")
        received = have if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(_CHUNK):
                received += len(chunk)
                if received > MOST_BYTES:
                    raise WeightsMismatch(f"{url} does not end", allowed="up to 4 GiB")
                file.write(chunk)
        missing = (have if resumed else 0) + length - received
        if length and missing:
            raise ConnectionError(f"{missing} bytes did not arrive")


def _require_digest(part: Path, sha256: str, url: str) -> None:
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not sha256 or not digest.startswith(sha256.lower()):
        part.unlink()
        raise WeightsMismatch(
            f"{url} gave a file with the SHA-256 {digest[:12]}...",
            allowed=f"{sha256[:12] or 'a digest on the card'}",
            cure="it was changed or damaged on the way, and was deleted: try again",
        )


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split()) or type(error).__name__


def _to_stderr(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
