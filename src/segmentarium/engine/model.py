"""A trained network of pictures, ready to label them, or to find objects in them."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Shaped
from PIL import Image as Pil
from PIL import ImageOps
from torch import nn

from segmentarium.data.normalise import Normalise
from segmentarium.engine.device import Device
from segmentarium.engine.fitting import Result, fitted
from segmentarium.engine.memory import out_of_memory
from segmentarium.engine.networks import show_levels
from segmentarium.engine.objects import find as find_objects
from segmentarium.engine.tiled import Band, Eye, Source, Tiling, label_bands, see_whole
from segmentarium.errors import BadArgument, BadImage
from segmentarium.values.classes import Classes
from segmentarium.values.image import Image, read_image
from segmentarium.values.instances import Instances
from segmentarium.values.panoptic import Panoptic
from segmentarium.values.results import LabelMap

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
        task: ``semantic``, ``instance`` or ``panoptic``: which result a call gives.
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
    task: str = "semantic"
    ignore_id: int = 255
    facts: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        show_levels(self.network, self.normalise)

    @property
    def eye(self) -> Eye:
        """The network with its normalisation, as the tiled prediction takes it."""
        return Eye(self.network, self.normalise, self.device.name)

    def __call__(
        self, image: Picture, *, probs: bool = False, tile: int | None = None, overlap: float | None = None
    ) -> LabelMap | Instances | Panoptic:
        """Label one image, find its objects, or divide it into segments.

        Args:
            image: a path, a Pillow image, an array (h, w) or (h, w, c), or an ``Image``.
            probs: whether to keep the probabilities of all classes, too.
            tile: side of the tiles that whatever is larger is cut into; chosen by size if not given.
            overlap: share of a tile that its neighbour covers again.

        An image that does not fit into memory is labelled in smaller pieces, with a warning that says so.
        Objects and segments are looked for in the whole image at once; one that is too large for that is seen
        at a smaller scale, with a warning, too.

        Raises:
            BadImage: it cannot be read, or does not have the network's channels.
            OutOfMemory: it does not fit in smaller pieces either.
        BadArgument: tiles or probabilities are asked of a model that finds objects or segments.
        """
        picture = as_image(image)
        if self.task != "semantic":
            self._refuse(probs=probs or None, tile=tile, overlap=overlap)
            found, told = self.find(picture)
            if told:
                warnings.warn(told, stacklevel=2)
            return found

        def look(tiling: Tiling) -> list[Band]:
            return list(label_bands(picture.pixels, self.eye, tiling, probs=probs))

        bands, told = self.fitted(look, tile=tile, overlap=overlap)
        if told:
            warnings.warn(told, stacklevel=2)
        return self._result(picture, bands)

    def find(self, image: Picture) -> tuple[Instances | Panoptic, str]:
        """The objects or segments of an image, and a sentence on what was made smaller; empty if nothing."""
        return find_objects(as_image(image).pixels, self.eye, task=self.task, classes=self.classes)

    def _refuse(self, **asked: object) -> None:
        """Objects know neither tiles nor probabilities of pixels; raises ``BadArgument`` if asked."""
        told = [name for name, value in asked.items() if value is not None]
        if told:
            raise BadArgument(
                f"{' and '.join(told)} asked of {self.name}, which finds {self.task} segments",
                allowed="an image alone",
                cure="leave that out, or take a model that names every pixel",
            )

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
        if self.task != "semantic":
            self._refuse(bands=True)
        return label_bands(source, self.eye, self.cut(tile, overlap), probs=probs)

    def cut(self, tile: int | None = None, overlap: float | None = None) -> Tiling:
        """The model's tiling with other tiles or another overlap; a tile that is asked for is always used.

        Raises:
            BadRecipe: a tile without pixels, or an overlap outside 0 to below 1.
        """
        tiling = self.tiling if tile is None else replace(self.tiling, tile=(tile, tile), always=True)
        return tiling if overlap is None else replace(tiling, overlap=overlap)

    def stream(
        self, images: Iterable[Picture], *, batch: int = 4, probs: bool = False
    ) -> Iterator[LabelMap | Instances | Panoptic]:
        """Label images one after another, in order, as they are asked for.

        Reading runs ahead by ``batch`` images. Neighbours of equal size that are seen whole share a forward
        pass.

        Raises:
            BadImage: at the turn of an image that cannot be read.
            OutOfMemory: one does not fit, not alone and not in smaller pieces.
        """
        if self.task != "semantic":
            yield from map(self, _ahead(images, batch))
            return
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
