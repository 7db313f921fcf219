"""Tiled prediction: the time beside the network's own, and memory that does not grow with the image.

    python benchmarks/bench_tiled.py --network cheap --size 4096
    python benchmarks/bench_tiled.py --network unet-resnet34 --size 8192 --rounds 1
    python benchmarks/bench_tiled.py --network cheap --memory --width 8192 --heights 2048 8192

19 classes, tiles of 512 pixels, a quarter of overlap. The contender to beat is the network alone on the very
same tiles, normalised beforehand: as torch runs it unasked (channels first, as in the peers' benchmarks), and
in channels last, which is what we run it in. MONAI's sliding window and an argmax join the
race if it is installed.
Memory is the peak of resident memory above what is resident when the network has seen its first tiles, for an
uncompressed TIFF on the disk.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile
import torch
from torch import Tensor, nn

from harness import Race
from segmentarium.data.normalise import Normalise
from segmentarium.engine.tiled import Eye, Tiling, label_bands
from segmentarium.models import build
from segmentarium.nn.outputs import Semantic
from segmentarium.ops.tiles import plan_tiles
from segmentarium.values.rows import open_rows

CLASSES, TILE, OVERLAP = 19, (512, 512), 0.25


class Cheap(nn.Module):
    """Three convolutions: 0.4 GFLOP a tile, so that stitching dominates; ``full`` also resizes its scores."""

    def __init__(self, *, full: bool = True) -> None:
        super().__init__()
        layers = [
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(16, CLASSES, 1),
        ]
        self.net = nn.Sequential(*layers, *([nn.Upsample(scale_factor=2, mode="bilinear")] if full else []))

    def forward(self, image: Tensor) -> Semantic:
        return Semantic(self.net(image))


class Repeated:
    """An image of any size that holds one band of noise, shown again and again."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width, 3)
        self.band = np.random.default_rng(0).integers(0, 256, (1024, width, 3), dtype=np.uint8)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.band[np.arange(*rows.indices(self.shape[0])) % len(self.band)]


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = Cheap(full=name == "cheap") if name.startswith("cheap") else build(name, classes=CLASSES)
    return network.eval().to(memory_format=torch.channels_last)


def race(name: str, size: tuple[int, int], rounds: int) -> None:
    network, source = network_of(name), Repeated(*size)
    eye, tiling = Eye(network, Normalise.plain(3)), Tiling(tile=TILE, overlap=OVERLAP, always=True)
    windows = plan_tiles(size, TILE, OVERLAP)
    band = torch.from_numpy(source.band).permute(2, 0, 1)[None].float().div(255)
    views = [
        band[:, :, : TILE[0], window.left : window.right].contiguous(memory_format=torch.channels_last)
        for window in windows
        if window.top == 0
    ]

    def network_alone() -> None:
        with torch.inference_mode():
            for number in range(len(windows)):
                network(views[number % len(views)])

    given = network_of(name).to(memory_format=torch.contiguous_format)
    views_given = [view.contiguous() for view in views]

    def network_as_given() -> None:
        with torch.inference_mode():
            for number in range(len(windows)):
                given(views_given[number % len(views_given)])

    def tiled() -> None:
        for _ in label_bands(source, eye, tiling):
            pass

    title = f"{name}, {size[0]}x{size[1]}, {len(windows)} tiles, {torch.get_num_threads()} threads"
    contenders: dict[str, Callable[[], object]] = {"network alone": network_alone, "label_bands": tiled}
    if name.startswith("cheap"):
        contenders["network alone, channels first"] = network_as_given
    contenders |= _monai(given, source, name)
    result = Race(title, work=len(windows), unit="tiles").run(contenders, rounds=rounds)
    result.show()
    for alone in (each for each in contenders if each.startswith("network")):
        wall = result.median("label_bands") / result.median(alone)
        cpu = result.cpu("label_bands") / result.cpu(alone)
        print(f"time / {alone}: wall {wall:.3f}, processor {cpu:.3f}")


def _monai(network: nn.Module, source: Repeated, name: str) -> dict[str, Callable[[], object]]:
    """MONAI, where it is installed, on an image normalised beforehand; it needs scores at full size."""
    if name != "cheap" or find_spec("monai") is None:
        return {}
    from monai.inferers import sliding_window_inference

    image = torch.from_numpy(source[0 : source.shape[0]]).permute(2, 0, 1)[None].float().div(255)

    @torch.inference_mode()
    def monai() -> Tensor:
        scores = sliding_window_inference(
            image, TILE, 1, lambda tile: network(tile).logits, overlap=OVERLAP, mode="gaussian"
        )
        return scores.argmax(1).to(torch.uint8)

    return {"MONAI sliding_window_inference": monai}


def write_tiff(path: Path, size: tuple[int, int]) -> None:
    """An uncompressed TIFF of the repeated band, written row by row."""
    source = Repeated(*size)
    bands = (source[top : top + 1] for top in range(size[0]))
    tifffile.imwrite(
        path, bands, shape=(*size, 3), dtype=np.uint8, photometric="rgb", rowsperstrip=1, bigtiff=True
    )


def peak_above_network(name: str, path: Path) -> float:
    """Bytes; Linux only."""
    network, source = network_of(name), open_rows(path)
    assert source.mapped
    eye, tiling = Eye(network, Normalise.plain(3)), Tiling(tile=TILE, overlap=OVERLAP, always=True)
    for _ in label_bands(Repeated(*TILE), eye, tiling):
        pass
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    for _ in label_bands(source, eye, tiling):
        pass
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--network", default="cheap", help="cheap, cheap-half (scores at half size), or a model's name"
    )
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--width", type=int)
    parser.add_argument("--heights", type=int, nargs="*", default=[2048, 8192])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure memory at two heights, not time")
    asked = parser.parse_args()
    width = asked.width or asked.size
    if not asked.memory:
        race(asked.network, (asked.size, width), asked.rounds)
        return
    for height in asked.heights:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "huge.tif"
            write_tiff(path, (height, width))
            peak = peak_above_network(asked.network, path)
        print(f"{asked.network}, {height}x{width}: {peak / 2**20:.0f} MiB above the network")


if __name__ == "__main__":
    main()
