"""Average precision and recall in words: what each number is and where tools differ."""

from __future__ import annotations

from segmentarium.metrics.definition import Definition

DEFINED: tuple[Definition, ...] = (
    Definition(
        name="ap",
        title="Average precision (AP, mask / box / boundary)",
        formula="detections by descending score, each matched to the free true object of its class with the"
        " greatest IoU >= threshold; precision = TP / (TP + FP), made monotone from the right, read at 101"
        " recalls 0, 0.01 .. 1; mean over recalls, thresholds .50:.05:.95 and classes with truth",
        edges={
            "no true object of a class": "undefined (nan), leaves the mean; pycocotools prints -1 if all do",
            "crowd": "IoU is the share of the detection inside it; many may match it, all count for nothing",
            "area": "the file's own where it is given, else the mask's pixels; 1024 is small and medium",
            "a detection with mask and box": "AP of masks takes the mask's area; pycocotools takes the box's",
            "object number 0": "like any other; pycocotools and faster-coco-eval take it for unmatched",
            "limits without 100": "AP is that of the largest limit; pycocotools prints -1",
            "boundary": "band = mask minus its 3x3 erosion, round(0.02 x diagonal) times; IoU is the smaller"
            " one of masks and of bands, for crowds that of masks",
        },
        protocols={
            "coco": "pycocotools and faster-coco-eval to the digit, but for the edges above.",
            "torchmetrics": "The same with recalls and thresholds in single precision, which moves a reading"
            " where a recall is exactly a hundredth, such as 3 of 10.",
        },
        source="Lin et al. 2014, Microsoft COCO; Cheng et al. 2021, Boundary IoU, section 5",
        atlas=("M16", "M17", "M20"),
    ),
    Definition(
        name="ar",
        title="Average recall (AR at 1, 10, 100 detections)",
        formula="the greatest recall with so many detections a class and picture, mean over thresholds and"
        " classes with truth",
        edges={"no true object": "undefined (nan)"},
        protocols={
            "coco": "pycocotools and faster-coco-eval to the digit.",
            "torchmetrics": "The same with thresholds in single precision.",
        },
        source="Hosang et al. 2015; Lin et al. 2014",
        atlas=("M18",),
    ),
)
