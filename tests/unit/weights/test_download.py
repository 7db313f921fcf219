"""Weights are fetched once, resumed where it broke off, and refused if they are not those promised."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from segmentarium.errors import WeightsMismatch
from segmentarium.weights.download import fetch

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves the content; the first answer breaks off in the middle if it is asked for ``/broken``."""

    asked: list[str]

    def do_GET(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.asked.append(self.headers.get("Range") or "")
        if self.path == "/missing":
            self.send_error(404)
            return
        part = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.path == "/broken" and not start:
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(part)

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    Handler.asked = []
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_address[1]}", Handler.asked
    served.shutdown()
    served.server_close()
    thread.join()


def test_is_fetched_once_and_the_licence_is_told(server: tuple[str, list[str]], tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "cache" / "w.safetensors"
    for _ in range(2):
        fetch(f"{server[0]}/whole", path, sha256=DIGEST[:8], licence="MIT", say=said.append)
    assert path.read_bytes() == CONTENT
    assert server[1] == [""]
    assert "MIT" in said[0]


def test_goes_on_where_it_broke_off(server: tuple[str, list[str]], tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsMismatch, match="try again"):
        fetch(f"{server[0]}/broken", path, sha256=DIGEST, licence="MIT", say=lambda _: None)
    assert not path.exists()
    have = (tmp_path / "w.safetensors.part").stat().st_size
    assert 0 < have < len(CONTENT)
    fetch(f"{server[0]}/broken", path, sha256=DIGEST, licence="MIT", say=lambda _: None)
    assert path.read_bytes() == CONTENT
    assert server[1][1] == f"bytes={have}-"


def test_another_file_is_refused_and_deleted(server: tuple[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match="SHA-256"):
        fetch(f"{server[0]}/whole", tmp_path / "w", sha256="0" * 64, licence="MIT", say=lambda _: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/none", "/missing"])
def test_no_connection_is_told_in_a_sentence(
    address: str, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url = address if address.startswith("http") else server[0] + address
    with pytest.raises(WeightsMismatch, match="cannot be fetched"):
        fetch(url, tmp_path / "w", sha256=DIGEST, licence="MIT", say=lambda _: None)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/w"])
def test_only_the_web_is_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match="https"):
        fetch(url, tmp_path / "w", sha256=DIGEST, licence="MIT", say=lambda _: None)
