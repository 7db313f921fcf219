"""Record detectron2's numbers: ``python record_detectron2.py CHECKOUT [SITE]``.

CHECKOUT is its repository, SITE a folder with fvcore, iopath and yacs. Needs no file of theirs in this
tree; writes mask_rcnn.safetensors and panoptic_fpn.safetensors beside itself. Its compiled part and its data
readers are replaced by empty modules: nothing of them is called. The weights follow ``rule.py`` in the order
of *our* tensors and reach detectron2 through the tables of our cards, read backwards; the cards must give
each of its tensors one of ours and leave none over.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from detectron_cases import CASES, Case
from rule import tap
from safetensors.torch import save_file
from torch import Tensor

from segmentarium.nn import boxes_of
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

FOLDER = Path(__file__).parent
SILENT = ("detectron2._C", "detectron2.data", "detectron2.evaluation", "pycocotools", "matplotlib", "hydra")


class Silence(MetaPathFinder, Loader):
    """Modules in which every name is an empty class."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        known = any(name == one or name.startswith(f"{one}.") for one in (*SILENT, "omegaconf"))
        return ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        class Empty(ModuleType):
            def __getattr__(self, name: str) -> Any:
                if name.startswith("__"):
                    raise AttributeError(name)
                return type(name, (), {})

        return Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__path__ = []


def reference(case: Case, checkout: str) -> Any:
    """detectron2's network with our tensors, in double precision."""
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    keep_double()
    cfg = get_cfg()
    cfg.merge_from_file(f"{checkout}/configs/{case.file}")
    cfg.MODEL.DEVICE = "cpu"
    cfg.merge_from_list([part for pair in case.settings.items() for part in pair])
    theirs = build_model(cfg).eval()
    own = case.network().state_dict()
    entry = read_card(case.architecture).sources[case.source]
    state = theirs.state_dict()
    for name, tensor in state.items():
        renamed = list(translated({name: tensor}, entry))
        if not renamed:
            continue
        value = own.pop(renamed[0])
        rolled = any(part in renamed[0] for part in ("semantic.classify",) if entry.roll)
        tensor.copy_(value.roll(1, 0) if rolled else value)
    left = [name for name in own if not name.endswith("num_batches_tracked")]
    assert not left, left
    return theirs


def keep_double() -> None:
    """It rounds boxes, shifts and some scores to single precision wherever it is safe to; here nowhere."""
    from detectron2.structures import Boxes

    def keep(self: Any, tensor: Tensor) -> None:
        self.tensor = tensor.reshape(-1, 4)

    Boxes.__init__ = keep
    Tensor.float = Tensor.double  # type: ignore[method-assign, assignment]
    torch.set_default_dtype(torch.float64)  # for its anchors


def flow(model: Any, images: Tensor) -> dict[str, Tensor]:
    """What it computes on its way, under our names."""
    batch = model.preprocess_image([{"image": image} for image in images])
    features = model.backbone(batch.tensor)
    maps = list(features.values())
    seen = {f"pyramid {level}": own for level, own in enumerate(maps)}
    for level, (a, b) in enumerate(zip(*model.proposal_generator.rpn_head(maps), strict=True)):
        seen |= {f"objectness {level}": a, f"shifts {level}": b}
    proposals, _ = model.proposal_generator(batch, features, None)
    heads = model.roi_heads
    regions = heads.box_pooler(maps[:-1], [own.proposal_boxes for own in proposals])
    kinds, moves = heads.box_predictor(heads.box_head(regions))
    seen["proposals"] = torch.cat([own.proposal_boxes.tensor for own in proposals])
    seen |= {"regions": regions, "classes": kinds, "moves": moves}
    found, _ = heads(batch, features, proposals)
    seen["boxes"] = torch.cat([own.pred_boxes.tensor for own in found])
    seen["scores"] = torch.cat([own.scores for own in found])
    seen["kinds"] = torch.cat([own.pred_classes for own in found])
    boxes = [own.pred_boxes for own in found]
    if heads.mask_on:
        seen["masks"] = heads.mask_head.layers(heads.mask_pooler(maps[:-1], boxes))
        seen["found masks"] = torch.cat([own.pred_masks for own in found])[:, 0]
    if heads.keypoint_on:
        seen["keypoints"] = torch.cat([own.pred_keypoint_heatmaps for own in found])
    if hasattr(model, "sem_seg_head"):
        logits = model.sem_seg_head.layers(features).roll(-1, 1)
        seen["semantic"] = logits[..., : images.shape[-2] // 4, : images.shape[-1] // 4]
    return seen


def losses(model: Any, images: Tensor, case: Case) -> dict[str, Tensor]:
    """The terms of a step, unweighted, under our names."""
    from detectron2.structures import BitMasks, Boxes, Instances, Keypoints
    from detectron2.utils.events import EventStorage

    truths, keypoints = case.truths()
    things = getattr(case.config, "things", case.config.classes)
    batch = []
    for image, truth, points in zip(images, truths, keypoints, strict=True):
        count = truth.classes < things
        own = Instances(tuple(image.shape[-2:]))
        own.gt_boxes = Boxes(boxes_of(truth.masks[count]).double())
        own.gt_classes, own.gt_masks = truth.classes[count], BitMasks(truth.masks[count])
        own.gt_keypoints = Keypoints(points * torch.tensor([1, 1, 2]))
        labels = torch.full(tuple(image.shape[-2:]), 255)
        for mask, kind in zip(truth.masks, truth.classes, strict=True):
            labels[mask] = 0 if kind < things else kind - things + 1
        batch.append({"image": image, "instances": own, "sem_seg": labels})
    with EventStorage():
        found = model.train()(batch)
    names = {
        "rpn_objectness": "loss_rpn_cls",
        "rpn_box": "loss_rpn_loc",
        "class": "loss_cls",
        "box": "loss_box_reg",
        "keypoint": "loss_keypoint",
        "semantic": "loss_sem_seg",
    }
    if "loss_sem_seg" in found:
        found["loss_sem_seg"] = found["loss_sem_seg"] / model.sem_seg_head.loss_weight
    return {f"term {ours}": found[name] for ours, name in names.items() if name in found}


def record(case: Case, checkout: str) -> tuple[dict[str, Tensor], list[str]]:
    model = reference(case, checkout)
    images = case.images()
    with torch.no_grad():
        seen = flow(model, images) | losses(model, images, case)
    kept = {name: tap(v) if v.ndim == 4 else v.detach() for name, v in seen.items()}
    single = {
        name: (v.to(torch.float32) if v.is_floating_point() else v).contiguous() for name, v in kept.items()
    }
    return single, list(model.state_dict())


if __name__ == "__main__":
    sys.path[:0] = sys.argv[1:]
    sys.meta_path.insert(0, Silence())
    for architecture in ("mask_rcnn", "panoptic_fpn"):
        held, names = {}, {}
        for title, case in CASES.items():
            if case.architecture == architecture:
                values, listed = record(case, sys.argv[1])
                held |= {f"{title}.{name}": value for name, value in values.items()}
                names[title] = "\n".join(listed)
        path = FOLDER / f"{architecture}.safetensors"
        save_file(held, path, metadata=names)
        print(f"{architecture}: {len(held)} tensors, {path.stat().st_size:,} bytes")
