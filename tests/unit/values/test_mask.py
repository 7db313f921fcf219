"""Masks come in as numbers: indices of a palette, all sixteen bits, single bits as 0 and 1."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pil

from segmentarium.errors import BadMask
from segmentarium.values import read_mask

LABELS = np.array([[0, 1, 2], [3, 255, 7]], np.uint8)


def test_palette_gives_indices(tmp_path: Path) -> None:
    picture = Pil.frombytes("P", (3, 2), LABELS.tobytes())
    picture.putpalette(np.random.default_rng(0).permutation(768).astype(np.uint8).tobytes())
    for ending in ("png", "tif", "bmp"):
        path = tmp_path / f"m.{ending}"
        picture.save(path)
        mask = read_mask(path)
        assert (mask.values == LABELS).all()
        assert (mask.mode, mask.is_color, mask.size) == ("P", False, (2, 3))
        assert mask.palette is not None
        assert mask.palette[7].tolist() == picture.getpalette()[21:24]


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    wide = LABELS.astype(np.uint16) * 257
    Pil.fromarray(wide).save(tmp_path / "m.png")
    tifffile.imwrite(tmp_path / "m.tif", wide)
    for ending in ("png", "tif"):
        assert (read_mask(tmp_path / f"m.{ending}").values == wide).all()


def test_single_bits_are_zero_and_one(tmp_path: Path) -> None:
    Pil.fromarray(LABELS > 1).save(tmp_path / "m.png")
    Pil.fromarray(LABELS > 1).save(tmp_path / "m.tif")
    for ending in ("png", "tif"):
        mask = read_mask(tmp_path / f"m.{ending}")
        assert mask.mode == "1"
        assert (mask.values == (LABELS > 1)).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_not_spread(tmp_path: Path, bits: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = {2: 0b00011011, 4: 0x01}[bits]
    width = 8 // bits
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes([0, row]))) + chunk(b"IEND", b"")
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)
    assert read_mask(tmp_path / "m.png").values.tolist() == [list(range(width))]


def test_colours_wait_for_a_legend(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    Pil.fromarray(colors).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert mask.is_color
    assert mask.size == (2, 3)
    assert (mask.values == colors).all()
    Pil.fromarray(np.dstack([colors, LABELS])).save(tmp_path / "a.png")
    clear = read_mask(tmp_path / "a.png")
    assert (clear.values == colors).all()
    assert clear.notes == ("alpha dropped",)


def test_jpeg_is_read_and_named(tmp_path: Path) -> None:
    Pil.fromarray(LABELS).save(tmp_path / "m.jpg")
    assert read_mask(tmp_path / "m.jpg").format == "JPEG"


@pytest.mark.parametrize("turn", range(2, 9))
def test_turned_like_its_image(tmp_path: Path, turn: int) -> None:
    from segmentarium.values import read_image

    exif = Pil.Exif()
    exif[0x0112] = turn
    Pil.fromarray(LABELS).save(tmp_path / "m.png", exif=exif)
    mask = read_mask(tmp_path / "m.png")
    assert (mask.values == read_image(tmp_path / "m.png").pixels[..., 0]).all()
    assert mask.orientation == turn
    assert mask.notes == (f"turned upright (EXIF orientation {turn})",)


def test_other_numbers(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    for dtype in (np.int32, np.uint32, np.int16, np.float32, np.int64):
        tifffile.imwrite(path, LABELS.astype(dtype))
        mask = read_mask(path)
        assert mask.values.dtype == np.int32
        assert (mask.values == LABELS).all()
    for strange in (0.5, np.nan):
        tifffile.imwrite(path, np.array([[0, strange]], np.float32))
        with pytest.raises(BadMask, match="among float32 numbers; allowed: whole numbers"):
            read_mask(path)


def test_pages_are_slices(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 9, (5, 7, 6), np.uint8)
    tifffile.imwrite(tmp_path / "m.tif", volume, photometric="minisblack", metadata={"axes": "ZYX"})
    assert (read_mask(tmp_path / "m.tif").values == volume).all()


def test_many_channels_are_no_mask(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "m.tif", np.zeros((9, 9, 5), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(BadMask, match="5 channels"):
        read_mask(tmp_path / "m.tif")


def test_what_cannot_be_read_is_a_bad_mask(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    for name, said in (("empty.png", "empty"), ("none.png", "no file"), ("", "folder")):
        with pytest.raises(BadMask, match=said):
            read_mask(tmp_path / name)
    Pil.fromarray(LABELS).save(tmp_path / "m.png")
    with pytest.raises(BadMask, match="at most 5 pixels"):
        read_mask(tmp_path / "m.png", max_pixels=5)
