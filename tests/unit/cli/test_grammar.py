"""The grammar of ``seg``: verbs, exit codes, habits of other tools, and what machines are given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium.cli.app import main, spoken_as_flags
from segmentarium.cli.training import run_folder

VERBS = ("demo", "models", "show", "check", "plan", "train", "predict", "eval", "report", "doctor")


def run(*words: str) -> int:
    """The exit code of ``seg WORDS``."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    code = end.value.code
    return code if isinstance(code, int) else 0


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    told = capsys.readouterr().out
    assert all(verb in told for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_speaks_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, "--help") == 0
    assert "--json" in capsys.readouterr().out


def test_an_unknown_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("trian") == 2
    assert "Did you mean 'train'?" in capsys.readouterr().err


def test_an_unknown_flag_is_wrong_usage() -> None:
    assert run("models", "--jsonn") == 2


def test_a_missing_folder_is_told_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(tmp_path / "nowhere")) == 1
    told = capsys.readouterr().err
    assert told.startswith("seg: ")
    assert "nowhere" in told
    assert "Traceback" not in told


def test_two_data_sets_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run("train", str(tmp_path / "one"), "--data", str(tmp_path / "other"), "-o", str(tmp_path / "run"))
        == 2
    )
    assert "give one of them" in capsys.readouterr().err.replace("\n", " ")


def test_errors_are_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("eval", "unet@nucleii", str(tmp_path), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"error", "came", "allowed", "cure"}


def test_models_as_json_have_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"name", "task", "paper", "output", "parameters", "weights", "licence"} <= set(rows[0])
    assert {"unet", "unet-padded_bn", "unet-tiny"} <= {row["name"] for row in rows}


def test_show_offers_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "uent") == 1
    assert "unet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "spoken"),
    [
        (["train", "d", "epochs=50"], ["train", "d", "--epochs", "50"]),
        (["train", "d", "--set", "train.lr=1e-3"], ["train", "d", "--set", "train.lr=1e-3"]),
        (["train", "d", "--epochs=50"], ["train", "d", "--epochs=50"]),
        (["predict", "a=b.png"], ["predict", "--a", "b.png"]),
    ],
)
def test_assignments_are_read_as_flags(words: list[str], spoken: list[str]) -> None:
    assert spoken_as_flags(words) == spoken


def test_a_file_with_an_equals_sign_stays_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.png").touch()
    assert spoken_as_flags(["predict", "a=b.png"]) == ["predict", "a=b.png"]


def test_run_folders_are_numbered(tmp_path: Path) -> None:
    def folder(**how: bool) -> str:
        return run_folder(
            None, tmp_path, "train", resume=how.get("resume", False), exist_ok=how.get("ok", False)
        ).name

    assert folder() == "train"
    (tmp_path / "train").mkdir()
    (tmp_path / "train2").mkdir()
    assert folder() == "train3"
    assert folder(resume=True) == "train2"
    assert folder(ok=True) == "train"


def test_module_and_script_are_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "segmentarium", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("segmentarium ")


def test_every_classical_method_is_a_verb_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("classic", "--help") == 0
    assert "threshold" in capsys.readouterr().out
    assert run("classic", "threshold", "--help") == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("--json", "--bright", "--no-bright", "--window", "sauvola"))


def test_an_unknown_method_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("classic", "treshold", "a.png") == 2
    assert "unknown method 'treshold'. Did you mean 'threshold'?" in capsys.readouterr().err


def test_a_classical_method_speaks_json_and_tells_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Pil.fromarray(np.arange(60, dtype=np.uint8).reshape(6, 10)).save(tmp_path / "a.png")
    words = ("classic", "threshold", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"))
    assert run(*words, "--no-bright", "--json") == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["shares"]["foreground"] == pytest.approx(0.5, abs=0.05)
    assert run(*words, "--method", "sauvola", "--window", "4") == 1
    assert "window = 4" in capsys.readouterr().out
    assert run(*words, "--method", "magic") == 2
