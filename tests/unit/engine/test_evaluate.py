"""Evaluation: the right numbers, the right words, and nothing kept in memory that need not be."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_run import Careless

from segmentarium.data import DataSet, open_data
from segmentarium.data.shapes import write_data_set
from segmentarium.engine.evaluate import class_mapping, evaluate, score_pairs
from segmentarium.errors import BadData, BadMask, UnknownName, WeightsMismatch
from segmentarium.values.classes import VOID, Classes

GROUND = Classes.named("background", "cell", "debris")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("shapes")
    return open_data(write_data_set(folder, train=4, val=4, size=(64, 64), objects=10, void_share=0.05))


def pairs() -> list[tuple[str, np.ndarray, np.ndarray]]:
    truth = np.array([[0, 0, 1, 1]], np.int32)
    return [("good", truth.astype(np.uint8), truth), ("bad", np.array([[0, 1, 1, 0]], np.uint8), truth)]


def test_scores_over_all_and_image_by_image() -> None:
    evaluation = score_pairs(pairs(), GROUND)
    assert evaluation.scores.iou[:2].tolist() == [3 / 5, 3 / 5]
    assert evaluation.scores.undefined == ("debris",)
    assert [case.mean_iou for case in evaluation.cases] == pytest.approx([1, 1 / 3])
    assert evaluation.mean_iou_per_image == pytest.approx(2 / 3)
    assert [case.stem for case in evaluation.worst()] == ["bad", "good"]
    assert evaluation.best(1)[0].stem == "good"
    assert evaluation.cases[1].iou == {"background": 1 / 3, "cell": 1 / 3, "debris": None}
    assert any("debris" in note for note in evaluation.notes)


def test_intervals_hold_the_value_and_may_be_left_out() -> None:
    evaluation = score_pairs(pairs() * 4, GROUND)
    low, high = evaluation.intervals["mean_iou"]
    assert low <= evaluation.scores.mean_iou <= high
    assert np.isnan(evaluation.class_intervals["iou"]["debris"]).all()
    assert score_pairs(pairs(), GROUND, rounds=0).intervals == {}


def test_pairs_are_taken_one_at_a_time() -> None:
    alive = []

    def stream() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        import weakref

        for i in range(5):
            assert sum(ref() is not None for ref in alive) <= 1  # the one before, until the next is there
            truth = np.zeros((8, 8), np.int32)
            alive.append(weakref.ref(truth))
            yield str(i), truth.astype(np.uint8), truth

    assert len(score_pairs(stream(), GROUND).cases) == 5


def test_void_images_are_named_and_not_ranked() -> None:
    void = ("dark", np.zeros((1, 4), np.uint8), np.full((1, 4), VOID, np.int32))
    evaluation = score_pairs([*pairs(), void], GROUND)
    assert "dark" not in [case.stem for case in evaluation.worst()]
    assert any("dark" in note for note in evaluation.notes)
    assert evaluation.mean_iou_per_image == pytest.approx(2 / 3)


def test_nothing_to_score_is_said() -> None:
    void = ("dark", np.zeros((1, 4), np.uint8), np.full((1, 4), VOID, np.int32))
    with pytest.raises(BadData, match=r"no image with a mask"):
        score_pairs([], GROUND)
    with pytest.raises(BadData, match=r"every pixel of the 1 masks .* void"):
        score_pairs([void], GROUND)


def test_a_bad_prediction_is_named() -> None:
    with pytest.raises(BadMask, match=r"late: prediction holds 7"):
        score_pairs([*pairs(), ("late", np.array([[7, 0]]), np.array([[0, 0]]))], GROUND)


def test_the_truth_itself_scores_one(data: DataSet) -> None:
    class Knowing(Careless):
        def __call__(self, image):  # type: ignore[no-untyped-def]
            result = super().__call__(image)
            truth = self.data.labels(self.pairs[image.path])
            return replace(result, labels=self._renamed(np.maximum(truth, 0)))

    assert evaluate(Knowing(data), data).scores.mean_iou == 1


def test_summary_and_pictures(data: DataSet, tmp_path: Path) -> None:
    seen = []
    evaluation = evaluate(
        Careless(data), data, out=tmp_path, pictures=2, progress=lambda *at: seen.append(at)
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["mean"]["mean_iou"] == pytest.approx(evaluation.scores.mean_iou)
    assert len(summary["cases"]) == 4
    assert set(summary["per_class"]) == set(data.classes.names)
    assert summary["provenance"]["model"]["name"] == "careless-tiny"
    worst = sorted(path.name for path in (tmp_path / "worst").iterdir())
    case = evaluation.worst(1)[0]
    assert worst[0] == f"001_{case.stem}_iou{case.mean_iou:.2f}.png"
    drawn = [path for name in ("worst", "typical", "best") for path in (tmp_path / name).glob("*.png")]
    assert len(drawn) == 4  # no image twice


def test_classes_in_another_order_are_matched_by_name(data: DataSet) -> None:
    turned = Classes(data.classes[i] for i in range(len(data.classes) - 1, -1, -1))
    straight, crossed = evaluate(Careless(data), data), evaluate(Careless(data, classes=turned), data)
    np.testing.assert_array_equal(straight.scores.matrix, crossed.scores.matrix)
    assert any("another order" in note for note in crossed.notes)


def test_other_classes_are_refused() -> None:
    with pytest.raises(
        WeightsMismatch, match=r"knows cells, background, .*is 'cells' of the model 'cell' of the data"
    ):
        class_mapping(Classes.named("cells", "background", "debris"), GROUND)
    assert class_mapping(GROUND, GROUND).tolist() == [0, 1, 2, VOID]


def test_unknown_split_offers_the_nearest(data: DataSet) -> None:
    with pytest.raises(UnknownName, match="did you mean 'val'"):
        evaluate(Careless(data), data, split="vall")
