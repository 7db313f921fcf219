"""The example that trains W-Net: two steps a batch, and weights that the library takes."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import segmentarium as seg
from segmentarium.data import draw_scene
from segmentarium.models import build

PROGRAM: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "train_wnet.py"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(3):
        scene = draw_scene(i, size=(40, 56), classes=3)
        Image.fromarray(scene.image.pixels).save(folder / f"{i}.png")
    return folder


def test_two_steps_write_weights_and_a_sheet(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(pictures), "-o", str(tmp_path / "run"), "--model", "wnet-tiny", "--steps", "2"]
    words += ["--batch", "4", "--size", "32", "--device", "cpu"]
    PROGRAM["main"](words)
    assert "step 2: cut" in capsys.readouterr().out
    model = seg.load(tmp_path / "run" / "wnet.safetensors", device="cpu")
    assert [c.name for c in model.classes] == ["part 1", "part 2", "part 3", "part 4"]
    assert model(pictures / "0.png").labels.shape == (40, 56)
    with Image.open(tmp_path / "run" / "parts.png") as sheet:
        assert sheet.width > 4 * 32
    with pytest.raises(SystemExit, match="is there already"):
        PROGRAM["main"](words)


def test_the_cut_moves_the_encoder_and_the_error_both() -> None:
    torch.manual_seed(0)
    network = build("wnet-tiny", classes=4)
    before = {name: value.clone() for name, value in network.named_parameters()}
    seen, kept = [], network.terms

    def watched(batch: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append({n for n, value in network.named_parameters() if not torch.equal(value, before[n])})
        return kept(batch)  # type: ignore[no-any-return]

    network.terms = watched
    images = iter([torch.randn(2, 3, 16, 16)])
    assert len(list(PROGRAM["learn"](network, images, steps=1))) == 1
    first, second = seen
    assert not first
    assert second
    assert all(name.startswith("encoder.") for name in second)
    moved = {n.split(".")[0] for n, value in network.named_parameters() if not torch.equal(value, before[n])}
    assert moved == {"encoder", "decoder"}


def test_the_rate_falls_to_a_tenth() -> None:
    network = build("wnet-tiny", classes=4)
    images = iter([torch.randn(1, 3, 16, 16)] * 3)
    moves, weight = [], network.encoder.classify.weight
    last = weight.detach().clone()
    for _ in PROGRAM["learn"](network, images, steps=3, decay_every=1):
        moves.append(float((weight.detach() - last).norm()))
        last = weight.detach().clone()
    assert moves[0] > 3 * moves[1] > 9 * moves[2] > 0


def test_other_networks_are_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no W-Net"):
        PROGRAM["main"]([str(pictures), "-o", str(tmp_path / "run"), "--model", "unet-tiny", "--steps", "1"])
