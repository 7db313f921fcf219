"""Ugly input at the door: one sentence, exit code 1, nothing half-written, nothing lost."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import save_file

from segmentarium.cli.app import main
from segmentarium.data import write_data_set
from segmentarium.values import read_mask

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs ``seg`` in this process; gives the exit code and what stood on standard error."""

    def run(*words: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return int(end.value.code or 0), told.err + told.out

    return run


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "drawn shapes é"
    write_data_set(folder, train=4, val=2, seed=5, size=(32, 32), classes=3)
    return folder


def broken_picture(kind: str, folder: Path) -> Path:
    """A file that is no picture we can take, each in its own way."""
    path = folder / f"{kind} pïcture.png"
    good = folder / "good.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)).save(good)
    match kind:
        case "empty":
            path.touch()
        case "truncated":
            path.write_bytes(good.read_bytes()[:60])
        case "foreign":
            path.write_text("this is a letter, not a picture", encoding="utf-8")
        case "huge":  # a header that promises 10 gigapixels; nobody may try to decode it
            header = b"IHDR" + (100_000).to_bytes(4) + (100_000).to_bytes(4) + bytes([8, 2, 0, 0, 0])
            chunk = (13).to_bytes(4) + header + zlib.crc32(header).to_bytes(4)
            path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + good.read_bytes()[33:])
        case "nan":
            path = path.with_suffix(".tif")
            pixels = np.ones((8, 8, 3), np.float32)
            pixels[3, 4, 1] = np.nan
            tifffile.imwrite(path, pixels, photometric="rgb")
    good.unlink()
    return path


@pytest.mark.parametrize("kind", ["empty", "truncated", "foreign", "huge", "nan"])
def test_a_bad_picture_is_told_and_the_others_go_on(kind: str, tmp_path: Path, say: Say) -> None:
    bad = broken_picture(kind, tmp_path)
    Image.fromarray(np.full((20, 30), 40, np.uint8)).save(tmp_path / "fine.png")
    code, told = say("predict", tmp_path, "-m", "unet@nuclei", "-o", tmp_path / "out dir")
    assert code == 1
    assert bad.name in told.replace("\n", " ")
    assert "1 of 2 written" in told
    assert read_mask(tmp_path / "out dir" / "fine.png").values.shape == (20, 30)
    assert not (tmp_path / "out dir" / f"{bad.stem}.png").exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (3, 500)])
def test_odd_pictures_are_predicted(size: tuple[int, int], tmp_path: Path, say: Say) -> None:
    Image.fromarray(np.full(size, 90, np.uint8)).save(tmp_path / "odd.png")
    code, _ = say(
        "predict", tmp_path / "odd.png", "-m", "unet@nuclei", "-o", tmp_path / "out", "--no-overlay"
    )
    assert code == 0
    assert read_mask(tmp_path / "out" / "odd.png").values.shape == size


def test_nothing_to_predict(tmp_path: Path, say: Say) -> None:
    code, told = say("predict", tmp_path / "nowhere.png", "-o", tmp_path / "out")
    assert code == 1
    assert "nowhere.png" in told
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_exist(tmp_path: Path, say: Say) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    code, told = say("predict", tmp_path / "a.png", "-m", "unet@nucleii", "-o", tmp_path / "out")
    assert code == 1
    assert "did you mean 'nuclei'" in told


def test_weights_of_another_network(tmp_path: Path, say: Say) -> None:
    facts = {
        "model": "unet-tiny",
        "classes": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
        "in_channels": 1,
    }
    facts["normalise"] = {"channels": 1, "mean": [0.5], "std": [0.2], "range": "dtype"}
    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "w.safetensors", {"segmentarium": json.dumps(facts)})
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    code, told = say("predict", tmp_path / "a.png", "-m", tmp_path / "w.safetensors", "-o", tmp_path / "out")
    assert code == 1
    assert "w.safetensors" in told


def test_output_where_a_file_stands(tmp_path: Path, say: Say) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    code, _ = say("predict", tmp_path / "a.png", "-m", "unet@nuclei", "-o", tmp_path / "out")
    assert code == 1
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


def test_a_mask_of_another_size_stops_training(shapes: Path, tmp_path: Path, say: Say) -> None:
    write_data_set(tmp_path / "data", train=4, val=2, seed=5, size=(32, 32), classes=3)
    mask = sorted((tmp_path / "data").rglob("masks/*.png"))[0]
    Image.open(mask).resize((16, 16), Image.Resampling.NEAREST).save(mask)
    assert say("check", tmp_path / "data", "--quiet")[0] == 2
    code, told = say(
        "train", tmp_path / "data", "-o", tmp_path / "run", "--model", "unet-tiny", "--epochs", 1
    )
    assert code == 1
    assert mask.name in told


def test_a_resumed_run_takes_no_other_wish_in_silence(shapes: Path, tmp_path: Path, say: Say) -> None:
    begin = ("train", shapes, "-o", tmp_path / "run", "--model", "unet-tiny", "--set", "train.steps=2")
    assert say(*begin, "--batch", 2, "--imgsz", 32, "--quiet")[0] == 0
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*"))
    go_on = ("train", "-o", tmp_path / "run", "--resume")
    for wish, told in {
        ("--lr", 0.5): "train.lr was 0.001 and is 0.5",
        ("--epochs", 9): "train.steps was 2 and is 18",
        ("--amp",): "train.precision was '32' and is 'bf16'",
        ("--exist-ok",): "--resume and --exist-ok came together",
    }.items():
        code, words = say(*go_on, *wish)
        assert code == 1
        assert told in words
    write_data_set(tmp_path / "other", train=4, val=2, seed=6, size=(32, 32), classes=3)
    code, words = say("train", tmp_path / "other", "-o", tmp_path / "run", "--resume")
    assert code == 1
    assert "not those the run began with" in words
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")) == before
    assert say(*begin, "--batch", 2, "--imgsz", 32, "--resume", "--time", "5m", "--quiet")[0] == 0


def test_zero_and_255_stop_training_and_the_cure_works(tmp_path: Path, say: Say) -> None:
    data = tmp_path / "data"
    write_data_set(data, train=4, val=2, seed=5, size=(32, 32), classes=2)
    for mask in data.rglob("masks/*.png"):
        Image.fromarray((np.array(Image.open(mask)) > 0).astype(np.uint8) * 255).save(mask)
    code, told = say("check", data)
    assert code == 2
    assert "zero-255" in told
    assert say("train", data, "-o", tmp_path / "run", "--model", "unet-tiny", "--epochs", 1)[0] == 1
    say("check", data, "--fix", tmp_path / "cured", "--quiet")
    assert say("check", tmp_path / "cured", "--quiet")[0] in (0, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[train]\nstep = 3\n", "did you mean 'steps'"),
        ("[train]\nsteps = 'many'\n", "expected int, got 'many'"),
        ("model = 'unet-tiny'\nmodel = 'unet'\n", "line 2"),
        ("[train]\nsteps = 0\n", "at least 1"),
        ("data = 'nowhere'\n", "nowhere"),
    ],
)
def test_a_bad_recipe(text: str, told: str, tmp_path: Path, say: Say) -> None:
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    code, said = say("train", tmp_path / "r.toml", "-o", tmp_path / "run")
    assert code == 1
    assert told in said
    assert not (tmp_path / "run").exists()


def test_a_bad_setting(shapes: Path, tmp_path: Path, say: Say) -> None:
    code, told = say("train", shapes, "-o", tmp_path / "run", "--epochs", 1, "--set", "train.stepps=3")
    assert code == 1
    assert "did you mean 'steps'" in told


def test_one_image_alone_trains_and_says_so(tmp_path: Path, say: Say) -> None:
    write_data_set(tmp_path / "one", train=1, val=0, seed=5, size=(32, 32), classes=3, layout="plain")
    small = ("--set", "train.steps=2", "--set", "train.batch=1", "--model", "unet-tiny")
    code, told = say("train", tmp_path / "one", "-o", tmp_path / "run", *small)
    assert code == 0, told
    assert "ONLY ONE IMAGE" in told
