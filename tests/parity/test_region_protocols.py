"""Every protocol of the region scores equals its tool: where tools are known to disagree, and on chance.

nnU-Net and SemanticKITTI's script do not install beside us: their numbers were recorded by running their own
functions (nnU-Net 0e49508, semantic-kitti-api a9c749e) on :func:`batch` of the seeds given.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK
import torch
from medpy.metric import binary as medpy
from monai.metrics import DiceMetric, MeanIoU, compute_dice, compute_iou
from segmentation_models_pytorch import metrics as smp
from sklearn.metrics import f1_score, jaccard_score
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.segmentation import DiceScore, GeneralizedDiceScore
from torchmetrics.segmentation import MeanIoU as PairsIoU

from segmentarium.errors import UnknownName
from segmentarium.metrics.region_protocols import PROTOCOLS
from segmentarium.metrics.regions import Regions, RegionScores, region_scores

CLASSES = 4
NO_WARNING = pytest.mark.filterwarnings("ignore")  # of the tools


def maps_of(matrix: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a truth of 6x6 pixels with that confusion matrix, truth in rows."""
    truth, found = np.indices(np.shape(matrix))
    times = np.ravel(matrix)
    return np.repeat(found.ravel(), times).reshape(6, 6), np.repeat(truth.ravel(), times).reshape(6, 6)


PAIR = [
    maps_of([[17, 9, 4], [5, 1, 0], [0, 0, 0]]),
    maps_of([[17, 0, 0], [0, 0, 0], [0, 0, 19]]),
]
"""Two images of four classes: the last is nowhere, class 2 is a false alarm in the first image."""

DISAGREEMENT = {
    "dataset": 0.516,
    "torchmetrics-mean-iou": 0.510,
    "monai": 0.638,
    "monai-keep-empty": 0.694,
    "smp": 0.637,
    "smp-imagewise": 0.694,
    "sklearn": 0.387,
}
"""Mean IoU of :data:`PAIR`, as in the table of disagreements."""


def batch(seed: int, *, images: int = 5, classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Images that lack some classes; the last is perfect."""
    chance = np.random.default_rng(seed)
    truths, found = [], []
    for i in range(images):
        present = chance.choice(classes, size=chance.integers(1, classes + 1), replace=False)
        truth = chance.choice(present, size=(12, 10))
        noisy = np.where(chance.random((12, 10)) < 0.3, chance.integers(0, classes, (12, 10)), truth)
        truths.append(truth)
        found.append(truth if i == images - 1 else noisy)
    return np.array(found), np.array(truths)


BATCHES = [(np.array([p for p, _ in PAIR]), np.array([t for _, t in PAIR])), *map(batch, range(4))]


def ours(found: np.ndarray, truth: np.ndarray, protocol: str, *, ignore: int = -1) -> RegionScores:
    regions = Regions(CLASSES, protocol=protocol, ignore=ignore)
    for pair in zip(found, truth, strict=True):
        regions.update(*pair)
    return regions.compute(rounds=0)


def channels(labels: np.ndarray) -> Tensor:
    return one_hot(torch.from_numpy(labels), CLASSES).movedim(-1, 1)


def tensors(*labels: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(each) for each in labels]


def monai(metric: type, *, ignore_empty: bool) -> Callable[[np.ndarray, np.ndarray], float]:
    def run(found: np.ndarray, truth: np.ndarray) -> float:
        gathered = metric(ignore_empty=ignore_empty)
        gathered(channels(found), channels(truth))
        return float(gathered.aggregate())

    return run


def from_stats(score: Callable[..., Tensor], reduction: str) -> Callable[[np.ndarray, np.ndarray], float]:
    def run(found: np.ndarray, truth: np.ndarray) -> float:
        stats = smp.get_stats(*tensors(found, truth), mode="multiclass", num_classes=CLASSES, ignore_index=-1)
        return float(score(*stats, reduction=reduction))

    return run


def updated(metric: torch.nn.Module) -> Callable[[np.ndarray, np.ndarray], float]:
    def run(found: np.ndarray, truth: np.ndarray) -> float:
        metric.reset()
        for image in range(len(found)):
            metric.update(*tensors(found[image : image + 1], truth[image : image + 1]))
        return float(metric.compute())

    return run


def sklearn(score: Callable[..., float]) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda found, truth: score(
        truth.ravel(), found.ravel(), labels=range(CLASSES), average="macro", zero_division=0
    )


def each_foreground(score: Callable[..., float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """The mean over classes but 0 and then over images of a tool that takes one mask at a time."""

    def run(found: np.ndarray, truth: np.ndarray) -> float:
        values = [
            [score(p == c, t == c) for c in range(1, CLASSES)] for p, t in zip(found, truth, strict=True)
        ]
        return float(np.nanmean(np.nanmean(values, 1)))

    return run


def overlap(score: str) -> Callable[[np.ndarray, np.ndarray], float]:
    def run(found: np.ndarray, truth: np.ndarray) -> float:
        values = []
        for pair in zip(found, truth, strict=True):
            measures = SimpleITK.LabelOverlapMeasuresImageFilter()
            measures.Execute(*(SimpleITK.GetImageFromArray(each.astype(np.uint8)) for each in pair))
            values.append(getattr(measures, score)())
        return float(np.mean(values))

    return run


IOU_TOOLS = {
    "torchmetrics": updated(MulticlassJaccardIndex(CLASSES, ignore_index=-1)),
    "torchmetrics-mean-iou": updated(PairsIoU(CLASSES, input_format="index")),
    "monai": monai(MeanIoU, ignore_empty=True),
    "monai-keep-empty": monai(MeanIoU, ignore_empty=False),
    "smp": from_stats(smp.iou_score, "macro"),
    "smp-imagewise": from_stats(smp.iou_score, "macro-imagewise"),
    "sklearn": sklearn(jaccard_score),
    "medpy": each_foreground(medpy.jc),
    "simpleitk": overlap("GetJaccardCoefficient"),
}
DICE_TOOLS = {
    "torchmetrics": updated(DiceScore(CLASSES, average="macro", input_format="index")),
    "torchmetrics-generalised-dice": updated(GeneralizedDiceScore(CLASSES, input_format="index")),
    "monai": monai(DiceMetric, ignore_empty=True),
    "monai-keep-empty": monai(DiceMetric, ignore_empty=False),
    "smp": from_stats(smp.f1_score, "macro"),
    "smp-imagewise": from_stats(smp.f1_score, "macro-imagewise"),
    "sklearn": sklearn(f1_score),
    "medpy": each_foreground(medpy.dc),
    "simpleitk": overlap("GetDiceCoefficient"),
}


@NO_WARNING
@pytest.mark.atlas("M05")
@pytest.mark.parametrize("tool", IOU_TOOLS)
def test_mean_iou_is_that_of_the_tool(tool: str) -> None:
    for found, truth in BATCHES:
        assert ours(found, truth, tool).mean_iou == pytest.approx(IOU_TOOLS[tool](found, truth), abs=1e-6)


@NO_WARNING
@pytest.mark.atlas("M07")
@pytest.mark.parametrize("tool", DICE_TOOLS)
def test_mean_dice_is_that_of_the_tool(tool: str) -> None:
    for found, truth in BATCHES:
        assert ours(found, truth, tool).mean_dice == pytest.approx(DICE_TOOLS[tool](found, truth), abs=1e-6)


@pytest.mark.atlas("M05")
@pytest.mark.parametrize(("protocol", "told"), DISAGREEMENT.items())
def test_one_pair_of_maps_six_values(protocol: str, told: float) -> None:
    assert round(ours(*BATCHES[0], protocol).mean_iou, 3) == told


@NO_WARNING
@pytest.mark.atlas("M04", "M05")
@pytest.mark.parametrize("tool", ["torchmetrics", "smp"])
def test_void_where_the_tool_knows_it(tool: str) -> None:
    found, truth = batch(7)
    truth[:, :3, :4] = -1
    assert ours(found, truth, tool).mean_iou == pytest.approx(IOU_TOOLS[tool](found, truth), abs=1e-6)


@NO_WARNING
@pytest.mark.atlas("M04")
def test_classes_one_by_one() -> None:
    found, truth = BATCHES[0]
    jaccard = MulticlassJaccardIndex(CLASSES, average="none")
    np.testing.assert_allclose(
        ours(found, truth, "torchmetrics").iou, jaccard(*tensors(found, truth)), atol=1e-6
    )
    pairs = PairsIoU(CLASSES, input_format="index", per_class=True)
    np.testing.assert_allclose(
        ours(found, truth, "torchmetrics-mean-iou").iou, pairs(*tensors(found, truth)), atol=1e-6
    )
    for reduced, score in (("iou", MeanIoU), ("dice", DiceMetric)):
        gathered = score(reduction="mean_batch")
        gathered(channels(found), channels(truth))
        each = getattr(ours(found, truth, "monai"), reduced)
        assert np.isnan(each[3])  # as in compute_iou and compute_dice; only aggregate makes it 0
        np.testing.assert_allclose(np.nan_to_num(each), gathered.aggregate(), atol=1e-6)
    assert np.isnan(ours(found, truth, "dataset").iou[3])


@pytest.mark.atlas("M05", "M07")
def test_an_ignored_class_is_in_no_mean_as_in_torchmetrics() -> None:
    found, truth = batch(11)
    jaccard = MulticlassJaccardIndex(CLASSES, ignore_index=0)
    expected = float(jaccard(*tensors(found, truth)))
    assert ours(found, truth, "torchmetrics", ignore=0).mean_iou == pytest.approx(expected, abs=1e-6)
    assert ours(found, truth, "dataset", ignore=0).mean_iou == pytest.approx(expected, abs=1e-6)


EMPTY, FOUND = np.zeros((8, 8), np.int64), np.pad(np.ones((2, 2), np.int64), 3)


def masks(*labels: np.ndarray) -> list[Tensor]:
    """One channel, the foreground, of one image."""
    return [torch.from_numpy(each)[None, None] for each in labels]


def simpleitk(found: np.ndarray, truth: np.ndarray) -> float:
    return overlap("GetDiceCoefficient")(found[None], truth[None])


BINARY_TOOLS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "monai": lambda p, t: float(compute_dice(*masks(p, t))),
    "monai-keep-empty": lambda p, t: float(compute_dice(*masks(p, t), ignore_empty=False)),
    "medpy": medpy.dc,
    "simpleitk": simpleitk,
    "sklearn": lambda p, t: f1_score(t.ravel(), p.ravel(), zero_division=0),
    "smp": lambda p, t: float(smp.f1_score(*smp.get_stats(*masks(p, t), mode="binary", threshold=0.5))),
    "torchmetrics": lambda p, t: float(DiceScore(1, average="macro")(*masks(p, t))),
    "torchmetrics-generalised-dice": lambda p, t: float(GeneralizedDiceScore(1)(*masks(p, t))),
}
BOTH_EMPTY = {
    "monai": np.nan,
    "monai-keep-empty": 1,
    "medpy": np.nan,
    "simpleitk": np.inf,
    "sklearn": 0,
    "smp": 1,
    "torchmetrics": np.nan,
    "torchmetrics-generalised-dice": 0,
    "dataset": np.nan,
    "nnunet": np.nan,
}
TRUTH_EMPTY = {"monai": np.nan, "monai-keep-empty": 0, "dataset": 0}


def foreground_dice(found: np.ndarray, truth: np.ndarray, protocol: str) -> float:
    """Of class 1 of an image; SimpleITK has its number for all of the foreground only in the mean."""
    scores = region_scores(found, truth, classes=2, protocol=protocol)
    if protocol == "simpleitk":
        return scores.mean_dice
    return scores.dice[1]


@NO_WARNING
@pytest.mark.atlas("M07")
@pytest.mark.parametrize("tool", BINARY_TOOLS)
@pytest.mark.parametrize("case", ["both empty", "truth empty", "prediction empty", "equal"])
def test_dice_of_empty_masks_is_that_of_the_tool(tool: str, case: str) -> None:
    found = EMPTY if case in ("both empty", "prediction empty") else FOUND
    truth = EMPTY if case in ("both empty", "truth empty") else FOUND
    expected = BINARY_TOOLS[tool](found, truth)
    assert foreground_dice(found, truth, tool) == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.atlas("M07")
@pytest.mark.parametrize(("protocol", "told"), BOTH_EMPTY.items())
def test_both_masks_empty_as_in_the_table(protocol: str, told: float) -> None:
    assert foreground_dice(EMPTY, EMPTY, protocol) == pytest.approx(told, nan_ok=True)


@pytest.mark.atlas("M07")
@pytest.mark.parametrize(("protocol", "told"), TRUTH_EMPTY.items())
def test_only_truth_empty_as_in_the_table(protocol: str, told: float) -> None:
    assert foreground_dice(FOUND, EMPTY, protocol) == pytest.approx(told, nan_ok=True)


@pytest.mark.atlas("M07")
def test_nothing_defined_is_zero_for_monai_alone() -> None:
    for score, metric in ((compute_iou, MeanIoU), (compute_dice, DiceMetric)):
        empty = [torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)]
        assert torch.isnan(score(*empty)).all()
        gathered = metric()
        gathered(*empty)
        assert float(gathered.aggregate()) == 0
    void = np.full((4, 4), -1)
    scores = region_scores(EMPTY[:4, :4], void, classes=2, protocol="monai")
    assert (scores.mean_iou, scores.mean_dice) == (0, 0)
    assert np.isnan(region_scores(EMPTY[:4, :4], void, classes=2).mean_iou)


NNUNET = {
    0: (0.6084682139882666, 0.5191652326995627),
    1: (0.5752831848459126, 0.516191235341045),
    2: (0.6787114498785497, 0.5790712360823814),
    3: (0.6469248189774112, 0.5357707369401098),
}
"""Mean Dice and mean IoU of the foreground; with label 4 ignored in the top two rows, for the last seed."""


@pytest.mark.atlas("M07")
@pytest.mark.parametrize("seed", NNUNET)
def test_recorded_numbers_of_nnunet(seed: int) -> None:
    found, truth = batch(seed)
    if seed == 3:
        truth[:, :2] = 4
    scores = ours(found, truth, "nnunet", ignore=4)
    assert (scores.mean_dice, scores.mean_iou) == pytest.approx(NNUNET[seed], abs=1e-9)


@pytest.mark.atlas("M42")
@pytest.mark.parametrize(
    ("seed", "classes", "told"), [(0, 5, 0.6712109476617986), (1, 6, 0.45673629197410365)]
)
def test_recorded_numbers_of_semantickitti_on_points(seed: int, classes: int, told: float) -> None:
    """Points in a row, class 0 unlabelled; in the second case a class that no point has counts as 0."""
    found, truth = batch(seed, classes=CLASSES if classes == 6 else classes)
    points = Regions(classes, protocol="semantickitti", ignore=0)
    voxels = Regions(classes, protocol="semantickitti", ignore=0)
    for p, t in zip(found, truth, strict=True):
        points.update(p.ravel(), t.ravel())
        voxels.update(p.reshape(3, 4, 10), t.reshape(3, 4, 10))
    assert points.compute().mean_iou == pytest.approx(told, abs=1e-9)
    assert voxels.compute().mean_iou == points.compute().mean_iou


def test_an_unknown_protocol_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'monai'"):
        region_scores(EMPTY, EMPTY, classes=2, protocol="monaj")


def test_every_protocol_is_proved_against_its_tool_or_is_ours() -> None:
    proved = set(IOU_TOOLS) | set(DICE_TOOLS) | {"nnunet", "semantickitti"}
    assert set(PROTOCOLS) - proved == {"dataset", "image"}


def test_tools_warn_where_we_say_nan() -> None:
    """The reason of one entry: MedPy means 1 for two empty masks, but NumPy's integers do not raise."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert np.isnan(medpy.dc(EMPTY, EMPTY))
    assert caught
