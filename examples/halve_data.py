"""A data set at half its size, for networks whose steps are too dear at the full one.

    python examples/halve_data.py ../shared/data/camvid ../shared/data/camvid_half

Each pixel of a halved picture is the mean of the 2 x 2 that it covers, as antialiasing wants. A mask keeps
every second pixel of every second row: a mean of class numbers would be another class, so no label arises
that was not there. Splits, folders and what describes the set (``meta.json``) stay as they are, and pictures
and masks become PNG. It is for sets of pictures with one mask file each. The folder comes into being whole,
or not at all, and one that is there is not touched.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from segmentarium.data import DataSet, Pair, open_data
from segmentarium.errors import BadData, SegError
from segmentarium.values import RawMask, read_image, read_mask

SAID = (
    "pictures: mean of 2 x 2 pixels; masks: every second pixel of every second row; image_size is from before"
)


def halve(source: Path, out: Path) -> int:
    """Write the set in ``source`` at half its size to ``out``; returns how many pictures it has.

    Raises:
        BadData: ``out`` is there already, or ``source`` is no set of 8-bit pictures with a mask file each.
    """
    if out.exists():
        raise BadData(
            f"{out} is there already", allowed="a folder that is not there yet", cure="name another one"
        )
    data = open_data(source)
    pairs = dict.fromkeys(pair for split in data.splits.values() for pair in split)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as held:
        begun = Path(held) / "set"
        for pair in pairs:
            _halve_pair(data, pair, begun)
        _describe(data.root, begun)
        begun.rename(out)
    return len(pairs)


def halved_picture(path: Path) -> Image.Image:
    """The picture in ``path`` by the mean of 2 x 2 pixels; an odd last row or column counts by itself."""
    pixels = read_image(path).pixels
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3):
        raise BadData(
            f"{path} holds {pixels.dtype} in {pixels.shape[2]} channels", allowed="8-bit grey or RGB"
        )
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).reduce(2)


def halved_mask(mask: RawMask) -> Image.Image:
    """Every second pixel of every second row, numbers and palette as they were."""
    values = mask.values[::2, ::2]
    if values.ndim != 2 + mask.is_color or values.max(initial=0) > np.iinfo(np.uint16).max:
        raise BadData(
            f"{mask.path} is a stack or has numbers above 65535", allowed="one page of class numbers"
        )
    if values.dtype != np.uint8:
        values = values.astype(np.uint16)
    picture = Image.fromarray(np.ascontiguousarray(values))
    if mask.palette is not None:
        picture.putpalette(mask.palette.tobytes())
    return picture


def _halve_pair(data: DataSet, pair: Pair, out: Path) -> None:
    if pair.mask is None or pair.segments is not None or pair.annotations is not None:
        raise BadData(
            f"{pair.image} has no mask of its own, or more than one",
            allowed="one mask file for each picture",
            cure="see `seg check`",
        )
    _save(halved_picture(pair.image), data.root, pair.image, out)
    _save(halved_mask(data.raw_mask(pair)), data.root, pair.mask, out)
    if pair.region is not None:
        _save(halved_mask(read_mask(pair.region)), data.root, pair.region, out)


def _save(picture: Image.Image, root: Path, path: Path, out: Path) -> None:
    """Write ``picture`` where ``path`` lies in its set, as PNG."""
    place = (out / path.relative_to(root)).with_suffix(".png")
    if place.exists():
        raise BadData(f"two files would become {place.relative_to(out)}", allowed="stems that differ")
    place.parent.mkdir(parents=True, exist_ok=True)
    picture.save(place)


def _describe(root: Path, out: Path) -> None:
    """Copy what lies beside the splits, and say in ``meta.json`` what was done."""
    for path in sorted(root.iterdir()):
        if path.is_file():
            shutil.copyfile(path, out / path.name)
    meta = out / "meta.json"
    told = json.loads(meta.read_text(encoding="utf-8")) if meta.is_file() else None
    if isinstance(told, dict):
        meta.write_text(json.dumps(told | {"halved": SAID}, indent=1, ensure_ascii=False), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="folder of a data set")
    parser.add_argument("out", type=Path, help="folder to make")
    args = parser.parse_args()
    try:
        print(f"{halve(args.source, args.out)} pictures at half size in {args.out}")
    except SegError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
