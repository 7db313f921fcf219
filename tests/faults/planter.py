"""Plants one fault into a clean data set on disk, and says which files have it now."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Pil

from segmentarium.data import DataSet, Pair, open_data
from segmentarium.values.image import read_image
from segmentarium.values.mask import read_mask

VOID = 255


@dataclass
class Bed:
    """A clean set on disk, opened, with a seeded source of chance."""

    root: Path
    rng: np.random.Generator
    data: DataSet = field(init=False)

    def __post_init__(self) -> None:
        self.data = open_data(self.root)

    def some(self, count: int = 1, split: str = "train") -> list[Pair]:
        """A few pairs, chosen by the seed."""
        pairs = self.data.splits[split]
        return [pairs[i] for i in sorted(self.rng.choice(len(pairs), count, replace=False))]

    def every(self) -> list[Pair]:
        return [pair for pairs in self.data.splits.values() for pair in pairs]

    def where(self, wanted: Callable[[np.ndarray], bool], split: str = "train") -> list[Pair]:
        """One pair whose mask fulfils a condition."""
        pairs = [pair for pair in self.data.splits[split] if wanted(mask_of(pair))]
        return [pairs[int(self.rng.integers(len(pairs)))]]

    def names(self, paths: list[Path]) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in paths)

    def masks(self, pairs: list[Pair], change: Callable[[np.ndarray], np.ndarray]) -> list[str]:
        """Rewrite masks in place as PNG."""
        for pair in pairs:
            save(pair.mask, change(mask_of(pair)))
        return self.names([pair.mask for pair in pairs])

    def images(self, pairs: list[Pair], change: Callable[[np.ndarray], np.ndarray]) -> list[str]:
        """Rewrite images in place, in a format that holds the pixels."""
        return self.names([save(pair.image, change(read_image(pair.image).pixels)) for pair in pairs])

    def meta(self, change: Callable[[dict], None]) -> None:
        path = next(self.root / name for name in ("meta.json", "classes.json") if (self.root / name).exists())
        table = json.loads(path.read_text())
        change(table)
        path.write_text(json.dumps(table))


def mask_of(pair: Pair) -> np.ndarray:
    return np.asarray(read_mask(pair.mask).values)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels to ``path``; deep or many-channelled ones as TIFF beside it, instead of it."""
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    plain = pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[-1] in (3, 4))
    if plain or (pixels.dtype == np.uint16 and pixels.ndim == 2):
        kind = "TIFF" if path.suffix == ".tif" else "PNG"
        Pil.fromarray(np.ascontiguousarray(pixels)).save(path, kind)
        return path
    path.unlink()
    target = path.with_suffix(".tif")
    kind = "rgb" if pixels.ndim == 3 and pixels.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(
        target, pixels, photometric=kind, **({} if pixels.ndim == 2 else {"planarconfig": "contig"})
    )
    return target


def zero_255_everywhere(bed: Bed) -> list[str]:
    return bed.masks(bed.every(), lambda m: (m > 0).astype(np.uint8) * np.uint8(255))


def zero_255_in_one(bed: Bed) -> list[str]:
    return bed.masks(bed.where(lambda m: m.max() > 0), lambda m: (m > 0).astype(np.uint8) * np.uint8(255))


def ids_beyond(bed: Bed) -> list[str]:
    return bed.masks(bed.some(2), lambda m: _patch(bed, m, 77 if m.ndim == 2 else (9, 77, 200)))


def void_undeclared(bed: Bed) -> list[str]:
    return bed.masks(bed.where(lambda m: m.max() > 0), lambda m: _patch(bed, m, VOID))


def off_by_one_everywhere(bed: Bed) -> list[str]:
    top = max(bed.data.classes.ids)
    changed = bed.masks(bed.every(), _plus_one)
    return [f for f, pair in zip(changed, sorted(bed.every(), key=lambda p: str(p.mask)), strict=True)
            if top + 1 in mask_of(pair)]  # fmt: skip


def off_by_one_in_one(bed: Bed) -> list[str]:
    return bed.masks(bed.where(lambda m: max(bed.data.classes.ids) in m), _plus_one)


def interpolated(bed: Bed) -> list[str]:
    return bed.masks(bed.where(lambda m: m.ndim == 3 or m.max() > 1), _smooth)


def jpeg_named_png(bed: Bed) -> list[str]:
    return _jpeg(bed, ".png")


def jpeg_masks(bed: Bed) -> list[str]:
    return _jpeg(bed, ".jpg")


def mask_scaled(bed: Bed) -> list[str]:
    return bed.masks(bed.some(), lambda m: m[:-6, :-6])


def mask_transposed(bed: Bed) -> list[str]:
    return bed.masks(bed.some(), lambda m: np.swapaxes(m, 0, 1))


def shifted_in_one(bed: Bed) -> list[str]:
    return bed.masks(bed.where(_busy), lambda m: np.roll(m, (7, -9), (0, 1)))


def shifted_everywhere(bed: Bed) -> list[str]:
    return bed.masks(bed.every(), lambda m: np.roll(m, (5, 6), (0, 1)))


def mirrored(bed: Bed) -> list[str]:
    return bed.masks(bed.where(_busy), lambda m: m[:, ::-1])


def upside_down(bed: Bed) -> list[str]:
    return bed.masks(bed.where(_busy), lambda m: m[::-1])


def half_turned_everywhere(bed: Bed) -> list[str]:
    return bed.masks(bed.every(), lambda m: m[::-1, ::-1])


def mask_missing(bed: Bed) -> list[str]:
    pairs = bed.some(2)
    for pair in pairs:
        pair.mask.unlink()
    return bed.names([pair.image for pair in pairs])


def image_missing(bed: Bed) -> list[str]:
    pairs = bed.some()
    for pair in pairs:
        pair.image.unlink()
    return bed.names([pair.mask for pair in pairs])


def image_truncated(bed: Bed) -> list[str]:
    paths = [pair.image for pair in bed.some(2)]
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return bed.names(paths)


def mask_truncated(bed: Bed) -> list[str]:
    paths = [pair.mask for pair in bed.some()]
    for path in paths:
        path.write_bytes(path.read_bytes()[:-30])
    return bed.names(paths)


def file_empty(bed: Bed) -> list[str]:
    one, other = bed.some(2)
    one.image.write_bytes(b"")
    other.mask.write_bytes(b"")
    return bed.names([one.image, other.mask])


def file_is_text(bed: Bed) -> list[str]:
    paths = [pair.image for pair in bed.some()]
    for path in paths:
        path.write_text("<html>404</html>")
    return bed.names(paths)


def exif_quarter(bed: Bed) -> list[str]:
    return _tagged(bed, 6)


def exif_half(bed: Bed) -> list[str]:
    return _tagged(bed, 3)


def duplicate(bed: Bed) -> list[str]:
    return _near(bed, lambda pixels: pixels)


def duplicate_brighter(bed: Bed) -> list[str]:
    def brighter(pixels: np.ndarray) -> np.ndarray:
        top = np.iinfo(pixels.dtype).max
        return np.clip(pixels.astype(np.float64) * 1.15 + 0.03 * top, 0, top).astype(pixels.dtype)

    return _near(bed, brighter)


def duplicate_recompressed(bed: Bed) -> list[str]:
    def lossy(pixels: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Pil.fromarray(pixels.squeeze()).save(buffer, "JPEG", quality=60)
        return np.array(Pil.open(buffer)).reshape(pixels.shape)

    return _near(bed, lossy)


def duplicate_smaller(bed: Bed) -> list[str]:
    def smaller(pixels: np.ndarray) -> np.ndarray:
        picture = Pil.fromarray(pixels.squeeze())
        return np.array(picture.resize((picture.width * 9 // 10, picture.height * 9 // 10)))

    def nearest(mask: np.ndarray) -> np.ndarray:
        picture = Pil.fromarray(mask)
        size = (picture.width * 9 // 10, picture.height * 9 // 10)
        return np.array(picture.resize(size, Pil.Resampling.NEAREST))

    return _near(bed, smaller, nearest)


def class_absent(bed: Bed) -> list[str]:
    top = max(bed.data.classes.ids)
    bed.masks(list(bed.data.val), lambda m: np.where(m == top, 0, m).astype(m.dtype))
    return []


def class_unused(bed: Bed) -> list[str]:
    ids = bed.data.classes.ids
    bed.meta(lambda t: t["classes"].append({"id": max(ids) + 1, "name": "unicorn", "color": [250, 1, 250]}))
    return []


def ids_with_gaps(bed: Bed) -> list[str]:
    top = max(bed.data.classes.ids)

    def move(table: dict) -> None:
        table["classes"][-1]["id"] = top + 5

    bed.meta(move)
    bed.masks(bed.every(), lambda m: np.where(m == top, top + 5, m).astype(m.dtype))
    return []


def all_void(bed: Bed) -> list[str]:
    return bed.masks(bed.some(), lambda m: np.full_like(m, VOID))


def all_background(bed: Bed) -> list[str]:
    ground = np.array(bed.data.classes[0].color, np.uint8)
    return bed.masks(bed.some(), lambda m: np.zeros_like(m) + (0 if m.ndim == 2 else ground))


def channels_exchanged(bed: Bed) -> list[str]:
    return bed.images(bed.some(), lambda p: p[..., ::-1])


def eight_bits_in_sixteen(bed: Bed) -> list[str]:
    return bed.images(bed.some(), lambda p: p // 257)


def unit_range(bed: Bed) -> list[str]:
    return bed.images(bed.some(), lambda p: (p / 255).astype(np.float32))


def five_channels(bed: Bed) -> list[str]:
    return bed.images(bed.some(), lambda p: np.concatenate([p[..., :1]] * 5, axis=-1))


def one_grey(bed: Bed) -> list[str]:
    return bed.images(bed.some(), lambda p: p[..., 1:2])


def with_alpha(bed: Bed) -> list[str]:
    return bed.images(bed.some(), lambda p: np.concatenate([p, np.full_like(p[..., :1], 255)], axis=-1))


def colour_among_ids(bed: Bed) -> list[str]:
    palette = bed.data.classes.palette()
    return bed.masks(bed.where(lambda m: m.max() > 0), lambda m: palette[np.minimum(m, len(palette) - 1)])


def palette_sorted(bed: Bed) -> list[str]:
    """As tools do that sort a palette by frequency: positions are exchanged, colours stay right."""
    pair = bed.where(lambda m: m.max() > 0)[0]
    ids = list(bed.data.classes.ids)
    order = ids[1:] + ids[:1]
    position = np.zeros(256, np.uint8)
    position[order] = ids
    position[VOID] = VOID
    picture = Pil.fromarray(position[mask_of(pair)])
    palette = np.zeros((256, 3), np.uint8)
    palette[ids] = bed.data.classes.palette()[order]
    picture.putpalette(palette.tobytes())
    picture.save(pair.mask)
    return bed.names([pair.mask])


def numbers_overflow(bed: Bed) -> list[str]:
    """Three hundred small objects whose numbers wrap around in eight bits."""
    pair = bed.some()[0]
    height, width = read_image(pair.image).size
    numbers = np.zeros((height, width), np.uint16)
    rows, columns = np.arange(1, height - 4, 6), np.arange(1, width - 4, 6)
    for number, (y, x) in enumerate(((y, x) for y in rows for x in columns), 1):
        numbers[y : y + 4, x : x + 4] = number
    assert numbers.max() > 300
    save(pair.mask, (numbers % 256).astype(np.uint8))
    return bed.names([pair.mask])


def not_a_number(bed: Bed) -> list[str]:
    def holed(pixels: np.ndarray) -> np.ndarray:
        pixels = pixels.copy()
        pixels[5, 3] = np.nan
        return pixels

    return bed.images(bed.some(), holed)


def _busy(mask: np.ndarray) -> bool:
    """Enough edges to see a shift by."""
    flat = mask if mask.ndim == 2 else mask.astype(np.int64) @ np.array([1, 256, 65536])
    return bool((flat[1:] != flat[:-1]).sum() > 2 * flat.shape[1])


def _patch(bed: Bed, mask: np.ndarray, value: int | tuple[int, int, int]) -> np.ndarray:
    y, x = bed.rng.integers(0, mask.shape[0] - 20), bed.rng.integers(0, mask.shape[1] - 20)
    mask = mask.copy()
    mask[y : y + 18, x : x + 18] = value
    return mask


def _plus_one(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == VOID, mask, mask + 1).astype(mask.dtype)


def _smooth(mask: np.ndarray) -> np.ndarray:
    picture = Pil.fromarray(mask)
    small = picture.resize((picture.width // 2, picture.height // 2), Pil.Resampling.BILINEAR)
    return np.array(small.resize(picture.size, Pil.Resampling.BILINEAR))


def _jpeg(bed: Bed, suffix: str) -> list[str]:
    paths = []
    for pair in bed.some(2):
        mask = mask_of(pair)
        pair.mask.unlink()
        paths.append(pair.mask.with_suffix(suffix))
        Pil.fromarray(mask).save(paths[-1], "JPEG", quality=90)
    return bed.names(paths)


def _tagged(bed: Bed, orientation: int) -> list[str]:
    pair = bed.where(_busy)[0]
    picture = Pil.open(pair.image)
    picture.load()
    tags = Pil.Exif()
    tags[0x0112] = orientation
    picture.save(pair.image, exif=tags)
    return bed.names([pair.mask])


def _near(
    bed: Bed,
    change: Callable[[np.ndarray], np.ndarray],
    change_mask: Callable[[np.ndarray], np.ndarray] = lambda mask: mask,
) -> list[str]:
    target, source = bed.some()[0], bed.some(split="val")[0]
    shutil.copyfile(source.mask, target.mask)
    save(target.mask, change_mask(mask_of(source)))
    save(target.image, change(read_image(source.image).pixels))
    return bed.names([target.image])
