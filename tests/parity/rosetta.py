"""The table of disagreements: small inputs on which tools mean other numbers by the same words.

Each row computes every number twice: with our protocol or setting of that name, and with the tool itself
where it installs from the package registry. ``python tests/parity/rosetta.py`` writes ``rosetta.toml``, from
which ``docs/make_metrics.py`` makes the documentation; ``test_rosetta.py`` compares all three.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segmentarium import losses
from segmentarium.metrics.boundaries import boundary_iou, inner_band
from segmentarium.metrics.calibration import calibration_scores
from segmentarium.metrics.contingency import joint_histogram
from segmentarium.metrics.panoptic import Segments, panoptic_quality
from segmentarium.metrics.partitions import adapted_rand_error
from segmentarium.metrics.regions import Regions
from segmentarium.metrics.surface import measure_surfaces
from segmentarium.nn.upsampling import bilinear, nearest
from segmentarium.values.classes import Classes

Number = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One quantity on one input; ``tools`` holds those of ``ours`` whose tool can be run here."""

    quantity: str
    input: str
    ours: dict[str, Number]
    tools: dict[str, Number] = field(default_factory=dict)


def shown(value: Any) -> str:
    """A number as the table shows it: five digits behind the point, or the list of a row of pixels."""
    if isinstance(value, list | tuple):
        return " ".join(f"{v:g}" for v in value)
    return str(float(value)) if not math.isfinite(value) else f"{value:.5f}"


# --- masks and maps ---


def discs() -> tuple[np.ndarray, np.ndarray]:
    """Two discs of radius 15, 3 pixels apart, and 9 pixels of prediction far away."""
    rows, columns = np.mgrid[:64, :64]
    truth = (rows - 32) ** 2 + (columns - 30) ** 2 <= 15**2
    found = (rows - 32) ** 2 + (columns - 33) ** 2 <= 15**2
    found[2:5, 2:5] = True
    return found, truth


def _monai(function: str, **settings: Any) -> Number:
    def call() -> float:
        import monai.metrics as tool

        masks = [torch.from_numpy(mask)[None, None].float() for mask in discs()]
        return float(getattr(tool, function)(*masks, include_background=True, **settings))

    return call


def _deepmind(of: Callable[[Any, Any], float]) -> Number:
    def call() -> float:
        import surface_distance

        found, truth = discs()
        with patch.object(np, "Inf", np.inf, create=True):  # its release wants the NumPy of its time
            return of(surface_distance, surface_distance.compute_surface_distances(truth, found, (1.0, 1.0)))

    return call


def _medpy(function: str) -> Number:
    def call() -> float:
        import medpy.metric.binary as tool

        return float(getattr(tool, function)(*discs()))

    return call


def surface_rows() -> list[Row]:
    def ours(measure: str, protocol: str) -> Number:
        return lambda: getattr(measure_surfaces(*discs(), protocol=protocol), measure)

    words = "two discs of radius 15, 3 pixels apart, and an outlier of 9 pixels"
    return [
        Row(
            quantity="HD95",
            input=words,
            ours={name: ours("hd95", name) for name in ("monai", "medpy", "deepmind-surface")},
            tools={
                "monai": _monai("compute_hausdorff_distance", percentile=95),
                "medpy": _medpy("hd95"),
                "deepmind-surface": _deepmind(lambda tool, d: tool.compute_robust_hausdorff(d, 95)),
            },
        ),
        Row(
            quantity="average symmetric surface distance",
            input=words,
            ours={name: ours("assd", name) for name in ("monai", "mean-of-means", "deepmind-surface")},
            tools={"monai": _monai("compute_average_surface_distance", symmetric=True)},
        ),
        Row(
            quantity="normalised surface Dice at 1 pixel",
            input=words,
            ours={name: ours("nsd", name) for name in ("monai", "deepmind-surface")},
            tools={
                "monai": _monai("compute_surface_dice", class_thresholds=[1.0]),
                "deepmind-surface": _deepmind(lambda tool, d: tool.compute_surface_dice_at_tolerance(d, 1)),
            },
        ),
        Row(
            quantity="boundary IoU",
            input=f"{words}; band of 2 % of the diagonal",
            ours={
                "Chebyshev band (official)": lambda: boundary_iou(*discs()),
                "Euclidean band": lambda: _euclidean_boundary_iou(),
            },
        ),
    ]


def _euclidean_boundary_iou() -> float:
    from scipy.ndimage import distance_transform_edt

    bands = [m & (distance_transform_edt(np.pad(m, 1))[1:-1, 1:-1] <= 2) for m in discs()]
    assert inner_band(discs()[0], width=2).any()
    return float((bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum())


def maps() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Three pairs of label maps with four classes, of which one occurs nowhere."""
    rng = np.random.default_rng(7)
    truths, found = [], []
    for image in range(3):
        truth = rng.integers(0, 2 + image % 2, (8, 8))
        wrong = rng.random((8, 8)) < 0.3
        truths.append(truth)
        found.append(np.where(wrong, rng.integers(0, 3, (8, 8)), truth))
    return found, truths


def region_rows() -> list[Row]:
    def ours(protocol: str, score: str) -> Number:
        def call() -> float:
            regions = Regions(4)
            for pair in zip(*maps(), strict=True):
                regions.update(*pair)
            return float(getattr(regions.compute(protocol=protocol, rounds=0), score))

        return call

    iou = (
        "dataset",
        "image",
        "torchmetrics-mean-iou",
        "monai",
        "monai-keep-empty",
        "smp",
        "smp-imagewise",
        "sklearn",
    )
    return [
        Row(
            quantity="mean IoU",
            input="three pairs of maps of four classes; one occurs nowhere, one is found where it is not",
            ours={name: ours(name, "mean_iou") for name in iou},
            tools={"sklearn": _sklearn_iou, "torchmetrics-mean-iou": _torchmetrics_iou, "monai": _monai_iou},
        ),
        Row(
            quantity="Dice of two empty masks",
            input="prediction and truth without a pixel of the class",
            ours={
                name: _empty_dice(name)
                for name in ("dataset", "monai-keep-empty", "smp", "sklearn", "simpleitk")
            },
        ),
    ]


def _empty_dice(protocol: str) -> Number:
    def call() -> float:
        regions = Regions(2)
        regions.update(np.zeros((4, 4), np.int64), np.zeros((4, 4), np.int64))
        scores = regions.compute(protocol=protocol, rounds=0)
        if protocol == "simpleitk":
            return float(scores.mean_dice or 0)
        assert scores.dice is not None
        return float(scores.dice[1])

    return call


def _sklearn_iou() -> float:
    from sklearn.metrics import jaccard_score

    found, truths = (np.stack(part).ravel() for part in maps())
    return float(jaccard_score(truths, found, labels=range(4), average="macro", zero_division=0))


def _torchmetrics_iou() -> float:
    from torchmetrics.segmentation import MeanIoU

    tool = MeanIoU(4, input_format="index")
    tool.update(*(torch.from_numpy(np.stack(part)) for part in maps()))
    return float(tool.compute())


def _monai_iou() -> float:
    from monai.metrics import MeanIoU

    tool = MeanIoU()
    tool(*(functional.one_hot(torch.from_numpy(np.stack(part)), 4).movedim(-1, 1).float() for part in maps()))
    return float(tool.aggregate())


# --- panoptic quality ---

_CLASSES = Classes.from_json(
    [{"id": 0, "name": "thing", "isthing": True}, {"id": 1, "name": "stuff", "isthing": False}]
)


def _segments(ids: np.ndarray, classes_of: dict[int, int]) -> Segments:
    numbers = np.array(sorted(set(np.unique(ids)) - {0}), np.int64)
    kinds = np.array([classes_of[int(n)] for n in numbers], np.int64)
    return Segments(
        ids=ids.astype(np.int32), numbers=numbers, classes_of=kinds, crowd=np.zeros(len(numbers), bool)
    )


def _scenes() -> dict[str, tuple[Segments, Segments]]:
    kinds = {1: 0, 2: 1, 3: 1}
    whole = np.full((10, 10), 2)
    whole[:4, :] = 1
    void = np.where(whole == 1, 0, whole)
    part = whole.copy()
    part[3, :] = 0
    split = whole.copy()
    split[7:, :] = 3
    truth = _segments(whole, kinds)
    return {
        "a thing predicted entirely void": (_segments(void, kinds), truth),
        "30 of a thing's 40 pixels found, the rest predicted void": (_segments(part, kinds), truth),
        "stuff split into two segments": (_segments(split, kinds), truth),
    }


def _torchmetrics_pq(found: Segments, truth: Segments) -> Number:
    def call() -> float:
        from torchmetrics.detection import PanopticQuality

        def pairs(segments: Segments) -> Tensor:
            kinds = dict(zip(segments.numbers.tolist(), segments.classes_of.tolist(), strict=True)) | {0: 9}
            kind = np.vectorize(kinds.__getitem__)(segments.ids)
            return torch.from_numpy(np.stack([kind, segments.ids], -1))[None]

        tool = PanopticQuality(things={0}, stuffs={1}, allow_unknown_preds_category=True)
        tool.update(pairs(found), pairs(truth))
        return float(tool.compute())

    return call


def panoptic_rows() -> list[Row]:
    def ours(pair: tuple[Segments, Segments], protocol: str) -> Number:
        return lambda: panoptic_quality(*pair, classes=_CLASSES, protocol=protocol).all.pq

    return [
        Row(
            quantity="panoptic quality",
            input=words,
            ours={name: ours(pair, name) for name in ("panopticapi", "torchmetrics")},
            tools={"torchmetrics": _torchmetrics_pq(*pair)},
        )
        for words, pair in _scenes().items()
    ]


# --- partitions and calibration ---


def partitions() -> tuple[np.ndarray, np.ndarray]:
    """Six regions and membrane, of which the prediction joins two, splits one and loses a corner."""
    truth = np.kron(np.array([[1, 2, 3], [4, 5, 6]]), np.ones((8, 8), int))
    truth[:, 7] = 0
    found = np.where(truth == 2, 1, truth)
    found[12:, 16:] = 7
    found[:3, :3] = 0
    return found, truth


def partition_rows() -> list[Row]:
    def ours(protocol: str) -> Number:
        found, truth = partitions()
        return lambda: adapted_rand_error(joint_histogram(found, truth), protocol=protocol).error

    def skimage() -> float:
        from skimage.metrics import adapted_rand_error as tool

        found, truth = partitions()
        return float(tool(truth, found)[0])

    return [
        Row(
            quantity="adapted Rand error",
            input="six regions and membrane; two joined, one split, a corner lost",
            ours={name: ours(name) for name in ("skimage", "cremi", "snemi")},
            tools={"skimage": skimage},
        )
    ]


def calibration_rows() -> list[Row]:
    rng = np.random.default_rng(0)
    probs = rng.random((40, 40)).astype(np.float32)
    truth = (rng.random((40, 40)) < probs**1.3).astype(np.int64)

    def torchmetrics() -> float:
        from torchmetrics.classification import BinaryCalibrationError

        tool = BinaryCalibrationError(n_bins=15)
        tool.update(torch.from_numpy(probs), torch.from_numpy(truth))
        return float(tool.compute())

    return [
        Row(
            quantity="expected calibration error, binary",
            input="1600 probabilities that are somewhat too high, 15 bins",
            ours={
                name: lambda name=name: calibration_scores(probs, truth, classes=2, protocol=name).ece  # type: ignore[misc]
                for name in ("confidence", "torchmetrics")
            },
            tools={"torchmetrics": torchmetrics},
        )
    ]


# --- losses and upsampling ---


def batch() -> tuple[Tensor, Tensor]:
    """Logits of three classes, of which the labels hold two."""
    draw = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, 6, 7, generator=draw), torch.randint(0, 2, (2, 6, 7), generator=draw)


def _loss(loss: losses.Loss, scale: float = 1.0) -> Number:
    return lambda: scale * float(loss(*batch()))


def _monai_loss(kind: str, **settings: Any) -> Number:
    def call() -> float:
        import monai.losses as tool

        logits, labels = batch()
        return float(getattr(tool, kind)(to_onehot_y=True, **settings)(logits, labels[:, None]))

    return call


def _smp_loss(kind: str, **settings: Any) -> Number:
    def call() -> float:
        from segmentation_models_pytorch import losses as tool

        return float(getattr(tool, kind)("multiclass", **settings)(*batch()))

    return call


def _kornia_loss(name: str, *settings: Any) -> Number:
    def call() -> float:
        import kornia.losses as tool

        return float(getattr(tool, name)(*batch(), *settings))

    return call


def loss_rows() -> list[Row]:
    image: dict[str, Any] = {"over": "image", "absent": "count", "smooth_nr": 1e-5, "smooth_dr": 1e-5}
    words = "logits of three classes, one of them in no label"
    dice, focal, tversky = losses.Dice, losses.Focal, losses.Tversky
    return [
        Row(
            quantity="Dice loss",
            input=words,
            ours={"ours": _loss(dice()), "monai": _loss(dice(**image)), "smp": _loss(dice(absent="zero"))},
            tools={"monai": _monai_loss("DiceLoss", softmax=True), "smp": _smp_loss("DiceLoss")},
        ),
        Row(
            quantity="generalised Dice loss",
            input=words,
            ours={
                "ours": _loss(losses.GeneralizedDice()),
                "monai": _loss(
                    losses.GeneralizedDice(
                        weight_of_absent="largest", over="image", smooth_nr=1e-5, smooth_dr=1e-5
                    )
                ),
            },
            tools={"monai": _monai_loss("GeneralizedDiceLoss", softmax=True)},
        ),
        Row(
            quantity="focal loss",
            input=words,
            ours={
                "ours, a mean over pixels": _loss(focal()),
                "monai, over pixels and classes": _loss(focal(), 1 / 3),
            },
            tools={"monai, over pixels and classes": _monai_loss("FocalLoss", use_softmax=True)},
        ),
        Row(
            quantity="Tversky loss, 0.7 on false positives",
            input=words,
            ours={
                "ours": _loss(tversky(alpha=0.7, beta=0.3)),
                "monai": _loss(tversky(alpha=0.7, beta=0.3, **image)),
                "smp": _loss(tversky(alpha=0.7, beta=0.3, absent="zero")),
            },
            tools={
                "monai": _monai_loss("TverskyLoss", softmax=True, alpha=0.7, beta=0.3),
                "smp": _smp_loss("TverskyLoss", alpha=0.7, beta=0.3),
            },
        ),
        Row(
            quantity="Lovász-Softmax",
            input=words,
            ours={
                "ours = authors = smp": _loss(losses.Lovasz()),
                "kornia": _loss(losses.Lovasz(over="image", absent="count")),
            },
            tools={
                "ours = authors = smp": _smp_loss("LovaszLoss"),
                "kornia": _kornia_loss("lovasz_softmax_loss"),
            },
        ),
    ]


def upsampling_rows() -> list[Row]:
    five = torch.arange(5.0)[None, None, None]
    four = torch.arange(4.0)[None, None, None]

    def row(maps: Tensor) -> list[float]:
        return [round(float(value), 4) for value in maps.flatten()]

    def torch_row(maps: Tensor, size: int, **settings: Any) -> Number:
        return lambda: row(functional.interpolate(maps, (1, size), **settings))

    return [
        Row(
            quantity="nearest",
            input="0 1 2 3 4 to eight pixels",
            ours={
                "half-pixel (PIL, nearest-exact)": lambda: row(nearest(five, (1, 8))),
                "floor (torch nearest)": lambda: row(nearest(five, (1, 8), rule="floor")),
            },
            tools={
                "half-pixel (PIL, nearest-exact)": torch_row(five, 8, mode="nearest-exact"),
                "floor (torch nearest)": torch_row(five, 8, mode="nearest"),
            },
        ),
        Row(
            quantity="bilinear",
            input="0 1 2 3 to eight pixels",
            ours={
                "pixel centres": lambda: row(bilinear(four, (1, 8))),
                "corners aligned": lambda: row(bilinear(four, (1, 8), align_corners=True)),
            },
            tools={
                "pixel centres": torch_row(four, 8, mode="bilinear"),
                "corners aligned": torch_row(four, 8, mode="bilinear", align_corners=True),
            },
        ),
    ]


def rows() -> list[Row]:
    """The whole table."""
    parts = (
        surface_rows,
        region_rows,
        panoptic_rows,
        partition_rows,
        calibration_rows,
        loss_rows,
        upsampling_rows,
    )
    return [row for part in parts for row in part()]


def as_toml() -> str:
    """The table with our numbers."""
    lines = ["# Written by rosetta.py; the documentation is made from it.", ""]
    for row in rows():
        values = ", ".join(f'"{name}" = "{shown(number())}"' for name, number in row.ours.items())
        lines += [
            "[[row]]",
            f'quantity = "{row.quantity}"',
            f'input = "{row.input}"',
            f"values = {{ {values} }}",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_suffix(".toml").write_text(as_toml(), encoding="utf-8")
