"""Our metrics as torchmetrics': tensors in, numbers out, batches, merging, and two processes."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassJaccardIndex

from segmentarium.engine import torchmetrics_adapter
from segmentarium.engine.torchmetrics_adapter import as_torchmetrics
from segmentarium.errors import BadArgument
from segmentarium.metrics import ConfusionMatrix
from segmentarium.metrics.calibration import Calibration
from segmentarium.metrics.regions import Regions


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(-1, 3, (2, 6, 5), generator=generator)
    return torch.randint(0, 3, (2, 6, 5), generator=generator), truth


@pytest.mark.atlas("M01", "M05")
def test_equal_to_torchmetrics_own_through_its_own_door() -> None:
    ours, theirs = as_torchmetrics(Regions(3)), MulticlassJaccardIndex(3, ignore_index=-1)
    assert isinstance(ours, Metric)
    for seed in range(3):
        step = ours(*batch(seed))
        assert float(step["mean_iou"]) == pytest.approx(float(theirs(*batch(seed))), abs=1e-6)
    assert float(ours.compute()["mean_iou"]) == pytest.approx(float(theirs.compute()), abs=1e-6)
    assert int(ours.compute()["images"]) == 6
    assert ours.compute_result().images == 6


def test_reset_clone_and_cached_results() -> None:
    metric = as_torchmetrics(ConfusionMatrix(3))
    metric.update(*batch(0))
    before, copied = metric.compute(), metric.clone()
    metric.update(*batch(1))
    assert metric.compute() != before
    assert copied.compute() == before
    metric.reset()
    metric.update(*batch(0))
    assert metric.compute() == before


def test_a_collection_of_different_metrics() -> None:
    collection = MetricCollection(
        {
            "pooled": as_torchmetrics(Regions(3)),
            "single": as_torchmetrics(Regions(3, protocol="monai")),
        },
        compute_groups=False,
    )
    collection.update(*batch(0))
    assert {"pooled_mean_iou", "single_mean_iou"} <= set(collection.compute())


def test_probabilities_of_any_precision_and_undefined_numbers() -> None:
    metric = as_torchmetrics(Calibration(2))
    probs = torch.rand(2, 4, 4).to(torch.bfloat16)
    metric.update(torch.stack([1 - probs.float(), probs.float()], 1), torch.ones(2, 4, 4, dtype=torch.long))
    assert 0 <= float(metric.compute()["ece"]) <= 1
    void = as_torchmetrics(Regions(2), batched=False)
    void.update(torch.zeros(2, 2, dtype=torch.long), torch.full((2, 2), -1))
    assert torch.isnan(void.compute()["mean_iou"])


def test_merged_states_are_one_pass() -> None:
    first, second, whole = (as_torchmetrics(Regions(3)) for _ in range(3))
    for metric, seeds in ((first, (0,)), (second, (1, 2)), (whole, (0, 1, 2))):
        for seed in seeds:
            metric.update(*batch(seed))
    first.merge_state(second)
    assert first.compute() == whole.compute()


def test_the_original_is_left_alone() -> None:
    regions = Regions(3)
    as_torchmetrics(regions).update(*batch(0))
    assert regions.compute().images == 0


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(BadArgument, match="metric: list"):
        as_torchmetrics([])


def test_a_missing_torchmetrics_is_told_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "torchmetrics":
            raise ImportError(name)
        return imported(name, *more)

    torchmetrics_adapter._adapter.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadArgument, match="pip install torchmetrics"):
        as_torchmetrics(Regions(2))


def process(rank: int, meeting: str, answers: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    metric = as_torchmetrics(Regions(3))
    for seed in range(rank, 5, 2):
        metric.update(*batch(seed))
    over_all = metric.compute()
    mine = metric.metric.compute().images  # what was gathered is given back after the answer
    numbers = {name: value.item() for name, value in over_all.items()}
    np.savez(Path(answers) / f"{rank}.npz", mine=mine, **numbers)
    torch.distributed.destroy_process_group()


def test_two_processes_answer_for_all_images(tmp_path: Path) -> None:
    meeting = str(tmp_path / "meeting")
    torch.multiprocessing.spawn(process, (meeting, str(tmp_path)), nprocs=2)
    whole = as_torchmetrics(Regions(3))
    for seed in range(5):
        whole.update(*batch(seed))
    for rank, images in ((0, 6), (1, 4)):
        told = np.load(tmp_path / f"{rank}.npz")
        assert told["mine"] == images
        assert told["images"] == 10
        assert told["mean_iou"] == pytest.approx(float(whole.compute()["mean_iou"]), abs=1e-7)
