"""What a plan chooses for a data set, and why: network, crop, augmentation, loss.

Each function writes a sentence into ``reasons`` by recipe key.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from segmentarium.data import DataSet
from segmentarium.data.transforms import Augment
from segmentarium.data.volume_augment import Augment3d
from segmentarium.engine.device import Device
from segmentarium.engine.fingerprint import Fingerprint
from segmentarium.engine.recipe import Recipe, Train, Volumes
from segmentarium.engine.subject import Task
from segmentarium.errors import BadData

Reasons = dict[str, str]

MOST_VOXELS = 96
"""Longest side of a training patch of a volume on a CPU."""
_UNIT = 8
"""Sides of patches are multiples of it, for three poolings."""


def choose_task(data: DataSet, reasons: Reasons, *, task: str, model: str | None) -> str:
    """The task that the description of the data names, unless the user or the network says otherwise."""
    if task or model or data.dimensions == 3:
        return task
    told = data.task.lower()
    if not data.tasks:
        raise BadData(f"{data.root} teaches nothing that a network learns", cure="see `seg check`")
    named: list[Task] = ["panoptic", "instance", "semantic"]
    chosen = next((one for one in named if one in told and one in data.tasks), data.tasks[0])
    if len(data.tasks) > 1:
        others = " or ".join(f"--task {one}" for one in data.tasks if one != chosen)
        reasons["task"] = f"{chosen}: so the data set describes itself; {others} is possible, too"
    return chosen


def choose_model(facts: Fingerprint, task: str, dimensions: int, device: Device, reasons: Reasons) -> str:
    """A network that learns something in the time that people have, on the device that is there."""
    gpu = device.name.startswith("cuda")
    few = len(facts.class_share) <= 3
    if dimensions == 3:
        name, why = "unet_3d-small", "volumes; deep enough for structures of some centimetres"
    elif task == "instance":
        name, why = ("mask_rcnn", "a GPU is there") if gpu else ("mask_rcnn-resnet18", "a CPU; small anchors")
    elif task == "panoptic":
        name, why = ("mask2former", "a GPU is there") if gpu else ("mask2former-small", "a CPU")
    elif gpu:
        name, why = "unet-resnet34", "a GPU is there, and a residual encoder learns more per step"
    elif few:
        name, why = "unet-small", "full resolution at few parameters, on a CPU"
    else:
        name, why = "unet-fast", "a strided stem sees far cheaply, on a CPU"
    reasons["model"] = f"{name}: {len(facts.class_share)} classes; {why}"
    return name


def choose_augment(facts: Fingerprint, reasons: Reasons, *, seek_rare: bool) -> Augment:
    """Flips, turns and zoom that cannot teach anything false."""
    rare, share = facts.rarest
    seek = 0.33 if share < 0.02 and seek_rare else 0.0
    if facts.upright:
        reasons["augment.flips"] = "left-right only: classes have their own height in the picture"
    else:
        reasons["augment.flips"] = "all ways and quarter turns: nothing in the truth tells up from down"
    if seek:
        reasons["augment.foreground_crop"] = (
            f"a third of the crops are placed on rare classes: {rare!r} has {share:.2%} of pixels"
        )
    turned = not facts.upright
    zoom = (0.6, 1.5) if facts.upright else (0.75, 1.33)
    reasons["augment.scale"] = f"{zoom[0]} to {zoom[1]}: " + (
        "things in scenes come at all distances"
        if facts.upright
        else "a microscope or a camera above keeps its scale"
    )
    return Augment(scale=zoom, vflip=0.5 if turned else 0.0, rot90=turned, foreground_crop=seek)


def for_volumes(draft: Recipe, facts: Fingerprint, reasons: Reasons, *, crop: int | None) -> Recipe:
    """The draft with what is special to volumes: spacing, patch, augmentation."""
    spacing = facts.spacing_mm or (1.0, 1.0, 1.0)
    told = " x ".join(f"{step:g}" for step in spacing)
    reasons["volumes.spacing_mm"] = f"{told} mm: the median of the training volumes"
    median = facts.sizes["median"]
    sides = [crop or min(MOST_VOXELS, -(-side // _UNIT) * _UNIT) for side in median]
    reasons["train.crop"] = (
        "as asked for"
        if crop
        else f"median volume {'x'.join(map(str, median))} voxels, at most {MOST_VOXELS} a side"
    )
    reasons["augment3d.flip"] = "none: left is not right in a body; small turns, zoom and intensities instead"
    return replace(
        draft,
        volumes=Volumes(spacing_mm=tuple(round(step, 4) for step in spacing)),
        augment3d=Augment3d(flip=(0.0, 0.0, 0.0), rotate_deg=15.0),
        train=replace(draft.train, crop=tuple(sides), batch=2, lr=2e-3),
    )


def choose_train(
    facts: Fingerprint,
    device: Device,
    wishes: dict[str, Any],
    reasons: Reasons,
    *,
    own_loss: bool,
) -> Train:
    """Crop, batch, rate and loss of pictures.

    Args:
        wishes: ``crop``, ``batch`` and ``device`` as asked for, None where nothing was.
        own_loss: whether the network has a loss of its own.
    """
    gpu, crop = device.name.startswith("cuda"), wishes["crop"]
    most = 512 if gpu else 256
    median = facts.sizes["median"][-2:]
    sides = [crop] * 2 if crop else [min(most, -(-side // 32) * 32) for side in median]
    reasons["train.crop"] = (
        "as asked for"
        if crop
        else f"median image {median}, at most {most} on {device.name}, a multiple of 32"
    )
    train = Train(
        crop=(sides[0], sides[1]),
        batch=wishes["batch"] or (16 if gpu else 8),
        lr=1e-3,
        weight_decay=0.02,
        precision="bf16" if gpu else "32",
        clip_norm=5.0,
        device=wishes["device"],
    )
    if own_loss:
        reasons["train.lr"] = "5e-4 by AdamW, gradients clipped at 1: networks that find objects learn slowly"
        batch = wishes["batch"] or (16 if gpu else 4)
        return replace(train, batch=batch, lr=5e-4, weight_decay=0.05, clip_norm=1.0, loss={})
    _, share = facts.rarest
    if share < 0.05:
        reasons["train.class_weights"] = (
            f"square root of rarity: the rarest class has {share:.2%} of the labelled pixels"
        )
    reasons["train.loss"] = (
        "cross-entropy for the pixels, Dice for the shapes: the sum is robust to imbalance"
    )
    loss: dict[str, float | dict[str, Any]] = {"cross_entropy": 1.0, "dice": 0.5}
    return replace(train, loss=loss, class_weights="inverse_sqrt" if share < 0.05 else "none")
