"""What comes before the first step: the folder, the data and its doctor, the devices, the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from segmentarium.data import open_data
from segmentarium.data.batch import Samples
from segmentarium.data.borders import Borders
from segmentarium.data.dataset import DataSet, Pair
from segmentarium.data.loader import TrainBatches
from segmentarium.data.normalise import Normalise
from segmentarium.data.pictures import Pictures, SegmentedPictures
from segmentarium.data.volume_normalise import NormaliseVolume
from segmentarium.data.volume_samples import Volumes
from segmentarium.data.volumes import read_pair
from segmentarium.engine.check import CheckReport, check
from segmentarium.engine.checkpoint import Checkpoint
from segmentarium.engine.device import Device, choose_device
from segmentarium.engine.doors import door_of
from segmentarium.engine.encoder_weights import take_encoder
from segmentarium.engine.events import Event, Note, Started
from segmentarium.engine.learner import Learner
from segmentarium.engine.load import load
from segmentarium.engine.networks import make, require_refinable, show_levels
from segmentarium.engine.recipe import Recipe
from segmentarium.engine.reproducible import seeded
from segmentarium.engine.runfolder import RunFolder
from segmentarium.engine.subject import Subject, output_of, subject_of
from segmentarium.errors import BadData, BadRecipe, WeightsMismatch
from segmentarium.losses.named import named
from segmentarium.models import ModelName, count_parameters
from segmentarium.nn.refined import Refined
from segmentarium.ops.class_balance import RULES, of_mean_one

LOOKED_AT = 64
"""So many training images, evenly spread, are measured for their mean and deviation."""
COUNTED = 500
"""So many training masks, evenly spread, are counted for the weights of classes."""

_FIRST_WEIGHTS = 0
_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """All that a run is made from; ``checkpoint`` is what it goes on from, if anything."""

    recipe: Recipe
    folder: RunFolder
    fabric: Fabric
    data: DataSet
    subject: Subject
    normalise: Normalise | NormaliseVolume
    checkpoint: Checkpoint | None
    opening: tuple[Event, ...]

    @property
    def threads(self) -> int | None:
        """Threads of torch that the run began with."""
        return int(self.checkpoint.progress["threads"]) if self.checkpoint else None

    @cached_property
    def class_weights(self) -> Float[Tensor, " k"] | None:
        """How much a pixel of each class counts, as the recipe has it."""
        return class_weights(self.recipe.train.class_weights, self.data)

    @property
    def borders(self) -> Borders | None:
        """U-Net's weight map, if the recipe asks for it; the weights of classes are a part of it then."""
        train = self.recipe.train
        if not train.border_w0:
            return None
        ground, thing = [1.0, 1.0] if self.class_weights is None else self.class_weights.tolist()[:2]
        return Borders(w0=train.border_w0, sigma_px=train.border_sigma_px, class_weights=(ground, thing))

    def learner(self) -> Learner:
        """The network with its first weights, its loss and its optimiser."""
        recipe, subject = self.recipe, self.subject
        with seeded(torch.device("cpu"), recipe.seed, _FIRST_WEIGHTS):
            name = ModelName.parse(recipe.model)
            network = make(
                str(name._replace(weights="")),
                refine=recipe.refine,
                classes=len(subject.classes),
                in_channels=self.normalise.channels,
                things=subject.things,
            )
        if name.weights and self.checkpoint is None:
            inner = network.network if isinstance(network, Refined) else network
            take_over(inner, load(recipe.model, device="cpu", quick=False).network)
        show_levels(network, self.normalise)
        if recipe.encoder_weights and self.checkpoint is None:
            take_encoder(network, recipe.encoder_weights)
        weights = None if self.borders else self.class_weights
        door = door_of(network, recipe.train, class_weights=weights)
        return Learner(network, door, recipe.train, self.fabric, seed=recipe.seed)

    def batches(self) -> TrainBatches:
        """The batches of this process."""
        train = self.recipe.train
        return TrainBatches(
            self._samples(),
            batch=train.batch,
            seed=self.recipe.seed,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
            workers=train.workers,
        )

    def _samples(self) -> Samples:
        recipe, subject = self.recipe, self.subject
        if isinstance(self.normalise, NormaliseVolume):
            return Volumes(
                self.data,
                normalise=self.normalise,
                augment=recipe.augment3d,
                crop=recipe.train.patch,
                spacing_mm=recipe.volumes.target_mm,
            )
        look: dict[str, Any] = {
            "normalise": self.normalise,
            "augment": recipe.augment,
            "crop": recipe.train.window,
            "memory_format": torch.channels_last,
        }
        if subject.by_masks and subject.task != "semantic":
            return SegmentedPictures(self.data, index=subject.index, **look)
        return Pictures(self.data, borders=self.borders, **look)


def prepare(
    recipe: Recipe, folder: RunFolder, *, resume: bool, check_first: bool, overwrite: bool
) -> Prepared:
    """Look before the leap; see :func:`segmentarium.engine.train.train` for what is refused."""
    device = choose_device(recipe.train.device)
    # a model or a loss that does not exist is told before all else
    count_parameters(recipe.model, classes=2, in_channels=3)
    require_refinable(recipe.model, recipe.refine)
    if output_of(recipe.model) == "semantic":
        named(recipe.train.loss)
    fabric = make_fabric(recipe, device)
    resuming = resume and folder.checkpoints.exists()
    data = open_data(recipe.data_folder)
    subject = subject_of(data, model=recipe.model, task=recipe.task)
    _require_axes(recipe, data)
    if recipe.train.border_w0:
        data.require_objects()
    fabric.barrier()
    if resuming:
        checkpoint, normalise, remarks = _taken_up(folder, recipe, data, fabric)
    else:
        checkpoint, remarks = (
            None,
            [Note(text=f"nothing to resume in {folder.path}: training begins anew")] * resume,
        )
        if not (resume or overwrite) and fabric.is_global_zero:
            folder.refuse_if_taken()
        normalise, reason = fit_normalise(data, recipe)
        notes = [Note(text=text) for text in (*data.notes, f"normalise: {reason}")]
        if fabric.is_global_zero:
            notes += _begin(folder, recipe, data, device, check_first=check_first)
    step = checkpoint.step if checkpoint else 0
    started = _started(recipe, folder, data, subject, device, normalise, step=step)
    if not resuming and fabric.is_global_zero:
        for event in (started, *notes):
            folder.log(event)
        remarks += notes
    fabric.barrier()
    return Prepared(
        recipe=recipe,
        folder=folder,
        fabric=fabric,
        data=data,
        subject=subject,
        normalise=normalise,
        checkpoint=checkpoint,
        opening=(started, *remarks),
    )


def _require_axes(recipe: Recipe, data: DataSet) -> None:
    if len(recipe.train.crop) != data.dimensions:
        axes = {2: "[height, width] of pictures", 3: "[depth, height, width] of volumes"}
        raise BadRecipe(
            f"recipe.train.crop: got {list(recipe.train.crop)} for {data.root}",
            allowed=axes[data.dimensions],
            cure=f"`seg plan {data.root}` writes a recipe that fits",
        )


def _taken_up(
    folder: RunFolder, recipe: Recipe, data: DataSet, fabric: Fabric
) -> tuple[Checkpoint, Normalise | NormaliseVolume, list[Note]]:
    """The checkpoint to go on from; the record of the run is cut to it."""
    folder.require_same_settings(recipe)
    folder.require_same_data(data)
    checkpoint, troubles = folder.checkpoints.latest()
    if fabric.is_global_zero:
        folder.checkpoints.settle(checkpoint.step)
        if not folder.rewind(checkpoint.progress["events_bytes"]):
            troubles = (*troubles, "events.jsonl is shorter than it was: the record of this run has a gap")
    notes = [Note(text=trouble, level="warning") for trouble in troubles]
    kind = NormaliseVolume if data.dimensions == 3 else Normalise
    return checkpoint, kind.from_json(checkpoint.progress["normalise"]), notes


def fit_normalise(data: DataSet, recipe: Recipe) -> tuple[Normalise | NormaliseVolume, str]:
    """How intensities are normalised, measured on training images, and why so in a sentence."""
    if data.dimensions == 3:
        pairs = (read_pair(pair, data) for pair in _spread(data.train, LOOKED_AT))
        bodies = ((volume.banded, labels) for volume, labels in pairs)
        return NormaliseVolume.fit(bodies, modality=recipe.volumes.modality)
    return Normalise.fit(_images(data))


def _begin(
    folder: RunFolder, recipe: Recipe, data: DataSet, device: Device, *, check_first: bool
) -> list[Note]:
    """Let the doctor look, then lay out the folder; returns the doctor's warnings."""
    report = examine(data) if check_first else None
    folder.clear()
    report = report.illustrated(folder.path / "check") if report else None
    folder.begin(recipe, data, device, check=report.as_dict() if report else None)
    warnings = report.warnings if report else ()
    return [
        Note(text=f"{finding.fault}: {finding.message}; {finding.cure}", level="warning")
        for finding in warnings
    ]


def _started(
    recipe: Recipe,
    folder: RunFolder,
    data: DataSet,
    subject: Subject,
    device: Device,
    normalise: Normalise | NormaliseVolume,
    *,
    step: int,
) -> Started:
    return Started(
        step=step,
        steps=recipe.train.steps,
        model=recipe.model,
        task=subject.task,
        parameters=count_parameters(
            recipe.model, classes=len(subject.classes), in_channels=normalise.channels, things=subject.things
        ),
        device=device.name,
        why=device.why,
        train_images=len(data.train),
        val_images=len(data.val),
        classes=subject.classes.names,
        out=str(folder.path),
    )


def make_fabric(recipe: Recipe, device: Device) -> Fabric:
    """Devices, precision and processes; under ``torchrun`` its processes are used."""
    precision = recipe.train.precision
    if precision == "16" and device.kind != "cuda":
        raise BadRecipe(
            f"recipe.train.precision: 16 on {device.name}",
            allowed="16 on cuda, elsewhere 32 or bf16",
            cure="use bf16",
        )
    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    devices: int | list[int] = local if world > 1 else [device.index] if device.kind == "cuda" else 1
    fabric = Fabric(
        accelerator=device.kind,
        devices=devices,
        num_nodes=world // local if world > 1 else 1,
        strategy="ddp" if world > 1 else "auto",
        precision=_PRECISIONS[precision],
    )
    fabric.launch()
    return fabric


def examine(data: DataSet) -> CheckReport:
    """Ask the data set doctor.

    Raises:
        BadData: it found errors; the first three are told.
    """
    report = check(data.root)
    if report.errors:
        told = "; ".join(f"{finding.fault}: {finding.message}" for finding in report.errors[:3])
        more = f" and {len(report.errors) - 3} more" if len(report.errors) > 3 else ""
        fix = f", or `seg check {data.root} --fix FOLDER`" if any(f.fixable for f in report.errors) else ""
        raise BadData(f"{data.root} has errors: {told}{more}", cure=f"{report.errors[0].cure}{fix}")
    return report


def take_over(network: nn.Module, trained: nn.Module) -> None:
    """Give ``network`` the weights of ``trained`` that fit; where classes differ, its last layer stays new.

    Raises:
        WeightsMismatch: less than half of the tensors fit.
    """
    own, known = network.state_dict(), trained.state_dict()
    fitting = {
        name: known[name] for name, value in own.items() if name in known and known[name].shape == value.shape
    }
    if 2 * len(fitting) < len(own):
        raise WeightsMismatch(
            f"{len(fitting)} of {len(own)} tensors fit the network",
            allowed="weights of the same architecture and variant",
            cure="name the model as its weights were trained",
        )
    network.load_state_dict(own | fitting)


def class_weights(kind: str, data: DataSet) -> Float[Tensor, " k"] | None:
    """How much a pixel of each class counts, by the pixels of the training masks; the mean over classes is 1.

    ``kind`` is ``none`` or one of :data:`segmentarium.ops.class_balance.RULES`. A class without pixels counts
    0.
    """
    if kind == "none":
        return None
    counts = np.stack([_pixels(data, pair) for pair in _spread(data.train, COUNTED)])
    return torch.tensor(of_mean_one(RULES[kind](counts)), dtype=torch.float32)


def _pixels(data: DataSet, pair: Pair) -> np.ndarray:
    labels = data.labels(pair)
    return np.bincount(labels[labels >= 0], minlength=len(data.classes))


def _spread(pairs: tuple[Pair, ...], count: int) -> list[Pair]:
    """At most ``count`` pairs with a mask, evenly spread."""
    masked = [pair for pair in pairs if pair.mask is not None]
    return [masked[i * len(masked) // count] for i in range(count)] if len(masked) > count else masked


def _images(data: DataSet) -> Iterator[np.ndarray]:
    return (data.image(pair).pixels for pair in _spread(data.train, LOOKED_AT))
