"""Which format a file is, by its first bytes: names lie, content does not."""

from __future__ import annotations

from pathlib import Path

from segmentarium.errors import BadImage

ALLOWED = "PNG, JPEG, TIFF, WebP or BMP"

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)

_REFUSED = (
    (b"GIF8", "a GIF"),
    (b"8BPS", "a Photoshop file"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"%PDF", "a PDF"),
    (b"\0\0\x01\0", "an icon"),
    (b"\0\0\0\x0cjP", "a JPEG 2000 file"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (b"P5", "a PGM file"),
    (b"P6", "a PPM file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML file"),
    (b"<!DOC", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer and not the picture itself"),
)


def sniff(path: Path) -> str:
    """The format of an image file: PNG, JPEG, TIFF, WEBP or BMP.

    Raises:
        BadImage: missing, a folder, no permission, empty, or of another format.
    """
    head = existing(path)
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    raise BadImage(f"{path} is {_foreign(head)}", allowed=ALLOWED, cure="convert it, for example to PNG")


def existing(path: Path) -> bytes:
    """The first bytes of a file that is there, may be read and is not empty.

    Raises:
        BadImage: it is not so.
    """
    try:
        if path.is_dir():
            raise BadImage(f"{path} is a folder", allowed="a file", cure="name a file in it")
        with path.open("rb") as file:
            head = file.read(32)
    except FileNotFoundError as error:
        raise BadImage(f"there is no file {path}", cure="check the name and the folder") from error
    except PermissionError as error:
        raise BadImage(f"no permission to read {path}", cure="change its permissions") from error
    except (OSError, ValueError) as error:
        came = f"{str(path)!r} cannot be opened ({error})"
        raise BadImage(came, cure="check the name and the disk") from error
    if not head:
        raise BadImage(f"{path} is empty (0 bytes)", allowed=ALLOWED, cure="copy the file again or remove it")
    return head


def _foreign(head: bytes) -> str:
    for start, name in _REFUSED:
        if head.startswith(start):
            return name
    return "a HEIF, AVIF or video file" if head[4:8] == b"ftyp" else "no image (its first bytes are unknown)"
