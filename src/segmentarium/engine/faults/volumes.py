"""Volumes whose heads lie, whose labels lie elsewhere, or whose voxels are no numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from segmentarium.data.dataset import DataSet
from segmentarium.engine.faults.finding import WHOLE_FILE, Finding, Hit, Severity, group
from segmentarium.engine.faults.volume_facts import Progress, VolumeFile, VolumeSurvey, survey_volumes
from segmentarium.values.grid import Grid

LEAST_MM, MOST_MM = 0.005, 20.0
"""Voxels of scanners lie between: microscopes of tissue below a hundredth, scouts above ten."""
UNUSUAL = 5.0
"""A spacing so many times above or below the set's median along its axis is probably another unit."""
BETTER = 1.2
"""Labels whose border lies on edges so many times stronger when mirrored were probably mirrored."""
_SIDES = ("head to foot", "front to back", "left to right")

Family = Callable[[VolumeSurvey], Iterable[Finding]]


def examine_volumes(data: DataSet, progress: Progress | None = None) -> tuple[Finding, ...]:
    """Everything that is found in a data set of volumes, errors first."""
    seen = survey_volumes(data, progress)
    found = [finding for family in FAMILIES for finding in family(seen)]
    return tuple(sorted(found, key=lambda finding: finding.severity is not Severity.ERROR))


def find_files(survey: VolumeSurvey) -> Iterator[Finding]:
    """Damaged files, heads that cannot be true, a fourth axis, NaN, missing partners."""
    troubled = [file for file in survey.files() if file.trouble]
    yield from group(
        "undecodable",
        Severity.ERROR,
        [Hit(file.file, note=file.trouble) for file in troubled if not file.lies],
        what="cannot be read",
        allowed="whole .nii or .nii.gz files",
        cure="copy them again from the source",
    )
    yield from group(
        "untrue-head",
        Severity.ERROR,
        [Hit(file.file, note=file.trouble) for file in troubled if file.lies],
        what="the head cannot be true, so nobody knows where the voxels lie",
        allowed="a spacing above 0 and a finite affine along three directions, on three axes",
        cure="export again from the scanner's files, or write the true numbers into the head",
    )
    yield from _four_axes(survey)
    yield from group(
        "nan-in-image",
        Severity.ERROR,
        [Hit(file.file, note=file.infinite) for file in survey.files() if file.infinite],
        what="holds voxels that are not finite, which turn all weights into NaN",
        allowed="finite numbers",
        cure="replace them, for example by numpy.nan_to_num",
    )
    yield from group(
        "image-without-mask",
        Severity.WARNING,
        [Hit(sample.image.file) for sample in survey.samples if sample.truth is None],
        what="has no labels",
        allowed="one label file for each image, of the same stem",
        cure="add the labels or remove the image",
    )


def _four_axes(survey: VolumeSurvey) -> Iterator[Finding]:
    """Channels in labels are always wrong; in images, where the others have another number."""
    images = [sample.image for sample in survey.samples if sample.image.grid is not None]
    mixed = len({image.channels for image in images}) > 1
    hits = [
        Hit(file.file, note=f"{file.channels} along the fourth axis")
        for file in survey.files()
        if file.channels > 1 and (mixed or not any(file is image for image in images))
    ]
    yield from group(
        "four-axes",
        Severity.ERROR,
        hits,
        what="has a fourth axis that others do not have: moments or channels",
        allowed="three axes; in images a fourth where all have it",
        cure="cut out the moment or the channel that belongs to the labels",
    )


def find_places(survey: VolumeSurvey) -> Iterator[Finding]:
    """Labels that do not lie on their image."""
    sizes, mirrored, elsewhere = list[Hit](), list[Hit](), list[Hit]()
    for image, truth in survey.pairs():
        assert image.grid is not None
        assert truth.grid is not None
        difference = truth.grid.difference(image.grid)
        if not difference:
            continue
        sides = _mirrored_sides(image.grid, truth.grid)
        kind = sizes if image.grid.size != truth.grid.size else mirrored if sides else elsewhere
        kind.append(Hit(truth.file, note=f"mirrored {sides}" if kind is mirrored else difference))
    yield from group(
        "size-mismatch",
        Severity.ERROR,
        sizes,
        what="labels and image differ in shape",
        allowed="equal shapes",
        cure="resample the labels onto the image by nearest neighbour",
    )
    yield from group(
        "affine-mirrored",
        Severity.ERROR,
        mirrored,
        what="the affine of the labels has the sign opposite to the image's: left and right may be swapped",
        allowed="equal affines",
        cure="look which one is right, and copy its head to the other",
    )
    yield from group(
        "affine-mismatch",
        Severity.ERROR,
        elsewhere,
        what="labels and image do not lie in one place",
        allowed="equal affines",
        cure="copy the image's head to the labels if they were drawn on it, else resample them onto it",
    )
    yield from _turned(survey)


def _turned(survey: VolumeSurvey) -> Iterator[Finding]:
    """Stored in another direction, yet in one place: right if a tool turned them, wrong if it said so."""
    hits = []
    for sample in survey.samples:
        image, truth = sample.image.grid, sample.truth.grid if sample.truth is not None else None
        if image is None or truth is None or truth.difference(image) or image.file_axes == truth.file_axes:
            continue
        note = f"labels {truth.file_axes}, image {image.file_axes}"
        if sample.mirrored_fit > BETTER:
            note += f"; mirrored they would lie on edges {sample.mirrored_fit:.1f} times stronger"
        assert sample.truth is not None
        hits.append(Hit(sample.truth.file, note=note))
    yield from group(
        "orientation-differs",
        Severity.WARNING,
        hits,
        what="labels and image are stored in different directions: mirrored, if only a head was changed",
        allowed="the same directions in both files",
        cure="look at an overlay; if it is right, nothing has to be done",
    )


def _mirrored_sides(image: Grid, truth: Grid) -> str:
    """Along what the affine of the labels runs against the image's, all else being equal."""
    ours, theirs = image.file_affine[:3, :3], truth.file_affine[:3, :3]
    if not np.allclose(np.abs(ours), np.abs(theirs), atol=1e-3 * np.abs(ours).max()):
        return ""
    against = np.einsum("ij,ij->j", ours, theirs) < 0
    if not against.any():
        return ""
    return " and ".join(_SIDES[axis] for axis in range(3) if against[image.order[axis]])


def find_spacings(survey: VolumeSurvey) -> Iterator[Finding]:
    """Spacings that no scanner has, that others of the set do not have, or that the head contradicts."""
    files = [file for file in survey.files() if file.grid is not None]
    yield from group(
        "implausible-spacing",
        Severity.WARNING,
        [Hit(file.file, note=note) for file in files if (note := _implausible(file, files))],
        what="the spacing is probably not in millimetres, or was lost",
        allowed=f"{LEAST_MM} to {MOST_MM:g} mm, and of one order in a set",
        cure="compare with the scanner's files, and write the true spacing into the head",
    )
    for fault, word, what in (
        ("no-orientation", "no orientation", "the head does not tell which side is left"),
        ("sform-qform", "sform and qform", "the head holds two affines that disagree"),
        ("pixdim-affine", "pixdim says", "the spacing of the head is not that of its affine"),
    ):  # fmt: skip
        hits = [Hit(file.file, note=note) for file in files for note in file.notes if word in note]
        yield from group(
            fault,
            Severity.WARNING,
            hits,
            what=what,
            allowed="one true affine",
            cure="write the true affine by nibabel's set_sform and set_qform",
        )


def _implausible(file: VolumeFile, files: list[VolumeFile]) -> str:
    assert file.grid is not None
    spacing = file.grid.spacing_mm
    told = "x".join(f"{step:.4g}" for step in spacing) + " mm"
    if min(spacing) < LEAST_MM or max(spacing) > MOST_MM:
        return told
    others = np.array([other.grid.spacing_mm for other in files if other.grid is not None])
    usual = np.median(others, axis=0)
    ratio = np.array(spacing) / usual
    if ratio.max() > UNUSUAL or ratio.min() < 1 / UNUSUAL:
        return f"{told}, mostly {'x'.join(f'{step:.4g}' for step in usual)} mm"
    lost = spacing == (1.0, 1.0, 1.0) and (others != 1).any(axis=1).mean() > 0.5
    return f"{told}, which is what tools write that do not know it" if lost else ""


def find_values(survey: VolumeSurvey) -> Iterator[Finding]:
    """Labels that are no classes, were interpolated, or hold nothing."""
    truths = [sample.truth for sample in survey.samples if sample.truth is not None]
    yield from group(
        "interpolated-labels",
        Severity.ERROR,
        [Hit(truth.file) for truth in truths if truth.fractional],
        what="the labels hold numbers that are not whole: they were resampled like an image",
        allowed="declared class ids",
        cure="resample the original labels by nearest neighbour",
    )
    yield from group(
        "ids-undeclared",
        Severity.ERROR,
        [_odd(truth) for truth in truths if truth.odd],
        what="the labels hold values that are no declared class",
        allowed="declared class ids and ignore ids",
        cure="declare the classes in meta.json, or correct the labels",
    )
    ignored = frozenset(survey.data.ignore_ids)
    read = [truth for truth in truths if truth.counts]
    yield from group(
        "all-ignore-mask",
        Severity.WARNING,
        [Hit(truth.file) for truth in read if not set(truth.counts) - ignored],
        what="every voxel is void, so nothing is learned from this volume",
        allowed="labels with at least one class",
        cure="label these volumes or leave them out",
    )
    ground = frozenset(survey.data.classes.ids[:1])
    yield from group(
        "all-background-mask",
        Severity.WARNING,
        [Hit(truth.file) for truth in read if frozenset(truth.counts) - ignored == ground],
        what=f"the labels hold nothing but {survey.data.classes[0].name!r}",
        allowed="empty labels only where the volume truly shows nothing",
        cure="look at the volumes; label what was forgotten",
    )


def _odd(truth: VolumeFile) -> Hit:
    value, (d, h, w) = next(iter(truth.odd.items()))
    where = f"d={d}, h={h}, w={w}" if truth.odd else WHOLE_FILE
    return Hit(truth.file, where, f"value {value} in {truth.counts[value]} voxels, first at {where}")


FAMILIES: tuple[Family, ...] = (find_files, find_places, find_spacings, find_values)
"""In the order in which a reader should hear of them."""
