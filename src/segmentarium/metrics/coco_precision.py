"""Average precision of COCO's files: annotations and results as they stand in JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segmentarium.errors import BadData
from segmentarium.metrics.average_precision import AveragePrecision, AveragePrecisionScores
from segmentarium.metrics.objects import Objects, Runs
from segmentarium.values.classes import Classes

Row = Mapping[str, Any]


def coco_average_precision(
    prediction: Sequence[Row],
    truth: Mapping[str, Any],
    *,
    kind: str = "mask",
    protocol: str = "coco",
    limits: Sequence[int] = (1, 10, 100),
    rounds: int = 200,
    seed: int = 0,
) -> AveragePrecisionScores:
    """COCO's numbers of a list of results and a file of annotations, both read from JSON.

    Masks may be run-length code or polygons; numbers of annotations play no part, so 0 is as good as any.

    Args:
        limits: how many detections a class and picture count; AP takes the last.
        rounds: of bootstrap, 0 for no intervals.

    Raises:
        BadData: a result or annotation of a picture or category that the file does not list.
        BadMask: a mask that cannot be read or does not fit its picture.
    """
    metric = AveragePrecision(_classes(truth), kind=kind, protocol=protocol, limits=limits)
    add_coco(metric, prediction, truth)
    return metric.compute(rounds=rounds, seed=seed)


def add_coco(metric: AveragePrecision, prediction: Sequence[Row], truth: Mapping[str, Any]) -> None:
    """Add all pictures of a COCO file to a metric; one picture's masks are unpacked at a time."""
    index = {class_id: i for i, class_id in enumerate(metric.classes.ids)}
    sizes = {row["id"]: (int(row["height"]), int(row["width"])) for row in truth["images"]}
    found, true = _by_picture(prediction, sizes, index), _by_picture(truth["annotations"], sizes, index)
    for image in sorted(sizes):
        metric.add(
            _objects(found[image], index, sizes[image], metric.kind, name="prediction"),
            _objects(true[image], index, sizes[image], metric.kind, name="truth"),
            image=image,
        )


def _classes(truth: Mapping[str, Any]) -> Classes:
    rows: list[dict[str, Any]] = list(truth["categories"])
    return Classes.from_json(sorted(rows, key=lambda row: int(str(row["id"]))))


def _by_picture(rows: Sequence[Row], sizes: Mapping[Any, Any], index: Mapping[int, int]) -> Any:
    pictures: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if row["image_id"] not in sizes or row["category_id"] not in index:
            raise BadData(
                f"an object of picture {row['image_id']} and category {row['category_id']}",
                allowed="pictures and categories that the file of annotations lists",
                cure="give the annotations that belong to these results",
            )
        pictures[row["image_id"]].append(row)
    return pictures


def _objects(
    rows: Sequence[Row], index: Mapping[int, int], size: tuple[int, int], kind: str, *, name: str
) -> Objects:
    """Objects of one picture; areas of results are always measured."""
    runs = None
    boxes = np.zeros((len(rows), 4))
    if kind == "box":
        boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    else:
        masks = [_rle(row["segmentation"], size) for row in rows]
        runs = Runs.of(masks, at=np.zeros((len(rows), 2), np.int64), size=size)
    areas = boxes[:, 2] * boxes[:, 3] if runs is None else runs.areas.astype(np.float64)
    if name == "truth":
        given = [row.get("area") for row in rows]
        areas = np.array(
            [a if g is None else g for a, g in zip(areas.tolist(), given, strict=True)], np.float64
        )
    objects = Objects(
        classes_of=np.array([index[row["category_id"]] for row in rows], np.int64),
        scores=np.array([row.get("score", 1.0) for row in rows], np.float64),
        areas=areas,
        ignored=np.array([bool(row.get("iscrowd", 0)) for row in rows], bool),
        boxes=boxes,
        runs=runs,
    )
    objects.check(classes=len(index), name=name)
    return objects


def _rle(segmentation: Any, size: tuple[int, int]) -> Any:
    """Compressed run-length code, as text, of whatever form a COCO file has."""
    if isinstance(segmentation, Mapping) and isinstance(segmentation["counts"], str):
        return segmentation
    if not isinstance(segmentation, Mapping) or isinstance(segmentation["counts"], list):
        from faster_coco_eval.core.mask import segmToRle

        segmentation = segmToRle(segmentation, size[1], size[0])
    counts = segmentation["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in segmentation["size"]], "counts": text}
