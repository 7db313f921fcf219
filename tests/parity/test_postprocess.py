"""Read-outs give what their authors' programs give: recorded (postprocess.toml), or run beside ours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from postprocess_cases import CLASSES, SCENES, SIZE, queries_of, regions_of, semantic_logits
from safetensors.torch import load_file

from segmentarium.nn.outputs import Queries, Semantic, SemanticRegions
from segmentarium.post import finish, paste, paste_full
from segmentarium.values.results import Panoptic

STRAY = 2
"""Pixels on the edge between two answers, where the last bit of a sum decides."""


@pytest.fixture(scope="module")
def recorded() -> dict[str, torch.Tensor]:
    return load_file(Path(__file__).with_name("postprocess.safetensors"))


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert int((ours != theirs).sum()) <= STRAY


@pytest.mark.parametrize("rule", ["detr", "kmax_deeplab", "mask2former", "maskformer"])
@pytest.mark.parametrize("scene", SCENES)
def test_segments(scene: str, rule: str, recorded: dict[str, torch.Tensor]) -> None:
    own = rule in ("mask2former", "maskformer")
    found = finish(
        queries_of(scene),
        task="panoptic",
        size=SCENES[scene].size,
        classes=CLASSES,
        rule=rule,
        settings={"overlap": SCENES[scene].overlap} if own else {},
    )
    table = recorded[f"{scene}.{rule}.panoptic.segments"].tolist()
    assert len(table) >= 2
    assert [[s.id, s.class_index] for s in found.segments] == table
    close(found.ids, recorded[f"{scene}.{rule}.panoptic.ids"].numpy().astype(np.int32))


@pytest.mark.parametrize("rule", ["detr", "kmax_deeplab", "mask2former"])
@pytest.mark.parametrize("scene", SCENES)
def test_instances(scene: str, rule: str, recorded: dict[str, torch.Tensor]) -> None:
    """Theirs come unsorted, with masks of no pixel and (DETR) with stuff, which ours leave out."""
    size = SCENES[scene].size
    settings = {} if rule == "detr" else {"top": 40}
    found = finish(
        queries_of(scene), task="instance", size=size, classes=CLASSES, rule=rule, settings=settings
    )
    labels, scores = (recorded[f"{scene}.{rule}.instance.{key}"].numpy() for key in ("labels", "scores"))
    bits = np.unpackbits(
        recorded[f"{scene}.{rule}.instance.masks"].numpy(), count=len(labels) * np.prod(size)
    )
    masks = bits.astype(bool).reshape(-1, *size)
    theirs = sorted(
        (int(label), float(score), mask.sum(), mask)
        for label, score, mask in zip(labels, scores, masks, strict=True)
        if mask.any() and CLASSES[label].thing
    )
    ours = sorted(
        (int(found.classes_of[n]), float(found.scores[n]), found.mask(n).sum(), found.mask(n))
        for n in range(len(found))
    )
    assert len(ours) == len(theirs) > 2
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[0] == other[0]
        assert mine[1] == pytest.approx(other[1], rel=1e-4)
        close(mine[3], other[3])


@pytest.mark.parametrize("rule", ["kmax_deeplab", "mask2former"])
@pytest.mark.parametrize("scene", SCENES)
def test_semantic(scene: str, rule: str, recorded: dict[str, torch.Tensor]) -> None:
    found = finish(queries_of(scene), task="semantic", size=SCENES[scene].size, classes=CLASSES, rule=rule)
    close(found.labels, recorded[f"{scene}.{rule}.semantic.labels"].numpy())


def test_max_deeplab(recorded: dict[str, torch.Tensor]) -> None:
    """Theirs is class * 1000 + slot, 255000 for void."""
    limits = {"thing_area": 20, "stuff_area": 60}
    found = finish(
        queries_of("few"),
        task="panoptic",
        size=SCENES["few"].size,
        classes=CLASSES,
        rule="max_deeplab",
        settings=limits,
    )
    merged = recorded["few.max_deeplab.panoptic.merged"].numpy()
    labels = np.where(merged >= 255_000, -1, merged // 1000)
    close(found.labels(), labels)
    assert len(found.segments) == len(set(np.unique(merged)) - {255_000}) >= 2
    close(found.ids > 0, labels >= 0)
    pairs = np.unique(np.stack([found.ids.ravel(), merged.ravel()]), axis=1, return_counts=True)
    assert (pairs[1] > STRAY).sum() == len(np.unique(merged))


def test_masks_in_boxes_as_detectron2(recorded: dict[str, torch.Tensor]) -> None:
    regions = regions_of()
    masks = paste_full(regions.boxes, regions.mask_logits, SIZE)
    bits = np.unpackbits(recorded["regions.detectron2.paste.masks"].numpy(), count=masks.size)
    close(masks, bits.astype(bool).reshape(masks.shape))


@pytest.mark.parametrize("program", ["detectron2", "panopticapi"])
def test_the_merge_of_objects_and_stuff(program: str, recorded: dict[str, torch.Tensor]) -> None:
    found = finish(
        SemanticRegions(Semantic(semantic_logits()), regions_of()),
        task="panoptic",
        size=SIZE,
        classes=CLASSES,
        settings={"stuff_area": 200, "score": 0.3},
    )
    table = recorded[f"regions.{program}.merge.segments"].tolist()
    assert len(table) > 4
    assert [[s.id, s.class_index] for s in found.segments] == table
    close(found.ids, recorded[f"regions.{program}.merge.ids"].numpy().astype(np.int32))


@pytest.mark.parametrize("size", [(72, 90), (40, 200)])
def test_masks_in_boxes_as_torchvision(size: tuple[int, int]) -> None:
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    regions = regions_of()
    height, width = size
    boxes = regions.boxes.clone()
    boxes[:, 0::2], boxes[:, 1::2] = boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)
    boxes = torch.cat([boxes, torch.tensor([[3.0, 4.0, 3.4, 9.0], [0.0, 0.0, 1.0, 1.0]])])
    logits = torch.cat([regions.mask_logits, regions.mask_logits[:2]])
    soft = paste_masks_in_image(logits.sigmoid()[:, None], boxes, size)[:, 0]
    close(paste_full(boxes, logits, size, rule="torchvision"), (soft > 0.5).numpy())


def transformers_answer(output: Queries) -> SimpleNamespace:
    return SimpleNamespace(
        class_queries_logits=output.class_logits,
        masks_queries_logits=output.mask_logits,
        logits=output.class_logits,
        pred_masks=output.mask_logits,
    )


@pytest.mark.parametrize("scene", SCENES)
def test_semantic_as_transformers(scene: str) -> None:
    """It mixes classes on a grid (of 384x384 for Mask2Former), then resizes the sums: ours with that grid."""
    from transformers import MaskFormerImageProcessor
    from transformers.models.mask2former import Mask2FormerImageProcessor

    output, size = queries_of(scene), SCENES[scene].size
    for processor, grid in (
        (Mask2FormerImageProcessor(), (384, 384)),
        (MaskFormerImageProcessor(), SCENES[scene].masks),
    ):
        (theirs,) = processor.post_process_semantic_segmentation(transformers_answer(output), [size])
        ours = finish(output, task="semantic", size=size, classes=CLASSES, settings={"grid": grid})
        close(ours.labels, theirs.numpy())


def test_semantic_as_transformers_on_its_own_grid() -> None:
    """Where the target is 384x384 its two resizings are one, and the paper's rule comes out."""
    from transformers.models.mask2former import Mask2FormerImageProcessor

    output = queries_of("even")
    processor = Mask2FormerImageProcessor()
    (theirs,) = processor.post_process_semantic_segmentation(transformers_answer(output), [(384, 384)])
    ours = finish(output, task="semantic", size=(384, 384), classes=CLASSES)
    close(ours.labels, theirs.numpy())


@pytest.mark.parametrize("scene", SCENES)
def test_segments_as_transformers(scene: str) -> None:
    """It compares score times mask with 0.5 and drops what lies on the limit: MaskFormer's if scores are 1.

    Its merged segments are listed once for each query, under one number.
    """
    from transformers.models.mask2former import Mask2FormerImageProcessor

    output = queries_of(scene)
    certain = Queries(40 * output.class_logits, output.mask_logits)
    stuff = {i for i, c in enumerate(CLASSES) if not c.thing}
    (theirs,) = Mask2FormerImageProcessor().post_process_panoptic_segmentation(
        transformers_answer(certain),
        threshold=0.8,
        overlap_mask_area_threshold=0.5,
        label_ids_to_fuse=stuff,
        target_sizes=[(384, 384)],
    )
    ours = finish(
        certain,
        task="panoptic",
        size=(384, 384),
        classes=CLASSES,
        rule="maskformer",
        settings={"overlap": 0.5},
    )
    assert isinstance(ours, Panoptic)
    labels = {row["id"]: row["label_id"] for row in theirs["segments_info"]}
    assert {s.id: s.class_index for s in ours.segments} == labels
    close(ours.ids, theirs["segmentation"].numpy().astype(np.int32))


def test_text_as_pycocotools() -> None:
    from pycocotools import mask as coco_mask

    regions = regions_of()
    crops, full = paste(regions.boxes, regions.mask_logits, SIZE), paste_full(*regions[1:2], regions[4], SIZE)
    for mask, box, whole in zip(crops.masks, crops.boxes.tolist(), full, strict=True):
        x0, y0, x1, y1 = box
        theirs = coco_mask.encode(np.asfortranarray(whole[y0:y1, x0:x1].astype(np.uint8)))
        assert theirs["counts"].decode() == mask["counts"]
        assert list(theirs["size"]) == mask["size"]
