"""Images and masks of different size."""

from __future__ import annotations

from collections.abc import Iterator

from segmentarium.engine.faults.finding import Finding, Hit, Severity, group
from segmentarium.engine.faults.survey import Picture, Survey, Truth


def find(survey: Survey) -> Iterator[Finding]:
    """Sizes that differ, told apart by whether an EXIF orientation explains them."""
    exif: list[Hit] = []
    sizes: list[Hit] = []
    for sample in survey.samples:
        image, truth = sample.image, sample.truth
        if truth is None or image.trouble or truth.trouble or image.size == truth.size:
            continue
        explained = image.size == truth.size[::-1] and (image.orientation >= 5) != (truth.orientation >= 5)
        (exif if explained else sizes).append(Hit(truth.file, note=_sizes(image, truth)))
    yield from group(
        "exif-disagreement",
        Severity.ERROR,
        exif,
        what="image and mask carry different EXIF orientations: one of them is turned, the other is not",
        allowed="the same orientation for image and mask",
        cure="`seg check --fix` turns the pixels of both and drops the tag",
        fixable=True,
    )
    yield from group(
        "size-mismatch",
        Severity.ERROR,
        sizes,
        what="mask and image differ in size",
        allowed="equal width and height",
        cure="export the mask again at the size of the image, without interpolation",
    )


def _sizes(image: Picture, truth: Truth) -> str:
    turned = ", transposed" if image.size == truth.size[::-1] else ""
    return f"mask {truth.size[1]}x{truth.size[0]}, image {image.size[1]}x{image.size[0]}{turned}"
