"""From files to masks: names, geometry, errors of single images, and nothing lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pil
from torch import Tensor, nn

from segmentarium.data.normalise import Normalise
from segmentarium.engine.device import choose_device
from segmentarium.engine.load import load
from segmentarium.engine.model import Model, as_image
from segmentarium.engine.predict import Prediction, predict
from segmentarium.engine.sources import find_images, output_stems
from segmentarium.engine.tiled import Tiling
from segmentarium.errors import (
    BadData,
    BadImage,
    BadRun,
    CannotWrite,
    OutOfMemory,
    UnknownName,
    WeightsMismatch,
)
from segmentarium.models import build
from segmentarium.nn.outputs import Semantic
from segmentarium.values.classes import Class, Classes
from segmentarium.values.results import LabelMap
from segmentarium.weights.store import save_weights

CLASSES = Classes(
    [Class(id=0, name="ground", color=(0, 0, 0)), Class(id=7, name="cell", color=(200, 30, 30))]
)


def save_model(path: Path, **changes: Any) -> Path:
    """A tiny network without training, in a file as the trainer writes it."""
    facts = {
        "model": "unet-tiny",
        "classes": CLASSES.to_json(),
        "in_channels": 3,
        "normalise": Normalise.plain(3).to_json(),
        "tile": [32, 32],
        "task": "semantic",
        "ignore_id": 255,
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    state = build("unet-tiny", classes=2).state_dict()
    save_weights(path, state, {"segmentarium": json.dumps(facts)})
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(save_model(tmp_path_factory.mktemp("weights") / "best.safetensors"), device="cpu")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, height: int = 20, width: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pil.fromarray(noise(height, width)).save(path)
    return path


def rows_of(*sources: str | Path, model: Model, out: Path, **wishes: Any) -> list[Prediction]:
    return list(predict(sources, model=model, out=out, **wishes))


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (33, 65)])
def test_the_mask_has_the_size_of_the_image_and_class_ids(
    model: Model, tmp_path: Path, size: tuple[int, int]
) -> None:
    source = write(tmp_path / "in" / "a ü.png", *size)
    (row,) = rows_of(source, model=model, out=tmp_path / "out", probs=True)
    assert row.error is None
    with Pil.open(tmp_path / "out" / "a ü.png") as mask:
        assert (mask.mode, mask.size) == ("P", size[::-1])
        assert set(np.unique(np.array(mask))) <= {0, 7}
    with Pil.open(str(row.overlay)) as overlay:
        assert overlay.width >= size[1]
    with np.load(str(row.probs)) as file:
        assert file["probs"].shape == (2, *size)
    assert sum(row.shares.values()) == pytest.approx(1)


def test_tiles_and_the_whole_path_write_what_a_call_answers(model: Model, tmp_path: Path) -> None:
    source = write(tmp_path / "big.png", 90, 70)
    rows_of(source, model=model, out=tmp_path / "out", tile=32)
    with Pil.open(tmp_path / "out" / "big.png") as mask:
        written = np.array(mask)
    result = model(source, tile=32)
    assert np.array_equal(written, np.array([0, 7])[result.labels])


def test_a_damaged_image_is_told_and_the_others_go_on(model: Model, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:60])
    write(tmp_path / "in" / "c.png")
    rows = rows_of(tmp_path / "in", model=model, out=tmp_path / "out")
    assert [row.error is None for row in rows] == [True, False, True]
    assert "b.png" in str(rows[1].error)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["a.png", "c.png"]
    told = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["error"] is None for row in told["predictions"]] == [True, False, True]
    assert told["classes"] == CLASSES.to_json()


class Cramped(nn.Module):
    """Runs out of memory above so many pixels at a time, as a device does."""

    def __init__(self, inner: nn.Module, most: int) -> None:
        super().__init__()
        self.inner, self.most = inner, most

    def forward(self, image: Tensor) -> Semantic:
        if image.shape[0] * image.shape[2] * image.shape[3] > self.most:
            raise torch.OutOfMemoryError("out of memory")
        output: Semantic = self.inner(image)
        return output


@pytest.mark.parametrize(
    ("most", "told"),
    [(4 * 32**2, ""), (2 * 32**2, "2 of 32x32 pixels"), (2 * 16**2, "2 of 16x16 pixels"), (9, None)],
)
def test_what_does_not_fit_into_memory_is_halved_and_told(
    model: Model, tmp_path: Path, most: int, told: str | None
) -> None:
    source = write(tmp_path / "a.png", 90, 70)
    cramped = replace(
        model, network=Cramped(model.network, most), tiling=Tiling(tile=(32, 32), batch=4, always=True)
    )
    (row,) = rows_of(source, model=cramped, out=tmp_path / "out")
    if told is None:
        assert "do not fit" in str(row.error)
        assert not (tmp_path / "out" / "a.png").exists()
    else:
        assert row.error is None
        assert told in " ".join(row.notes)
        assert bool(row.notes) == bool(told)


def test_a_call_and_a_stream_halve_too_and_say_so(model: Model) -> None:
    """Two images together, one alone, its tiles: what fits is the tile of half the side."""
    pixels = [noise(40, 40), 255 - noise(40, 40)]
    expected = [model(image, tile=16).labels for image in pixels]
    cramped = replace(model, network=Cramped(model.network, 16**2), tiling=Tiling(tile=(32, 32)))
    with pytest.warns(UserWarning, match="out of memory: done by 1 of 16x16 pixels at a time"):
        found = [cramped(pixels[0]).labels, *(result.labels for result in cramped.stream(pixels))]
    for labels, truth in zip(found, [expected[0], *expected], strict=True):
        np.testing.assert_array_equal(labels, truth)
    with pytest.raises(OutOfMemory, match="do not fit into memory"):
        replace(model, network=Cramped(model.network, 9))(pixels[0])


def test_an_image_of_other_channels_leaves_nothing_behind(model: Model, tmp_path: Path) -> None:
    np.save(tmp_path / "five.npy", np.zeros((8, 8, 5), np.uint8))
    (row,) = rows_of(tmp_path / "five.npy", model=model, out=tmp_path / "out")
    assert "5 channels" in str(row.error)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["predictions.json"]


def test_equal_stems_keep_their_folders(model: Model, tmp_path: Path) -> None:
    sources = [write(tmp_path / "in" / place / "a.png") for place in ("x", "y")]
    rows = rows_of(*sources, model=model, out=tmp_path / "out", overlay=False)
    assert [Path(str(row.mask)).relative_to(tmp_path / "out").as_posix() for row in rows] == [
        "x/a.png",
        "y/a.png",
    ]


def test_stems_that_differ_in_capitals_or_suffix_only_are_told_apart() -> None:
    stems = output_stems([Path("in/a.png"), Path("in/A.jpg"), Path("in/b.tif")])
    assert [str(stem) for stem in stems] == ["a_png", "A_jpg", "b"]


def test_a_source_is_never_written_over(model: Model, tmp_path: Path) -> None:
    source = write(tmp_path / "a.png")
    before = source.read_bytes()
    with pytest.raises(CannotWrite, match="replace the image"):
        predict(source, model=model, out=tmp_path, overwrite=True)
    assert source.read_bytes() == before


def test_foreign_files_stay_and_our_own_are_replaced(model: Model, tmp_path: Path) -> None:
    source, out = write(tmp_path / "in" / "a.png"), tmp_path / "out"
    truth = write(out / "a.png")
    with pytest.raises(CannotWrite, match="no prediction wrote it"):
        predict(source, model=model, out=out)
    truth.unlink()
    for _ in range(2):
        assert rows_of(source, model=model, out=out)[0].error is None


def test_a_file_in_the_way_is_told_before_any_work(model: Model, tmp_path: Path) -> None:
    source = write(tmp_path / "a.png")
    (tmp_path / "out").write_text("here")
    with pytest.raises(CannotWrite):
        predict(source, model=model, out=tmp_path / "out")


def test_files_folders_and_globs_are_found_once(tmp_path: Path) -> None:
    write(tmp_path / "b.png")
    write(tmp_path / "a.png")
    write(tmp_path / "below" / "c.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert [p.name for p in find_images([tmp_path])] == ["a.png", "b.png"]
    assert [p.name for p in find_images([tmp_path / "b.png", tmp_path])] == ["b.png", "a.png"]
    assert [p.name for p in find_images([str(tmp_path / "**" / "*.png")])] == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("source", ["missing.png", "empty", "*.png"])
def test_no_image_at_all_is_told(source: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData):
        find_images([str(tmp_path / source)])


def test_streaming_keeps_the_order_and_shares_passes(model: Model, tmp_path: Path) -> None:
    images = [noise(20, 30), noise(20, 30)[::-1].copy(), noise(9, 9), write(tmp_path / "a.png")]
    results = list(model.stream(images, batch=2))
    assert [result.labels.shape for result in results] == [(20, 30), (20, 30), (9, 9), (20, 30)]
    for image, result in zip(images, results, strict=True):
        assert np.mean(result.labels == model(image).labels) > 0.999


def test_streaming_hands_on_what_came_before_a_bad_image(model: Model, tmp_path: Path) -> None:
    results = model.stream([noise(8, 8), tmp_path / "missing.png"], batch=4)
    assert next(results).labels.shape == (8, 8)
    with pytest.raises(BadImage):
        next(results)


def test_anything_that_shows_an_image_is_taken() -> None:
    assert as_image(noise(4, 5)[..., 0]).pixels.shape == (4, 5, 1)
    assert as_image(noise(4, 5).astype(np.float64)).pixels.dtype == np.float32
    assert as_image(Pil.fromarray(noise(4, 5)).convert("P")).channels == 3
    with pytest.raises(BadImage, match="int64"):
        as_image(noise(4, 5).astype(np.int64))
    with pytest.raises(BadImage, match="shape"):
        as_image(np.zeros((2, 2, 2, 2), np.uint8))


def test_a_run_folder_gives_its_best_weights(tmp_path: Path) -> None:
    save_model(tmp_path / "weights" / "last.safetensors", data="last")
    assert load(tmp_path, device="cpu").facts["data"] == "last"
    save_model(tmp_path / "weights" / "best.safetensors", data="best")
    found = load(tmp_path, device="cpu")
    assert (found.facts["data"], found.classes, found.tiling.tile) == ("best", CLASSES, (32, 32))
    assert not found.network.training


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"classes": Classes.named("a", "b", "c").to_json()}, "does not fit"),
        ({"model": "unett-tiny"}, "unet"),
        ({"normalise": {}}, "normalisation"),
        ({"tile": []}, "not understood"),
    ],
)
def test_weights_of_another_network_are_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match=told):
        load(save_model(tmp_path / "w.safetensors", **changes), device="cpu")


def test_foreign_and_damaged_weights_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "foreign.safetensors", build("unet-tiny", classes=2).state_dict(), {})
    whole = save_model(tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    for name, told in (("foreign", "not written by"), ("half", "half"), ("missing", "no weight file")):
        with pytest.raises(WeightsMismatch, match=told):
            load(tmp_path / f"{name}.safetensors")


def test_unknown_names_are_answered_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(BadRun, match="no weights"):
        load(tmp_path)
    with pytest.raises(BadRun, match="no file or folder"):
        load(tmp_path / "missing" / "run")
    with pytest.raises(UnknownName, match="unknown model"):
        load("unett@nuclei")
    with pytest.raises(UnknownName, match="without weights"):
        load("unet-tiny")
    with pytest.raises(UnknownName, match="unknown weights"):
        load("unet@nuclej")


def test_queries_name_pixels_with_probabilities_and_by_tiles() -> None:
    torch.manual_seed(2)
    network = build("mask2former-tiny", classes=3).eval()
    model = Model(
        name="mask2former-tiny",
        network=network,
        classes=Classes.named("a", "b", "c"),
        normalise=Normalise.plain(3),
        tiling=Tiling(tile=(32, 32)),
        device=choose_device("cpu"),
    )
    image = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
    plain, told = model(image), model(image, probs=True)
    assert isinstance(plain, LabelMap)
    assert isinstance(told, LabelMap)
    assert told.probs is not None
    np.testing.assert_allclose(told.probs.sum(0), 1, atol=5e-3)
    np.testing.assert_array_equal(plain.labels, told.labels)
    tiled = model(image, tile=32)
    assert isinstance(tiled, LabelMap)
    assert tiled.labels.shape == (48, 40)
