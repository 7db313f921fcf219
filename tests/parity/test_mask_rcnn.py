"""Mask R-CNN gives the numbers of torchvision, and those recorded of detectron2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from detector_rule import assert_equal, fill_detector, scene, stages
from detectron_cases import CASES, answers
from rule import image_by_rule
from safetensors import safe_open
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection import faster_rcnn, keypoint_rcnn, mask_rcnn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList

from segmentarium.models.mask_rcnn import VARIANTS, Config, MaskRCNN
from segmentarium.nn import Truth, boxes_of
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

SEED = 1703
BUILDERS = {
    "torchvision": detection.maskrcnn_resnet50_fpn,
    "torchvision_keypoint": detection.keypointrcnn_resnet50_fpn,
}
SIZE = (64, 96)
CLASSES = 5
PRECISIONS = ((torch.float32, 1e-4), (torch.float64, 1e-6))


def small(source: str) -> nn.Module:
    """torchvision's detector on ResNet-18, its heads narrow and its boxes few, so that a test is quick."""
    boxes = {
        "rpn_pre_nms_top_n_test": 200,
        "rpn_post_nms_top_n_test": 60,
        "rpn_pre_nms_top_n_train": 100,
        "rpn_post_nms_top_n_train": 10,
        "box_detections_per_img": 3,
        "box_head": faster_rcnn.TwoMLPHead(256 * 7**2, 48),
        "box_predictor": faster_rcnn.FastRCNNPredictor(48, CLASSES + 1),
    }
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    if source == "torchvision":
        head = mask_rcnn.MaskRCNNHeads(256, (32,) * 4, 1)
        predictor = mask_rcnn.MaskRCNNPredictor(32, 32, CLASSES + 1)
        return detection.MaskRCNN(backbone, mask_head=head, mask_predictor=predictor, **boxes)
    head = keypoint_rcnn.KeypointRCNNHeads(256, (32,) * 8)
    predictor = keypoint_rcnn.KeypointRCNNPredictor(32, 17)
    return detection.KeypointRCNN(backbone, keypoint_head=head, keypoint_predictor=predictor, **boxes)


def pair(source: str) -> tuple[nn.Module, MaskRCNN]:
    """torchvision's network by the rule, and ours with its tensors by the names of our card."""
    reference = small(source).eval()
    fill_detector(reference, SEED)
    entry = read_card("mask_rcnn").sources[source]
    network = MaskRCNN(few(VARIANTS[entry.variant])).eval()
    tensors = translated(reference.state_dict(), entry)
    counters = {name: t for name, t in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict(tensors | counters)
    return reference, network


def few(config: Config) -> Config:
    """``config`` made as small."""
    reading = replace(config.reading, kept=3, box_widths=(48, 48), keypoint_widths=(32,) * 8)
    if reading.mask_widths:
        reading = replace(reading, mask_widths=(32,) * 4)
    return replace(
        config,
        encoder="resnet18",
        proposing=replace(config.proposing, considered=(100, 200), kept=(10, 60)),
        reading=reading,
        classes=CLASSES,
        frozen_norm=False,
    )


@pytest.fixture(scope="module", params=BUILDERS)
def both(request: pytest.FixtureRequest) -> tuple[nn.Module, MaskRCNN]:
    return pair(request.param)


def theirs(reference: Any, images: Tensor) -> dict[str, Tensor]:
    """What torchvision computes on its way, in the order of computing, laid out like ours."""
    sizes = [tuple(images.shape[-2:])] * len(images)
    features = reference.backbone(images)
    seen = {f"pyramid {level}": own for level, own in enumerate(features.values())}
    for level, (a, b) in enumerate(zip(*reference.rpn.head(list(features.values())), strict=True)):
        seen |= {f"objectness {level}": a, f"shifts {level}": b}
    proposals, _ = reference.rpn(ImageList(images, sizes), features)
    heads = reference.roi_heads
    regions = heads.box_roi_pool(features, proposals, sizes)
    kinds, moves = heads.box_predictor(heads.box_head(regions))
    seen |= {"proposals": torch.cat(proposals), "regions": regions, "classes": kinds.roll(-1, 1)}
    found, _ = heads(features, proposals, sizes)
    boxes = [one["boxes"] for one in found]
    seen |= {"moves": moves[:, 4:], "boxes": torch.cat(boxes)}
    seen["scores"] = torch.cat([one["scores"] for one in found])
    seen["kinds"] = torch.cat([one["labels"] for one in found]) - 1
    if heads.has_mask():
        read = heads.mask_head(heads.mask_roi_pool(features, boxes, sizes))
        seen["masks"] = heads.mask_predictor(read)[:, 1:]
        seen["found masks"] = torch.cat([one["masks"] for one in found])[:, 0]
    else:
        read = heads.keypoint_head(heads.keypoint_roi_pool(features, boxes, sizes))
        seen["keypoints"] = heads.keypoint_predictor(read)
    return seen


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_equals_torchvision_from_pyramid_to_masks(
    both: tuple[nn.Module, MaskRCNN], dtype: torch.dtype, tolerance: float
) -> None:
    reference, network = both[0].to(dtype).eval(), both[1].to(dtype).eval()
    images = image_by_rule((2, 3, *SIZE), SEED).to(dtype)
    with torch.no_grad():
        expected, seen = theirs(reference, images), stages(network, images)
    assert len(expected["proposals"]) > 60
    assert len(expected["boxes"]) == 6
    assert_equal(seen, expected, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_terms_equal_torchvision(
    both: tuple[nn.Module, MaskRCNN], dtype: torch.dtype, tolerance: float
) -> None:
    """All anchors and all regions are chosen, so that chance has no part in it."""
    reference, network = both[0].to(dtype).train(), both[1].to(dtype)
    reference.backbone.eval()
    images = image_by_rule((2, 3, *SIZE), SEED).to(dtype)
    truths, keypoints = scene(SIZE, classes=network.config.classes, seed=SEED)
    everything = 10**6
    network.detector.reading = replace(network.config.reading, sampled=everything, share=0.5)
    network.detector.proposals.config = replace(network.config.proposing, sampled=everything)
    for sampler in (reference.rpn.fg_bg_sampler, reference.roi_heads.fg_bg_sampler):
        sampler.batch_size_per_image, sampler.positive_fraction = everything, 0.5
    expected = their_terms(reference, images, truths, keypoints)
    terms = network.eval().terms(images, truths, keypoints=keypoints)
    total = terms.pop("loss")
    assert_equal(terms, expected, tolerance)
    assert total.item() == pytest.approx(sum(expected.values()).item(), rel=1e-5)  # type: ignore[union-attr]


def their_terms(
    reference: Any, images: Tensor, truths: list[Truth], keypoints: list[Tensor]
) -> dict[str, Tensor]:
    targets = [
        {
            "boxes": boxes_of(truth.masks).to(images),
            "labels": truth.classes + 1,
            "masks": truth.masks.to(torch.uint8),
            "keypoints": own,
        }
        for truth, own in zip(truths, keypoints, strict=True)
    ]
    sizes = [tuple(images.shape[-2:])] * len(images)
    features = reference.backbone(images)
    proposals, first = reference.rpn(ImageList(images, sizes), features, targets)
    _, second = reference.roi_heads(features, proposals, sizes, targets)
    names = {
        "rpn_objectness": "loss_objectness",
        "rpn_box": "loss_rpn_box_reg",
        "class": "loss_classifier",
        "box": "loss_box_reg",
        "mask": "loss_mask",
        "keypoint": "loss_keypoint",
    }
    losses = first | second
    return {ours: losses[name].detach() for ours, name in names.items() if name in losses}


@pytest.mark.parametrize("title", [title for title in CASES if CASES[title].architecture == "mask_rcnn"])
def test_equals_what_detectron2_gave(title: str) -> None:
    case = CASES[title]
    with safe_open(Path(__file__).with_name("mask_rcnn.safetensors"), framework="pt") as recorded:
        keys = [key for key in recorded.keys() if key.startswith(f"{title}.")]  # noqa: SIM118
        expected = {key.removeprefix(f"{title}."): recorded.get_tensor(key) for key in keys}
        names = recorded.metadata()[title].split("\n")
    network = case.network()
    for dtype, tolerance in reversed(PRECISIONS):
        seen = answers(network.to(dtype), case, dtype)
        assert seen.keys() == expected.keys()
        assert_equal(seen, {name: expected[name] for name in seen}, tolerance)
    own = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    entry = read_card("mask_rcnn").sources[case.source]
    assert set(translated(dict.fromkeys(names, torch.zeros(0)), entry)) == own


def test_counts() -> None:
    def count(variant: str, **changes: Any) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in MaskRCNN(replace(VARIANTS[variant], **changes)).parameters())

    assert count("paper") == 63_283_120
    assert count("detectron2_r50") == 44_343_216
    assert count("torchvision_r50") == 44_401_393  # as torchvision states for its published weights
    assert count("detectron2_keypoint") == 59_133_158
    assert count("torchvision_keypoint") == 59_137_258
    with torch.device("meta"):
        for source, builder in BUILDERS.items():
            reference = builder(weights=None, weights_backbone=None)
            entry = read_card("mask_rcnn").sources[source]
            assert count(entry.variant, frozen_norm=False) == sum(p.numel() for p in reference.parameters())
            own = MaskRCNN(VARIANTS[entry.variant]).state_dict()
            if source == "torchvision":
                theirs = translated(reference.state_dict(), entry)
                assert {n: t.shape for n, t in own.items()} == {n: t.shape for n, t in theirs.items()}
