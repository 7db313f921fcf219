"""Panoptic quality in words: what each number is and where tools count differently."""

from __future__ import annotations

from segmentarium.metrics.definition import Definition

_PROTOCOLS = {
    "panopticapi": "COCO's own rules: a predicted segment's pixels on void in truth leave the union, and"
    " an unmatched one is forgiven if more than half of it lies on void or on the last crowd segment of its"
    " class; void in the prediction has no such privilege, and each stuff segment stands for itself.",
    "modified": "PQ-dagger: things as panopticapi; the segments of a stuff class in a picture are one, and"
    " its value is the mean IoU of the true ones, without any threshold.",
    "torchmetrics": "All segments of a stuff class in a picture are one, pixels on void in the prediction"
    " leave the union too, true segments left void by more than half are not missed, and crowd is unknown.",
    "torchmetrics-modified": "As torchmetrics, and the value of a stuff class is the mean IoU of its true"
    " segments.",
    "instances": "Numbers in a label map, 0 is background and no void: what is found there counts in full;"
    " pixels that are -1 in truth are left out altogether.",
    "monai": "As instances, with 1e-6 added to each denominator, so that two empty maps give 0.",
}

DEFINED: tuple[Definition, ...] = (
    Definition(
        name="pq",
        title="Panoptic quality (PQ)",
        formula="sum of IoU over matched pairs / (TP + FP/2 + FN/2), per class over all images, then the mean"
        " over the classes that occur; a pair matches if its classes agree and its IoU is above 0.5, which"
        " makes the matching unique",
        edges={
            "no segment of a class in truth or prediction": "the class is undefined (nan), leaves the mean",
            "no segment at all": "undefined (nan); panopticapi divides by zero, torchmetrics: nan, MONAI: 0",
            "IoU of exactly 0.5": "no match",
            "exactly half of a segment on void": "a false positive",
            "a segment predicted entirely void": "missed, as for any prediction; torchmetrics forgives it",
            "a true segment in the table without pixels": "missed, as panopticapi has it",
            "a predicted segment without pixels": "refused",
            "areas": "counted in the map, never taken from a file",
        },
        protocols=_PROTOCOLS,
        source="Kirillov et al. 2019, Panoptic Segmentation, section 4; Porzi et al. 2019, Seamless Scene"
        " Segmentation, section 4 (PQ-dagger)",
        atlas=("M13", "M14", "M15"),
    ),
    Definition(
        name="sq",
        title="Segmentation quality (SQ)",
        formula="mean IoU of the matched pairs: sum of IoU / TP; PQ = SQ x RQ in each class",
        edges={"segments, but no match": "0 in the mean, as panopticapi has it; nan under instances"},
        protocols=_PROTOCOLS,
        source="Kirillov et al. 2019, section 4.2",
        atlas=("M13",),
    ),
    Definition(
        name="rq",
        title="Recognition quality (RQ)",
        formula="TP / (TP + FP/2 + FN/2): the F1 of finding segments",
        protocols=_PROTOCOLS,
        source="Kirillov et al. 2019, section 4.2",
        atlas=("M13",),
    ),
)
