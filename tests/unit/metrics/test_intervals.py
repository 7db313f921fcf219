"""Bootstrap intervals: exact where the answer is known, alike with a slow twin elsewhere."""

import numpy as np
import pytest

from segmentarium.metrics import Tally, bootstrap, bootstrap_mean, iou, mean_iou, pixel_accuracy


def _images(count: int = 12, classes: int = 3) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.integers(1, 50, (count, classes, classes)) + 60 * np.eye(classes, dtype=np.int64)


def test_equal_images_leave_no_room() -> None:
    same = np.repeat(_images(1), 8, axis=0)
    low, high = bootstrap(same, mean_iou)
    assert low == pytest.approx(float(mean_iou(same[0])))
    assert high == pytest.approx(float(low))


def test_against_a_slow_twin() -> None:
    images = _images()
    drawn = np.random.default_rng(5).multinomial(12, [1 / 12] * 12, size=200)
    slow = []
    for times in drawn:
        total = sum(times[i] * images[i] for i in range(12))
        slow.append(iou(total))
    low, high = bootstrap(images, iou, rounds=200, seed=5)
    np.testing.assert_allclose([low, high], np.percentile(slow, [2.5, 97.5], axis=0))


def test_the_value_lies_between_and_more_images_tell_more() -> None:
    few, many = _images(6), _images(600)
    (low, high), (lower, higher) = bootstrap(few, pixel_accuracy), bootstrap(many, pixel_accuracy)
    assert low < pixel_accuracy(few.sum(0)) < high
    assert higher - lower < 0.5 * (high - low)


def test_seeded() -> None:
    images = _images()
    assert bootstrap(images, mean_iou, seed=3) == bootstrap(images, mean_iou, seed=3)
    assert bootstrap(images, mean_iou, seed=3) != bootstrap(images, mean_iou, seed=4)


def test_one_image_has_no_interval() -> None:
    low, high = bootstrap(_images(1), iou)
    assert low.shape == (3,)
    assert np.isnan([low, high]).all()
    assert np.isnan(bootstrap(_images(1), mean_iou)).all()
    assert np.isnan(bootstrap_mean(np.array([0.5, np.nan]))).all()


def test_an_undefined_class_has_no_interval_and_disturbs_no_other() -> None:
    images = np.pad(_images(), ((0, 0), (0, 1), (0, 1)))
    low, high = bootstrap(images, iou)
    assert np.isnan([low[3], high[3]]).all()
    np.testing.assert_array_equal(low[:3], bootstrap(images[:, :3, :3], iou)[0])


def test_tallies_do_as_well_as_matrices() -> None:
    images = _images()
    assert bootstrap(Tally.of(images), mean_iou) == bootstrap(images, mean_iou)


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(0).normal(0.7, 0.1, 400)
    low, high = bootstrap_mean(values)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.1 / 20, rel=0.1)
