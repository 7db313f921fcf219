"""Images of every kind come in as they are; what cannot come in says so in one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pil

from segmentarium.errors import BadImage
from segmentarium.values import Image, as_image, open_rows, probe_image, read_image
from segmentarium.values.tiff import _deep_color

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
RGB = RNG.integers(0, 256, (5, 7, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name is neither ASCII nor free of spaces."""
    made = tmp_path / "größe mit Leerzeichen 図"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("ending", "options"), [("png", {}), ("tif", {}), ("bmp", {}), ("webp", {"lossless": True})]
)
def test_lossless_formats_keep_every_pixel(folder: Path, ending: str, options: dict[str, bool]) -> None:
    path = folder / f"bild.{ending}"
    Pil.fromarray(RGB).save(path, **options)
    image = read_image(path)
    assert (image.pixels == RGB).all()
    assert (image.size, image.channels, image.path, image.notes) == ((5, 7), 3, path, ())


def test_jpeg_is_close(folder: Path) -> None:
    path = folder / "bild.jpg"
    Pil.new("RGB", (7, 5), (200, 100, 50)).save(path, quality=95)
    assert np.abs(read_image(path).pixels.astype(int) - (200, 100, 50)).max() < 6


def test_content_counts_and_not_the_name(folder: Path) -> None:
    path = folder / "wrong.jpg"
    Pil.fromarray(GREY).save(path, format="PNG")
    assert probe_image(path).format == "PNG"
    assert (read_image(path).pixels[..., 0] == GREY).all()


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [("L", (5, 7), np.uint8), ("I;16", (5, 7), np.uint16), ("1", (5, 7), np.uint8), ("P", (5, 7), np.uint8),
     ("LA", (5, 7, 2), np.uint8), ("RGBA", (5, 7, 4), np.uint8), ("CMYK", (5, 7, 4), np.uint8)],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_every_mode_is_probed_as_it_is_read(
    folder: Path, ending: str, mode: str, shape: tuple[int, ...], dtype: type
) -> None:
    if mode == "CMYK" and ending == "png":
        pytest.skip("PNG has no CMYK")
    path = folder / f"bild.{ending}"
    values = RNG.integers(0, 2 if mode == "1" else 256, shape).astype(dtype)
    picture = Pil.fromarray(values) if mode != "1" else Pil.fromarray(values * 255).convert("1", dither=0)
    if mode in ("P", "CMYK"):
        picture = Pil.frombytes(mode, (7, 5), values.tobytes())
    if mode == "P":
        picture.putpalette(RNG.permutation(768).astype(np.uint8).tobytes())
    picture.save(path)
    image, facts = read_image(path), probe_image(path)
    assert (image.size, image.channels, image.pixels.dtype) == (facts.size, facts.channels, facts.dtype)
    said = {"1": "one-bit", "P": "palette", "LA": "alpha", "RGBA": "alpha", "CMYK": "CMYK"}
    assert said.get(mode, "") in " ".join(image.notes)
    expected = {"1": values[..., None] * 255, "L": values[..., None], "I;16": values[..., None]}
    if mode in expected:
        assert (image.pixels == expected[mode]).all()
    if mode in ("LA", "RGBA"):
        assert (image.pixels == values[..., :-1]).all()
    if mode == "P":
        assert (image.pixels == np.array(picture.convert("RGB"))).all()


def test_opaque_alpha_is_told_from_real_alpha(folder: Path) -> None:
    for opacity, said in ((255, "opaque alpha dropped"), (128, "100.0% of the pixels were not opaque")):
        path = folder / "bild.png"
        Pil.fromarray(np.dstack([RGB, np.full((5, 7), opacity, np.uint8)])).save(path)
        image = read_image(path)
        assert said in image.notes[0]
        assert (image.pixels == RGB).all()


def _png(values: np.ndarray, color: int, *, filters: int = 0) -> bytes:
    """A 16-bit PNG of any colour type, its rows filtered by hand (0 none, 1 left, 2 up)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    raw = values.astype(">u2").view(np.uint8).reshape(height, -1)
    before = np.zeros_like(raw)
    if filters == 1:
        before[:, 2 * channels :] = raw[:, : -2 * channels]
    if filters == 2:
        before[1:] = raw[:-1]
    lines = np.hstack([np.full((height, 1), filters, np.uint8), raw - before])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines.tobytes())) + chunk(b"IEND", b"")


@pytest.mark.parametrize("filters", [0, 1, 2])
@pytest.mark.parametrize(("channels", "color", "kept"), [(1, 0, 1), (3, 2, 3), (2, 4, 1), (4, 6, 3)])
def test_sixteen_bits_of_a_png_survive(
    folder: Path, channels: int, color: int, kept: int, filters: int
) -> None:
    values = RNG.integers(0, 65536, (6, 9, channels), np.uint16)
    path = folder / "deep.png"
    path.write_bytes(_png(values, color, filters=filters))
    assert (read_image(path).pixels == values[..., :kept]).all()
    assert (probe_image(path).channels, probe_image(path).dtype) == (kept, np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("channels", [2, 5, 7])
def test_tiff_with_many_channels(folder: Path, dtype: type, planar: bool, channels: int) -> None:
    values = (RNG.random((12, 10, channels)) * 200).astype(dtype)
    path = folder / "viele.tif"
    if planar:
        tifffile.imwrite(path, np.moveaxis(values, -1, 0), photometric="minisblack", planarconfig="separate")
    else:
        tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    image, facts = read_image(path), probe_image(path)
    assert image.pixels.dtype == dtype
    assert (image.pixels == values).all()
    assert (facts.size, facts.channels, facts.dtype) == ((12, 10), channels, dtype)


@pytest.mark.parametrize("shape", [(12, 10, 7), (7, 12, 10)])
def test_tiff_written_without_further_word(folder: Path, shape: tuple[int, ...]) -> None:
    values = RNG.integers(0, 65536, shape, np.uint16)
    path = folder / "plain.tif"
    tifffile.imwrite(path, values)
    image = read_image(path)
    assert (image.pixels == (values if shape[-1] == 7 else np.moveaxis(values, 0, -1))).all()
    assert "pages read as" in image.notes[0]
    assert probe_image(path).channels == 7


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_packed_tiff(folder: Path, compression: str, mode: str) -> None:
    values = RGB if mode == "RGB" else GREY.astype(np.uint16) * 7 if mode == "I;16" else GREY
    path = folder / "packed.tif"
    Pil.fromarray(values).save(path, compression=compression)
    assert (read_image(path).pixels == values.reshape(5, 7, -1)).all()


def test_deep_colour_of_a_packed_tiff(folder: Path) -> None:
    values = RNG.integers(0, 65536, (30, 40, 3), np.uint16)
    tifffile.imwrite(folder / "deep.tif", values, photometric="rgb", compression="zlib", predictor=True)
    assert (read_image(folder / "deep.tif").pixels == values).all()
    assert (
        _deep_color(folder / "deep.tif", "RGB") == values
    ).all()  # the way of packings tifffile cannot undo


def test_other_numbers_become_float_where_nothing_is_lost(folder: Path) -> None:
    path = folder / "n.tif"
    tifffile.imwrite(path, np.array([[-5, 7], [0, 30000]], np.int16))
    image = read_image(path)
    assert image.pixels.dtype == np.float32
    assert image.pixels[..., 0].tolist() == [[-5, 7], [0, 30000]]
    assert image.notes == ("int16 read as float32",)
    tifffile.imwrite(path, np.array([[0, 1 << 30]], np.uint32))
    with pytest.raises(BadImage, match=r"uint32 values 0..1073741824; allowed: .* scale them"):
        read_image(path)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_the_first_strange_number_is_named(folder: Path, strange: float) -> None:
    values = np.zeros((4, 6, 5), np.float32)
    values[2, 3, 1] = values[3, 0, 0] = strange
    path = folder / "nan.tif"
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    with pytest.raises(BadImage, match=r"row 2, column 3, channel 1 \(2 such values"):
        read_image(path)
    with pytest.raises(BadImage, match=r"rows 2\.\.4"):
        open_rows(path)[2:4]


def _bytes(picture: Pil.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_damaged_files_are_told_in_a_sentence(folder: Path, kind: str) -> None:
    noise = Pil.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8))
    whole = _bytes(noise, kind)
    path = folder / "damaged"
    for length in (9, 40, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:length])
        with pytest.raises(BadImage, match=r"damaged or cut-off|unknown") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)
        assert caught.value.cure


def test_one_flipped_bit_of_a_png_is_seen(folder: Path) -> None:
    whole = bytearray(_bytes(Pil.fromarray(RGB), "PNG", compress_level=0))
    whole[whole.index(b"IDAT") + 40] ^= 1
    (folder / "bit.png").write_bytes(whole)
    with pytest.raises(BadImage, match="checksum"):
        read_image(folder / "bit.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "empty"), (b"GIF89a" + bytes(30), "a GIF"), (b"8BPS" + bytes(30), "Photoshop"),
     (b"%!PS-Adobe-3.0 EPSF", "PostScript"), (b"hello", "no image"), (b"\0" * 500, "no image"),
     (b"version https://git-lfs.github.com/spec/v1", "Git LFS")],
)  # fmt: skip
def test_foreign_files_are_refused(folder: Path, content: bytes, said: str) -> None:
    path = folder / "x.png"
    path.write_bytes(content)
    for door in (read_image, probe_image, open_rows):
        with pytest.raises(BadImage, match=said):
            door(path)


def test_missing_folder_and_forbidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadImage, match="no file"):
        read_image(folder / "none.png")
    with pytest.raises(BadImage, match="is a folder"):
        read_image(folder)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadImage, match="no permission to read"):
        read_image(folder / "secret.png")


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_the_cap_looks_at_the_head_only(folder: Path, side: int) -> None:
    path = folder / "bomb.png"
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 99) + b"IDAT")
    with pytest.raises(BadImage, match=f"{side}x{side} pixels; allowed: at most 178,956,970"):
        read_image(path)


def test_pillows_own_limit_is_neither_used_nor_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pil, "MAX_IMAGE_PIXELS", 10)
    for ending in ("png", "tif", "bmp"):
        path = folder / f"a.{ending}"
        Pil.fromarray(RGB).save(path)
        assert (read_image(path).pixels == RGB).all()
    with pytest.raises(BadImage, match="at most 34 pixels"):
        read_image(path, max_pixels=34)
    assert Pil.MAX_IMAGE_PIXELS == 10


def _oriented(folder: Path, kind: str, turn: int, picture: Pil.Image, **options: object) -> Path:
    path = folder / f"turned.{kind}"
    exif = Pil.Exif()
    exif[0x0112] = turn
    if kind == "tif":
        options["tiffinfo"] = {0x0112: turn}
    else:
        options["exif"] = exif
    picture.save(path, **options)
    return path


UPRIGHT = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif", "webp", "tif packed", "tif palette"])
def test_orientation_is_applied_once(folder: Path, kind: str, turn: int) -> None:
    options: dict[str, object] = {"lossless": True} if kind == "webp" else {}
    if kind == "tif packed":
        options["compression"] = "tiff_lzw"
    picture = Pil.fromarray(RGB)
    if kind == "tif palette":
        picture = picture.quantize(8)
    path = _oriented(folder, kind.split()[0], turn, picture, **options)
    image = read_image(path)
    expected = UPRIGHT[turn](np.array(picture.convert("RGB")))
    assert (image.pixels == expected).all()
    assert image.size == probe_image(path).size == expected.shape[:2]
    assert any(f"orientation {turn}" in note for note in image.notes) == (turn != 1)
    assert open_rows(path)[0:2].shape[0] == 2
    assert (open_rows(path)[0:99] == expected).all()


def test_jpeg_orientation(folder: Path) -> None:
    left_red = np.zeros((16, 32, 3), np.uint8)
    left_red[:, :16, 0] = 255
    path = _oriented(folder, "jpg", 6, Pil.fromarray(left_red))
    pixels = read_image(path).pixels
    assert pixels.shape == (32, 16, 3)
    assert pixels[:12, :, 0].min() > 200  # what was left is on top
    assert pixels[20:, :, 0].max() < 60


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_rows_of_a_plain_tiff_are_read_alone(folder: Path, dtype: type) -> None:
    values = (RNG.random((40, 9, 3)) * 99).astype(dtype)
    for order in "<>":
        tifffile.imwrite(folder / "rows.tif", values, photometric="rgb", byteorder=order)
        rows = open_rows(folder / "rows.tif")
        assert rows.mapped
        assert (rows.shape, rows.dtype, len(rows)) == ((40, 9, 3), dtype, 40)
        for some in (slice(10, 20), slice(38, 99), slice(3, 20, 4), slice(5, 5)):
            assert (rows[some] == values[some]).all()
            assert rows[some].dtype == dtype


def test_a_file_that_shrinks_while_it_is_read_is_told(folder: Path) -> None:
    np.save(folder / "a.npy", RGB)
    rows = open_rows(folder / "a.npy")
    (folder / "a.npy").write_bytes((folder / "a.npy").read_bytes()[:-1])
    assert (rows[0:2] == RGB[0:2]).all()
    with pytest.raises(BadImage, match="cut off"):
        rows[0 : len(RGB)]


def test_rows_of_other_files(folder: Path) -> None:
    Pil.fromarray(RGB).save(folder / "a.png")
    rows = open_rows(folder / "a.png")
    assert not rows.mapped
    assert (rows[1:3] == RGB[1:3]).all()
    np.save(folder / "a.npy", RGB)
    assert open_rows(folder / "a.npy").mapped
    assert (open_rows(folder / "a.npy")[0:5] == RGB).all()
    np.save(folder / "f.npy", np.asfortranarray(RGB))
    assert (open_rows(folder / "f.npy")[1:3] == RGB[1:3]).all()
    np.save(folder / "b.npy", RGB.astype(np.int64))
    with pytest.raises(BadImage, match="int64"):
        open_rows(folder / "b.npy")
    (folder / "c.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(BadImage, match="damaged"):
        open_rows(folder / "c.npy")


def test_one_pixel(folder: Path) -> None:
    Pil.new("L", (1, 1), 9).save(folder / "a.png")
    assert read_image(folder / "a.png").pixels.tolist() == [[[9]]]


def test_what_people_hand_in(folder: Path) -> None:
    Pil.fromarray(RGB).save(folder / "a.png")
    image = read_image(folder / "a.png")
    assert as_image(image) is image
    for given in (folder / "a.png", str(folder / "a.png"), RGB, Pil.fromarray(RGB)):
        assert (as_image(given).pixels == RGB).all()
    assert as_image(GREY).channels == 1
    assert as_image(GREY > 9).pixels.max() == 255
    assert (as_image(Pil.fromarray(RGB).quantize(4)).pixels.shape) == (5, 7, 3)
    turned = _oriented(folder, "png", 6, Pil.fromarray(RGB))
    with Pil.open(turned) as opened:
        assert (as_image(opened).pixels == read_image(turned).pixels).all()
    with pytest.raises(BadImage, match=r"shape \(2, 3, 4, 5\)"):
        as_image(np.zeros((2, 3, 4, 5), np.uint8))


def test_volumes_are_images_too() -> None:
    volume = Image(np.zeros((3, 4, 5, 1), np.float32), spacing_mm=(2.0, 1.0, 1.0))
    assert (volume.size, volume.channels) == ((3, 4, 5), 1)
