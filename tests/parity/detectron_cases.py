"""What was recorded of detectron2: its settings, ours, and what both are asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from detector_rule import fill_detector, scene, stages
from rule import image_by_rule, tap
from torch import Tensor, nn

from segmentarium.models import mask_rcnn, panoptic_fpn
from segmentarium.nn import Truth
from segmentarium.nn.detector import Reading
from segmentarium.nn.proposals import Proposing

SEED = 1703
EVERYTHING = 10**6  # boxes to be trained on: all there are, so that chance has no part in it


@dataclass(frozen=True)
class Case:
    """``source`` is the entry of our card; ``settings`` are those changed in ``file`` of detectron2."""

    architecture: str
    source: str
    config: Any
    file: str
    settings: dict[str, Any]
    size: tuple[int, int] = (60, 92)  # no multiple of 32: both sides pad

    def images(self) -> Tensor:
        return image_by_rule((2, 3, *self.size), SEED)

    def network(self) -> Any:
        """Ours, by the rule."""
        kind = {"mask_rcnn": mask_rcnn.MaskRCNN, "panoptic_fpn": panoptic_fpn.PanopticFPN}[self.architecture]
        network = kind(self.config).double().eval()
        fill_detector(network, SEED)
        return network

    def truths(self) -> tuple[list[Truth], list[Tensor]]:
        things = getattr(self.config, "things", self.config.classes)
        truths, keypoints = scene(self.size, classes=things, seed=SEED)
        if self.architecture == "panoptic_fpn":
            truths = [with_stuff(truth, things) for truth in truths]
        return truths, keypoints


def with_stuff(truth: Truth, things: int) -> Truth:
    """Two classes of stuff in the left and middle of what is left; the right third is nothing."""
    free = ~truth.masks.any(0)
    width = free.shape[1]
    columns = torch.arange(width).expand_as(free)
    left, middle = columns < width // 3, (columns >= width // 3) & (columns < 2 * width // 3)
    masks = torch.cat([truth.masks, torch.stack([free & left, free & middle])])
    return Truth(masks, torch.cat([truth.classes, torch.tensor([things, things + 2])]))


def few(config: Any, *, encoder: str, **reading: Any) -> Any:
    """``config`` with few channels and few boxes, so that a test is quick."""
    proposing: Proposing = config.proposing
    read: Reading = config.reading
    return replace(
        config,
        encoder=encoder,
        width=64,
        proposing=replace(proposing, considered=(60, 200), kept=(20, 60), sampled=EVERYTHING),
        reading=replace(read, kept=3, sampled=EVERYTHING, share=0.5, **reading),
    )


SMALL = {
    "MODEL.FPN.OUT_CHANNELS": 64,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 60,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 200,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 20,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 60,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": EVERYTHING,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": EVERYTHING,
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": 0.5,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 48,
    "MODEL.ROI_BOX_HEAD.CONV_DIM": 64,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "TEST.DETECTIONS_PER_IMAGE": 3,
    "MODEL.PIXEL_MEAN": [0.0, 0.0, 0.0],
    "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
}
EIGHTEEN = {"MODEL.RESNETS.DEPTH": 18, "MODEL.RESNETS.RES2_OUT_CHANNELS": 64}
NARROW = {"box_widths": (48, 48), "mask_widths": (32,) * 4}
ours = mask_rcnn.VARIANTS

CASES = {
    "mask": Case(
        "mask_rcnn",
        "detectron2",
        replace(few(ours["detectron2_r50"], encoder="resnet50", **NARROW), classes=5),
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
        SMALL | {"MODEL.ROI_HEADS.NUM_CLASSES": 5},
    ),
    "gn": Case(
        "mask_rcnn",
        "detectron2_gn",
        replace(
            few(
                ours["detectron2_gn"],
                encoder="resnet50_gn",
                box_convolutions=(64,) * 4,
                box_widths=(48,),
                mask_widths=(32,) * 4,
            ),
            classes=5,
        ),
        "Misc/mask_rcnn_R_50_FPN_3x_gn.yaml",
        SMALL | {"MODEL.ROI_HEADS.NUM_CLASSES": 5},
    ),
    "keypoint": Case(
        "mask_rcnn",
        "detectron2_keypoint",
        few(
            ours["detectron2_keypoint"],
            encoder="resnet18",
            box_widths=(48, 48),
            keypoint_widths=(32,) * 8,
        ),
        "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml",
        SMALL | EIGHTEEN | {"MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS": (32,) * 8},
    ),
    "panoptic": Case(
        "panoptic_fpn",
        "detectron2",
        replace(
            few(panoptic_fpn.VARIANTS["detectron2_r50"], encoder="resnet18", **NARROW), classes=8, things=5
        ),
        "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml",
        SMALL | EIGHTEEN | {"MODEL.ROI_HEADS.NUM_CLASSES": 5, "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 4},
        (64, 96),  # its semantic term reads the padding beyond the image's edge, ours has cut it off
    ),
}


def answers(network: nn.Module, case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """Our stages, as far as they are recorded, and the terms of a step."""
    images = case.images().to(dtype)
    with torch.no_grad():
        seen = stages(network, images)
        if case.architecture == "panoptic_fpn":
            seen["semantic"] = network(images).semantic.logits
        truths, keypoints = case.truths()
        with_points = {"keypoints": keypoints} if "keypoint" in case.source else {}
        terms = network.terms(images, truths, **with_points)  # type: ignore[operator]
    # its mask term has another truth: cells rounded to 0 or 1
    seen |= {f"term {name}": term for name, term in terms.items() if name not in ("mask", "loss")}
    return {name: tap(value) if value.ndim == 4 else value for name, value in seen.items()}
