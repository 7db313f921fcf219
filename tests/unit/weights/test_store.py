"""Weight files are whole or absent, and fit or are refused in a sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from segmentarium.errors import CannotWrite, WeightsMismatch
from segmentarium.weights import fit, load_weights, save_weights

TENSORS = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.ones(2, dtype=torch.float16)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "some näme.safetensors"
    save_weights(path, TENSORS, {"segmentarium": "{}"})
    return path


def test_comes_back_as_it_went(saved: Path) -> None:
    tensors, facts = load_weights(saved)
    assert facts == {"segmentarium": "{}"}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_layout_and_sharing_do_not_matter(tmp_path: Path) -> None:
    weight = torch.rand(4, 3, 5, 5).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "w.safetensors", {"a": weight, "b": weight, "c": weight[1:]}, {})
    tensors, _ = load_weights(tmp_path / "w.safetensors")
    assert torch.equal(tensors["b"], weight)
    assert torch.equal(tensors["c"], weight[1:])


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_a_damaged_file_is_told(saved: Path, cut: int) -> None:
    saved.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(WeightsMismatch, match="cannot be read as weights") as caught:
        load_weights(saved)
    assert "\n" not in str(caught.value)


def test_a_missing_or_foreign_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match="there is no weight file"):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, this is no weight file at all")
    with pytest.raises(WeightsMismatch, match="cannot be read"):
        load_weights(tmp_path / "text.safetensors")


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite):
        save_weights(tmp_path / "none" / "w.safetensors", TENSORS, {})


def test_the_digest_must_be_the_promised_one(saved: Path) -> None:
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    load_weights(saved, sha256=digest)
    with pytest.raises(WeightsMismatch, match="SHA-256"):
        load_weights(saved, sha256="0" * 64)


class Trap:
    """What a hostile file would hold: an object whose reading calls something."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("the file was run",)


def test_pickles_are_read_but_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": TENSORS}, tmp_path / "good.pth")
    assert load_weights(tmp_path / "good.pth")[0].keys() == TENSORS.keys()
    torch.save({"state_dict": TENSORS, "more": Trap()}, tmp_path / "bad.pt")
    torch.save(3, tmp_path / "number.pt")
    for name in ("bad.pt", "number.pt"):
        with pytest.raises(WeightsMismatch, match="dictionary of tensors"):
            load_weights(tmp_path / name)
    assert "run" not in capsys.readouterr().out


def test_a_misfit_names_tensors_and_leaves_the_network_alone() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    foreign = {
        "0.weight": torch.zeros(2, 4),
        "0.bias": torch.zeros(2),
        "1.weight": torch.zeros(2, 2),
        "x": torch.zeros(1),
    }
    with pytest.raises(WeightsMismatch) as caught:
        fit(network, foreign, where="run.safetensors")
    told = str(caught.value)
    assert "run.safetensors does not fit" in told
    assert "1 missing (1.bias)" in told
    assert "1 foreign (x)" in told
    assert "1 of another shape (0.weight (2, 4) for (2, 3))" in told
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
