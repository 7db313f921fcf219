"""Record the authors' read-outs: ``python record_postprocess.py FOLDER``.

FOLDER holds checkouts named Mask2Former, MaskFormer, detr, kmax-deeplab, detectron2, panopticapi and deeplab2
(the last one is read only where TensorFlow can be imported; what was recorded of it before is kept). Their
functions are taken out of their files one by one, so that nothing of them needs to be compiled or installed,
and no line of them is kept here. Writes postprocess.safetensors beside itself.
"""

from __future__ import annotations

import ast
import io
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from postprocess_cases import CLASSES, SCENES, SIZE, STUFF, THINGS, queries_of, regions_of, semantic_logits
from safetensors.torch import load_file, save_file
from torch.nn import functional

OUT = Path(__file__).with_name("postprocess.safetensors")
Held = dict[str, torch.Tensor]


def taken(path: Path, *names: str, **known: Any) -> SimpleNamespace:
    """Functions, methods or classes of a file by name, with ``known`` in place of what it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if getattr(node, "name", "") in names]
    for node in found:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
    space = {"torch": torch, "F": functional, "np": np, **known}
    exec(compile(ast.Module(found, []), str(path), "exec"), space)
    return SimpleNamespace(**{name: space[name] for name in names})


def owner(scene: str, **more: Any) -> SimpleNamespace:
    """Stands for ``self`` of the three programs built on detectron2."""
    return SimpleNamespace(
        sem_seg_head=SimpleNamespace(num_classes=len(CLASSES)),
        metadata=SimpleNamespace(thing_dataset_id_to_contiguous_id={i: i for i in range(THINGS)}),
        num_queries=SCENES[scene].queries,
        test_topk_per_image=40,
        panoptic_on=True,
        device=torch.device("cpu"),
        **more,
    )


def map_of(answer: Any) -> Held:
    ids, rows = answer
    table = [(row["id"], row["category_id"]) for row in rows]
    return {"ids": ids.to(torch.uint8), "segments": torch.tensor(table, dtype=torch.uint8).reshape(-1, 2)}


def instances_of(found: Any) -> Held:
    packed = np.packbits(found.pred_masks.bool().numpy().reshape(-1))
    labels = found.pred_classes.to(torch.uint8)
    return {"masks": torch.from_numpy(packed), "scores": found.scores.float(), "labels": labels}


def resized(scene: str, *, aligned: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    output = queries_of(scene)
    size = SCENES[scene].size
    masks = functional.interpolate(output.mask_logits, size, mode="bilinear", align_corners=aligned)
    return output.class_logits[0], masks[0]


def meta_programs(folder: Path, scene: str) -> dict[str, Held]:
    methods = ("semantic_inference", "panoptic_inference", "instance_inference")
    stand_ins = {"Instances": lambda size: SimpleNamespace(), "Boxes": lambda rows: rows}
    limits = {"object_mask_threshold": 0.8, "overlap_threshold": SCENES[scene].overlap}
    second = taken(folder / "Mask2Former/mask2former/maskformer_model.py", *methods, **stand_ins)
    first = taken(folder / "MaskFormer/mask_former/mask_former_model.py", "panoptic_inference")
    kmax = taken(folder / "kmax-deeplab/kmax_deeplab/kmax_model.py", *methods, **stand_ins)
    labels, masks = resized(scene)
    aligned = resized(scene, aligned=SCENES[scene].size[1] % 2 == 1)
    numbers = {
        "pixel_confidence_threshold": 0.4,
        "class_threshold_thing": 0.7,
        "class_threshold_stuff": 0.5,
        "reorder_class_weight": 1.0,
        "reorder_mask_weight": 1.0,
    }
    held = {
        "mask2former.panoptic": map_of(second.panoptic_inference(owner(scene, **limits), labels, masks)),
        "mask2former.instance": instances_of(second.instance_inference(owner(scene), labels, masks)),
        "maskformer.panoptic": map_of(first.panoptic_inference(owner(scene, **limits), labels, masks)),
    }
    cluster = owner(scene, overlap_threshold=0.8, **numbers)
    held["kmax_deeplab.panoptic"] = map_of(kmax.panoptic_inference(cluster, *aligned))
    held["kmax_deeplab.instance"] = instances_of(kmax.instance_inference(cluster, *aligned))
    for name, sums in (
        ("mask2former", second.semantic_inference(None, labels, masks)),
        ("kmax_deeplab", kmax.semantic_inference(None, *aligned)),
    ):
        held[f"{name}.semantic"] = {"labels": sums.argmax(0).to(torch.uint8)}
    return held


def detr(folder: Path, scene: str) -> dict[str, Held]:
    colours = taken(folder / "panopticapi/panopticapi/utils.py", "rgb2id", "id2rgb")
    known = {
        "nn": torch.nn,
        "interpolate": functional.interpolate,
        "defaultdict": defaultdict,
        "box_ops": SimpleNamespace(box_cxcywh_to_xyxy=lambda boxes: boxes),
        "Image": Image,
        "io": io,
        **vars(colours),
    }
    program = taken(folder / "detr/models/segmentation.py", "PostProcessPanoptic", "PostProcessSegm", **known)
    output, size = queries_of(scene), SCENES[scene].size
    answer = {
        "pred_logits": output.class_logits,
        "pred_masks": output.mask_logits,
        "pred_boxes": torch.zeros(1, SCENES[scene].queries, 4),
    }
    rule = program.PostProcessPanoptic({i: c.thing for i, c in enumerate(CLASSES)})
    (found,) = rule(answer, [size], [size])
    with Image.open(io.BytesIO(found["png_string"])) as picture:
        ids = torch.from_numpy(colours.rgb2id(np.array(picture)).astype(np.uint8)) + 1
    rows = [{"id": row["id"] + 1, "category_id": row["category_id"]} for row in found["segments_info"]]
    sizes = torch.tensor([size])
    (cut,) = program.PostProcessSegm()([{}], answer, sizes, sizes)
    chances, labels = output.class_logits[0].softmax(-1)[:, :-1].max(-1)
    objects = SimpleNamespace(pred_masks=cut["masks"][:, 0], pred_classes=labels, scores=chances)
    return {"detr.panoptic": map_of((ids, rows)), "detr.instance": instances_of(objects)}


def max_deeplab(folder: Path, scene: str) -> dict[str, Held]:
    import tensorflow as tf

    for name in (
        "deeplab2",
        "deeplab2.common",
        "deeplab2.config_pb2",
        "deeplab2.data",
        "deeplab2.data.dataset",
    ):
        sys.modules[name] = ModuleType(name)
    names = [
        "_get_transformer_class_prediction",
        "_get_mask_id_and_semantic_maps",
        "_filter_by_count",
        "_merge_mask_id_and_semantic_maps",
    ]
    program = taken(
        folder / "deeplab2/model/post_processor/max_deeplab.py",
        *names,
        tf=tf,
        List=list,
        Tuple=tuple,
        Dict=dict,
        Text=str,
        _SMALL_CONSTANT_FOR_SOFTMAX=-99999,
    )
    output, size = queries_of(scene), SCENES[scene].size
    chances = tf.constant(output.class_logits[0].softmax(-1).numpy())
    masks = tf.constant(output.mask_logits.permute(0, 2, 3, 1).numpy())
    things, stuff = list(range(THINGS)), list(range(THINGS, THINGS + STUFF))
    number, label, thing, still, *_ = program._get_mask_id_and_semantic_maps(
        things, stuff, masks, chances, list(size), 0.4, 0.7
    )
    merged = program._merge_mask_id_and_semantic_maps(number, label, thing, still, 255, 1000, 20, 60)[
        0
    ].numpy()
    return {"max_deeplab.panoptic": {"merged": torch.from_numpy(merged.astype(np.int32))}}


def pasted(folder: Path) -> dict[str, Held]:
    program = taken(
        folder / "detectron2/detectron2/layers/mask_ops.py",
        "_do_paste_mask",
        "paste_masks_in_image",
        Boxes=tuple,
        Tuple=tuple,
        GPU_MEM_LIMIT=2**30,
        BYTES_PER_FLOAT=4,
    )
    regions = regions_of()
    masks = program.paste_masks_in_image(regions.mask_logits.sigmoid(), regions.boxes, SIZE)
    return {"detectron2.paste": {"masks": torch.from_numpy(np.packbits(masks.numpy().reshape(-1)))}}, masks


def merged(folder: Path, masks: torch.Tensor) -> dict[str, Held]:
    """Both programs see things as the first of the semantic scores."""
    path = folder / "detectron2/detectron2/modeling/meta_arch/panoptic_fpn.py"
    program = taken(path, "combine_semantic_and_instance_outputs")
    regions = regions_of()
    stuff = functional.interpolate(semantic_logits(), SIZE, mode="bilinear").argmax(1)[0]
    told = (stuff + 1) % (STUFF + 1)
    objects = SimpleNamespace(scores=regions.scores, pred_classes=regions.classes, pred_masks=masks)
    answer = program.combine_semantic_and_instance_outputs(objects, told, 0.5, 200, 0.3)
    for row in answer[1]:
        row["category_id"] += 0 if row["isthing"] else THINGS - 1
    return {"detectron2.merge": map_of(answer), "panopticapi.merge": coco_merged(folder, masks, stuff)}


def coco_merged(folder: Path, masks: torch.Tensor, stuff: torch.Tensor) -> Held:
    import copy
    import json
    import os

    from pycocotools import mask as coco_mask

    known = {"json": json, "os": os}
    colours = taken(folder / "panopticapi/panopticapi/utils.py", "rgb2id", "id2rgb", "IdGenerator", **known)
    program = taken(
        folder / "panopticapi/panopticapi/combine_semantic_and_instance_predictions.py",
        "combine_to_panoptic_single_core",
        COCOmask=coco_mask,
        Image=Image,
        copy=copy,
        os=os,
        **vars(colours),
    )
    regions = regions_of()
    order = sorted(range(len(masks)), key=lambda n: -float(regions.scores[n]))

    def row(mask: np.ndarray, label: int) -> dict[str, Any]:
        coded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"segmentation": coded, "category_id": label + 1}

    objects = [
        row(masks[n].numpy(), int(regions.classes[n])) for n in order if float(regions.scores[n]) >= 0.3
    ]
    rest = [row((stuff == c).numpy(), THINGS + c) for c in range(STUFF)]
    kinds = {
        i + 1: {"id": i + 1, "isthing": int(c.thing), "color": [20 * i + 20, 30, 250 - 20 * i]}
        for i, c in enumerate(CLASSES)
    }
    image = {"height": SIZE[0], "width": SIZE[1], "file_name": "a.png"}
    with tempfile.TemporaryDirectory() as place:
        arguments = (0, [1], {1: image}, {1: objects}, {1: rest}, place, 0.5, 200, kinds)
        (told,) = program.combine_to_panoptic_single_core(*arguments)
        with Image.open(Path(place) / "a.png") as picture:
            numbers = colours.rgb2id(np.array(picture))
    ids = np.zeros(SIZE, np.uint8)
    for place_, entry in enumerate(told["segments_info"], start=1):
        ids[numbers == entry["id"]] = place_
        entry.update(id=place_, category_id=entry["category_id"] - 1)
    return map_of((torch.from_numpy(ids), told["segments_info"]))


def main(folder: Path) -> None:
    held: Held = load_file(OUT) if OUT.exists() else {}
    answers, masks = pasted(folder)
    groups = [("regions", answers), ("regions", merged(folder, masks))]
    for scene in SCENES:
        groups += [(scene, meta_programs(folder, scene)), (scene, detr(folder, scene))]
        if SCENES[scene].size[1] % 2:
            try:
                groups.append((scene, max_deeplab(folder, scene)))
            except ImportError:
                print(f"no TensorFlow: max_deeplab of {scene} stays as it was")
    for scene, found in groups:
        for name, tensors in found.items():
            held |= {f"{scene}.{name}.{key}": tensor.contiguous() for key, tensor in tensors.items()}
    save_file(held, OUT)
    print(f"{len(held)} tensors, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
