"""A trained model by name, run folder or weight file, ready to label images of any size.

model = load("unet@nuclei")
result = model("cells.png")
for result in model.stream(paths): ...
"""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image as Pil
from PIL import ImageOps
from torch import nn

from segmentarium.data.normalise import Normalise
from segmentarium.engine.device import Device, choose_device
from segmentarium.engine.fitting import Result, fitted
from segmentarium.engine.memory import out_of_memory
from segmentarium.engine.tiled import Band, Eye, Source, Tiling, label_bands, see_whole
from segmentarium.errors import BadData, BadImage, BadRun, UnknownName, WeightsMismatch
from segmentarium.models import ModelName, architectures, build
from segmentarium.values.classes import Classes
from segmentarium.values.image import Image, read_image
from segmentarium.values.results import LabelMap
from segmentarium.weights.cards import cards, find
from segmentarium.weights.store import fit, load_weights

Picture: TypeAlias = str | Path | Image | Pil.Image | np.ndarray

SIDE_STEP = 32
"""The coarsest stride of common encoders: multiples of it need no resizing inside a network."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network with its weights, its classes and what it expects of images.

    Attributes:
        name: ``architecture-variant``, or ``architecture@weights``.
        network: in evaluation mode, on the device.
        tiling: how images are cut that are too large to be seen whole.
        device: where the network is, and why there.
        ignore_id: what void pixels are called in files.
        facts: what else the weight file says: data, licence, score, step.
        path: the weight file.
    """

    name: str
    network: nn.Module
    classes: Classes
    normalise: Normalise
    tiling: Tiling
    device: Device
    ignore_id: int = 255
    facts: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def eye(self) -> Eye:
        """The network with its normalisation, as the tiled prediction takes it."""
        return Eye(self.network, self.normalise, self.device.name)

    def __call__(
        self, image: Picture, *, probs: bool = False, tile: int | None = None, overlap: float | None = None
    ) -> LabelMap:
        """Label one image.

        Args:
            image: a path, a Pillow image, an array (h, w) or (h, w, c), or an ``Image``.
            probs: whether to keep the probabilities of all classes, too.
            tile: side of the tiles that whatever is larger is cut into; chosen by size if not given.
            overlap: share of a tile that its neighbour covers again.

        An image that does not fit into memory is labelled in smaller pieces, with a warning that says so.

        Raises:
            BadImage: it cannot be read, or does not have the network's channels.
            OutOfMemory: it does not fit in smaller pieces either.
        """
        picture = as_image(image)

        def look(tiling: Tiling) -> list[Band]:
            return list(label_bands(picture.pixels, self.eye, tiling, probs=probs))

        bands, told = self.fitted(look, tile=tile, overlap=overlap)
        if told:
            warnings.warn(told, stacklevel=2)
        return self._result(picture, bands)

    def fitted(
        self, work: Callable[[Tiling], Result], *, tile: int | None = None, overlap: float | None = None
    ) -> tuple[Result, str]:
        """``work`` by the model's tiling or, if need be, a smaller one; see :func:`fitting.fitted`."""
        what = f"the tiles of {self.name} on {self.device.name}"
        return fitted(work, self.cut(tile, overlap), what=what)

    def bands(
        self, source: Source, *, probs: bool = False, tile: int | None = None, overlap: float | None = None
    ) -> Iterator[Band]:
        """Label an image that may be larger than memory, band by band; arguments as for a call.

        Bands that were handed on cannot be taken back, so nothing is made smaller here.
        """
        return label_bands(source, self.eye, self.cut(tile, overlap), probs=probs)

    def cut(self, tile: int | None = None, overlap: float | None = None) -> Tiling:
        """The model's tiling with other tiles or another overlap; a tile that is asked for is always used.

        Raises:
            BadRecipe: a tile without pixels, or an overlap outside 0 to below 1.
        """
        tiling = self.tiling if tile is None else replace(self.tiling, tile=(tile, tile), always=True)
        return tiling if overlap is None else replace(tiling, overlap=overlap)

    def stream(self, images: Iterable[Picture], *, batch: int = 4, probs: bool = False) -> Iterator[LabelMap]:
        """Label images one after another, in order, as they are asked for.

        Reading runs ahead by ``batch`` images. Neighbours of equal size that are seen whole share a forward
        pass.

        Raises:
            BadImage: at the turn of an image that cannot be read.
            OutOfMemory: one does not fit, not alone and not in smaller pieces.
        """
        for group in _alike(_ahead(images, batch), batch):
            size = (group[0].size[0], group[0].size[1])
            seen = self._at_once(group, probs=probs) if self.tiling.whole(size) else None
            if seen is None:
                yield from (self(picture, probs=probs) for picture in group)
            else:
                yield from (self._result(picture, [band]) for picture, band in zip(group, seen, strict=True))

    def _at_once(self, group: Sequence[Image], *, probs: bool) -> list[Band] | None:
        """Equally large images in one forward pass; None if they do not fit into memory together."""
        try:
            return see_whole([picture.pixels for picture in group], self.eye, self.tiling, probs=probs)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        return None

    def _result(self, image: Image, bands: Sequence[Band]) -> LabelMap:
        shares = [band.probs for band in bands if band.probs is not None]
        return LabelMap(
            labels=np.concatenate([band.labels for band in bands]) if len(bands) > 1 else bands[0].labels,
            classes=self.classes,
            probs=np.concatenate(shares, axis=1) if shares else None,
            spacing_mm=image.spacing_mm,
            ignore_id=self.ignore_id,
        )


def load(name_or_path: str | Path, *, device: str = "auto") -> Model:
    """Load a trained model.

    Args:
        name_or_path: a published name (``unet@nuclei``), the folder of a training run (its best weights, or
            the
            last), or a ``.safetensors`` file of ours.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        UnknownName: no such name; the nearest is offered.
        BadRun: the folder holds no weights.
        WeightsMismatch: the file is damaged, foreign, or does not fit the network it names.
    """
    path, digest, name = locate(name_or_path)
    tensors, metadata = load_weights(path, sha256=digest)
    facts = _facts(metadata, path)
    place = choose_device(device)
    try:
        network = build(
            str(facts["model"]), classes=len(facts["classes"]), in_channels=int(facts["in_channels"])
        )
        classes, normalise = Classes.from_json(facts["classes"]), Normalise.from_json(facts["normalise"])
        tile = (int(facts["tile"][0]), int(facts["tile"][1]))
    except (BadData, UnknownName, KeyError, TypeError, ValueError, IndexError) as error:
        raise _foreign(path, f"its description is not understood ({error})") from error
    fit(network, tensors, where=str(path))
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last).to(place.name)
    return Model(
        name=name or str(facts["model"]),
        network=network,
        classes=classes,
        normalise=normalise,
        tiling=Tiling(tile=tile, batch=1 if place.kind == "cpu" else 8, step=SIDE_STEP),
        device=place,
        ignore_id=int(facts.get("ignore_id", 255)),
        facts={key: facts.get(key) for key in ("data", "licence", "score", "step", "task")},
        path=path,
    )


def locate(name_or_path: str | Path) -> tuple[Path, str, str]:
    """The weight file that is meant, the digest it must have, and its published name; empty if there is none.

    Raises:
        UnknownName: neither a name nor a path that exists.
        BadRun: a folder without weights.
    """
    path = Path(name_or_path)
    if path.is_dir():
        return _of_run(path), "", ""
    if path.is_file() or path.suffix == ".safetensors":
        return path, "", ""
    if len(path.parts) > 1 or path.suffix in (".pt", ".pth", ".toml"):
        raise BadRun(
            f"there is no file or folder {path}", allowed="a model's name, a run folder or a weight file"
        )
    return _published(str(name_or_path))


def _of_run(folder: Path) -> Path:
    for inner in (folder / "weights", folder):
        for name in ("best.safetensors", "last.safetensors"):
            if (inner / name).is_file():
                return inner / name
    raise BadRun(
        f"{folder} holds no weights",
        allowed="a run folder with weights/best.safetensors or weights/last.safetensors",
        cure=f"train one by `seg train DATA -o {folder}`, or give a model's name",
    )


def _published(name: str) -> tuple[Path, str, str]:
    known = [
        f"{architecture}@{weights}" for architecture, card in cards().items() for weights in card.weights
    ]
    architecture, _, weights = name.partition("@")
    if architecture.partition("-")[0] not in architectures():
        raise UnknownName.among("model", name, known, cure="`seg models` lists what there is")
    parts = ModelName.parse(name)
    if not weights:
        raise UnknownName(
            f"{name!r} is a network without weights",
            allowed=", ".join(known) or "a run folder or a .safetensors file",
            cure=f"train it by `seg train DATA --model {name}`",
        )
    card = find(parts.architecture, parts.weights)
    if parts.variant not in ("", card.variant):
        raise UnknownName.among("model", name, [f"{parts.architecture}@{parts.weights}"])
    return card.path, card.sha256, name


def _facts(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """What our trainer wrote into the head of the file."""
    if "segmentarium" not in metadata:
        raise _foreign(path, "it was not written by Segmentarium")
    try:
        facts = json.loads(metadata["segmentarium"])
    except json.JSONDecodeError as error:
        raise _foreign(path, f"its description is no JSON ({error})") from error
    if not isinstance(facts, dict):
        raise _foreign(path, "its description is no JSON object")
    return facts


def _foreign(path: Path, why: str) -> WeightsMismatch:
    return WeightsMismatch(
        f"{path} cannot be used: {why}",
        allowed="a .safetensors file of `seg train`, which names its network and classes",
        cure="give a run folder, or a name from `seg models`",
    )


def as_image(picture: Picture) -> Image:
    """Anything that shows an image, as an ``Image``.

    Raises:
        BadImage: a file that cannot be read, or an array of another shape or type.
    """
    if isinstance(picture, Image):
        return picture
    if isinstance(picture, str | Path):
        return read_image(picture)
    if isinstance(picture, Pil.Image):
        upright = ImageOps.exif_transpose(picture)
        plain = upright.mode in ("L", "RGB", "I;16")
        return as_image(np.array(upright if plain else upright.convert("RGB")))
    return Image(_checked(picture))


def _checked(pixels: np.ndarray) -> Shaped[np.ndarray, "h w c"]:
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise BadImage(
            f"an array of shape {pixels.shape}", allowed="(h, w) or (h, w, c)", cure="give one image"
        )
    if pixels.dtype == np.float64 or pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise BadImage(
            f"an array of {pixels.dtype}", allowed="uint8, uint16 or float", cure="convert it first"
        )
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _ahead(images: Iterable[Picture], count: int) -> Iterator[Image]:
    """The images in order, read by another thread up to ``count`` before they are asked for."""
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        waiting: deque[Future[Image]] = deque()
        try:
            for picture in images:
                waiting.append(reader.submit(as_image, picture))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _alike(images: Iterable[Image], batch: int) -> Iterator[list[Image]]:
    """Neighbours of equal size and type, up to ``batch`` of them.

    An error of the source is raised after the images before it were handed on.
    """
    group: list[Image] = []
    source = iter(images)
    while True:
        try:
            image = next(source, None)
        except BadImage:
            if group:
                yield group
            raise
        if group and (image is None or len(group) == batch or image.pixels.shape != group[0].pixels.shape):
            yield group
            group = []
        if image is None:
            return
        group.append(image)
