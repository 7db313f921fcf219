"""AP and AR are pycocotools' twelve numbers to the last digit: random pictures, crowds, equal scores."""

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest

from segmentarium.metrics.average_precision import AveragePrecision, _single_recalls
from segmentarium.metrics.coco_precision import coco_average_precision
from segmentarium.metrics.objects import Runs
from segmentarium.values.classes import Class, Classes, distinct_color
from segmentarium.values.instances import Instances
from segmentarium.values.runs import Rle, decode, encode
from segmentarium.values.runs import box as box_of

NAMES = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
NAMES += ["ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"]


def ellipse(rng: np.random.Generator, center: Any, radii: Any, size: tuple[int, int]) -> Rle:
    rows, columns = np.mgrid[: size[0], : size[1]]
    center, radii = np.asarray(center) + rng.normal(0, 0.7, 2), np.asarray(radii) * rng.uniform(0.85, 1.15, 2)
    return encode(((rows - center[0]) / radii[0]) ** 2 + ((columns - center[1]) / radii[1]) ** 2 < 1)


def pictures(seed: int, *, images: int = 12, crowds: float = 0.15, size: tuple[int, int] = (140, 180)) -> Any:
    """A COCO file and its results: objects of all three ranges of areas, near misses and false ones."""
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(1, images + 1):
        for _ in range(int(rng.integers(0, 12))):
            center, radii, label = (
                rng.random(2) * size,
                np.exp(rng.normal(2.7, 1.0, 2)),
                int(rng.integers(1, 5)),
            )
            mask = ellipse(rng, center, radii, size)
            area = float(decode(mask).sum())
            if not area:
                continue
            crowd = int(rng.random() < crowds)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": label,
                    "segmentation": mask,
                    "area": area if rng.random() < 0.8 else area * 1.3,
                    "bbox": xywh(mask),
                    "iscrowd": crowd,
                }
            )
            for _ in range(int(rng.integers(0, 4))):
                seen = label if rng.random() < 0.9 else int(rng.integers(1, 5))
                score = round(float(rng.random()), 1)
                results.append(
                    {
                        "image_id": image,
                        "category_id": seen,
                        "segmentation": ellipse(rng, center, radii, size),
                        "score": score,
                    }
                )
    sizes = [{"id": i, "height": size[0], "width": size[1]} for i in range(1, images + 1)]
    categories = [{"id": k, "name": str(k)} for k in (1, 2, 3, 4, 9)]
    return {"images": sizes, "annotations": annotations, "categories": categories, "info": {}}, results


def xywh(mask: Rle) -> list[float]:
    x0, y0, x1, y1 = box_of(mask)
    return [float(x0), float(y0), float(x1 - x0), float(y1 - y0)]


def boxed(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in r.items() if k != "segmentation"} | {"bbox": xywh(r["segmentation"])}
        for r in results
    ]


def pycocotools(truth: Any, results: Any, kind: str) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        file = COCO()
        file.dataset = copy.deepcopy(truth)
        file.createIndex()
        race = COCOeval(file, file.loadRes(copy.deepcopy(results)), kind)
        race.evaluate()
        race.accumulate()
        race.summarize()
    return np.where(race.stats == -1, np.nan, race.stats)


def faster(truth: Any, results: Any, kind: str, limits: list[int] | None = None) -> np.ndarray:
    from faster_coco_eval import COCO, COCOeval_faster

    file = COCO(copy.deepcopy(truth))
    race = COCOeval_faster(file, file.loadRes(copy.deepcopy(results)), kind)
    race.params.maxDets = limits or race.params.maxDets
    race.evaluate()
    race.accumulate()
    race.summarize()
    stats = np.array(race.stats[:12])
    return np.where(stats == -1, np.nan, stats)


def twelve(scores: Any) -> list[float]:
    return [scores.means[name] for name in NAMES]


@pytest.mark.atlas("M16", "M18")
@pytest.mark.parametrize("seed", range(6))
def test_masks_equal_pycocotools(seed: int) -> None:
    truth, results = pictures(seed)
    ours = coco_average_precision(results, truth, rounds=0)
    np.testing.assert_allclose(twelve(ours), pycocotools(truth, results, "segm"), atol=1e-12, rtol=0)
    assert ours.undefined == ("9",)


@pytest.mark.atlas("M17", "M18")
@pytest.mark.parametrize("seed", range(4))
def test_boxes_equal_pycocotools(seed: int) -> None:
    truth, results = pictures(seed)
    results = boxed(results)
    ours = coco_average_precision(results, truth, kind="box", rounds=0)
    np.testing.assert_allclose(twelve(ours), pycocotools(truth, results, "bbox"), atol=1e-12, rtol=0)


@pytest.mark.atlas("M20")
@pytest.mark.parametrize("seed", range(3))
def test_boundaries_equal_faster_coco_eval(seed: int) -> None:
    truth, results = pictures(seed, images=6)
    ours = coco_average_precision(results, truth, kind="boundary", rounds=0)
    np.testing.assert_allclose(twelve(ours), faster(truth, results, "boundary"), atol=1e-12, rtol=0)


@pytest.mark.atlas("M20")
def test_bands_equal_faster_coco_eval_pixel_by_pixel() -> None:
    from faster_coco_eval.core.mask import rleToBoundary

    truth, _ = pictures(7, images=3)
    masks = [row["segmentation"] for row in truth["annotations"]]
    at = np.zeros((len(masks), 2), np.int64)
    bands = Runs.of(masks, at=at, size=(140, 180)).band()
    theirs = [rleToBoundary(mask, 0.02, backend="mask_api") for mask in masks]
    text = [{"size": [140, 180], "counts": m["counts"].decode()} for m in theirs]
    expected = Runs.of(text, at=at, size=(140, 180))
    np.testing.assert_array_equal(bands.areas, expected.areas)
    for k in range(len(masks)):
        own, other = (pixels(runs, k) for runs in (bands, expected))
        np.testing.assert_array_equal(own, other)


def pixels(runs: Runs, k: int) -> np.ndarray:
    taken = runs.take(np.array([k])).spans
    return np.concatenate([np.zeros(0, int), *(np.arange(a, b) for a, b in taken)])


@pytest.mark.atlas("M16", "M18")
def test_torchmetrics_reads_recall_in_single_precision() -> None:
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    truth, results = pictures(1, images=6, crowds=0)
    theirs = MeanAveragePrecision(iou_type="segm", backend="pycocotools")
    for image in range(1, 7):
        sides = []
        for rows in (results, truth["annotations"]):
            mine = [row for row in rows if row["image_id"] == image]
            masks = np.array([decode(row["segmentation"]) for row in mine], bool).reshape(-1, 140, 180)
            side = {
                "masks": torch.from_numpy(masks),
                "labels": torch.tensor([r["category_id"] for r in mine]),
            }
            sides.append(side | {"scores": torch.tensor([row.get("score", 1.0) for row in mine])})
        theirs.update([sides[0]], [sides[1]])
    with contextlib.redirect_stdout(io.StringIO()):
        expected = theirs.compute()
    for row in truth["annotations"]:
        del row["area"]  # torchmetrics measures it
    ours = coco_average_precision(results, truth, protocol="torchmetrics", rounds=0)
    names = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100"]
    numbers = np.array([float(expected[name]) for name in names])
    np.testing.assert_allclose(twelve(ours)[:9], np.where(numbers == -1, np.nan, numbers), atol=1e-6)
    exact = coco_average_precision(results, truth, rounds=0)
    assert exact.means["ap"] != ours.means["ap"]
    np.testing.assert_array_equal(_single_recalls(), torch.linspace(0, 1, 101).tolist())


@pytest.mark.atlas("M16")
def test_the_number_zero_is_an_object_like_any_other() -> None:
    truth, results = pictures(3, crowds=0)
    right = pycocotools(truth, results, "segm")
    for row in truth["annotations"]:
        row["id"] -= 1
    np.testing.assert_allclose(
        twelve(coco_average_precision(results, truth, rounds=0)), right, atol=1e-12, rtol=0
    )
    truth["annotations"], results = truth["annotations"][:1], []
    row = truth["annotations"][0]
    results = [{k: row[k] for k in ("image_id", "category_id", "segmentation")} | {"score": 1.0}]
    assert coco_average_precision(results, truth, rounds=0).means["ap"] == pytest.approx(1)
    assert pycocotools(truth, results, "segm")[0] < 0.5  # the bug that is not ours


@pytest.mark.atlas("M18")
def test_other_limits_give_the_value() -> None:
    truth, results = pictures(5)
    ours = coco_average_precision(results, truth, limits=(1, 2, 3), rounds=0)
    names = [name.replace("ar100", "ar3").replace("ar10", "ar2") for name in NAMES]
    theirs = faster(truth, results, "segm", [1, 2, 3])
    np.testing.assert_allclose([ours.means[name] for name in names], theirs, atol=1e-12, rtol=0)


@pytest.mark.atlas("M16")
@pytest.mark.parametrize(
    ("area", "ranges"),
    [(1023, {"small"}), (1024, {"small", "medium"}), (1025, {"medium"}), (9216, {"medium", "large"})],
)
def test_ranges_go_by_the_files_area(area: float, ranges: set[str]) -> None:
    truth, _ = pictures(0, crowds=0)
    row = truth["annotations"][0] | {"area": area}
    truth["annotations"] = [row]
    results = [{k: row[k] for k in ("image_id", "category_id", "segmentation")} | {"score": 0.5}]
    means = coco_average_precision(results, truth, rounds=0).means
    assert {n for n in ("small", "medium", "large") if means[f"ap_{n}"] == pytest.approx(1)} == ranges


@pytest.mark.atlas("M16")
def test_polygons_and_plain_runs_are_read() -> None:
    from faster_coco_eval.core.mask import frPyObjects, merge

    polygon = [[10.0, 10, 60, 12, 40, 70], [80.0, 80, 99, 80, 90, 99]]
    packed = merge(frPyObjects(polygon, 100, 100))
    mask = decode({"size": [100, 100], "counts": packed["counts"].decode()})
    flat = mask.T.reshape(-1)
    turns = np.flatnonzero(np.diff(flat.astype(int))) + 1
    runs = {"size": [100, 100], "counts": np.diff(np.r_[0, turns, flat.size]).tolist()}
    row = {"id": 1, "image_id": 1, "category_id": 1, "area": float(mask.sum()), "iscrowd": 0}
    truth = {
        "images": [{"id": 1, "height": 100, "width": 100}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [row | {"segmentation": polygon}],
    }
    for form in (runs, packed, encode(mask)):
        result = {"image_id": 1, "category_id": 1, "segmentation": form, "score": 0.5}
        assert coco_average_precision([result], truth, rounds=0).by_threshold[-1] == pytest.approx(1)


@pytest.mark.atlas("M16", "M17", "M20")
@pytest.mark.parametrize("kind", ["mask", "box", "boundary"])
def test_our_results_score_as_files_do(kind: str) -> None:
    truth, results = pictures(11, images=5)
    classes = Classes(
        Class(id=c["id"], name=c["name"], color=distinct_color(c["id"]), thing=True)
        for c in truth["categories"]
    )
    metric = AveragePrecision(classes, kind=kind)
    for image in (3, 1, 5, 2, 4):
        rows = [r for r in truth["annotations"] if r["image_id"] == image]
        found = [r for r in results if r["image_id"] == image]
        crowd = np.array([r["iscrowd"] for r in rows], bool)
        areas = np.array([r["area"] for r in rows], np.float64)
        metric.update(cropped(found, classes), cropped(rows, classes), crowd=crowd, areas=areas, image=image)
    by_file = coco_average_precision(boxed(results) if kind == "box" else results, truth, kind=kind, rounds=0)
    np.testing.assert_allclose(twelve(metric.compute(rounds=0)), twelve(by_file), atol=1e-12, rtol=0)


def cropped(rows: list[dict[str, Any]], classes: Classes) -> Instances:
    boxes = np.array([box_of(r["segmentation"]) for r in rows], np.int32).reshape(-1, 4)
    masks = [decode(r["segmentation"])[y0:y1, x0:x1] for r, (x0, y0, x1, y1) in zip(rows, boxes, strict=True)]
    return Instances(
        tuple(encode(m) for m in masks),
        boxes,
        np.array([r.get("score", 1.0) for r in rows], np.float64),
        np.array([classes.ids.index(r["category_id"]) for r in rows], np.int32),
        classes,
        (140, 180),
    )


@pytest.mark.atlas("M16")
def test_a_box_beside_the_mask_does_not_change_its_area() -> None:
    truth, results = pictures(2)
    both = [r | {"bbox": xywh(r["segmentation"])} for r in results]
    ours = [twelve(coco_average_precision(rows, truth, rounds=0)) for rows in (results, both)]
    assert str(ours[0]) == str(ours[1])
    assert str(pycocotools(truth, results, "segm").tolist()) != str(pycocotools(truth, both, "segm").tolist())
