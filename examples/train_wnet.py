"""W-Net learns to divide pictures without any labels, by its paper's schedule.

    python examples/train_wnet.py PICTURES -o RUN                      # the paper: 50000 steps of 10 pictures
    python examples/train_wnet.py PICTURES -o RUN --model wnet-small --steps 2000 --size 96

``PICTURES`` is a folder of pictures (the paper took those of PASCAL VOC 2012). RUN then holds
``wnet.safetensors``, which ``seg.load`` and ``seg predict -m`` take, and ``parts.png``, a sheet of pictures
with the parts found in them.

Schedule of Xia and Kulis 2017 (arXiv:1711.08506, sections 3 and 4): pictures of 224 x 224, ten a step, from
scratch, plain stochastic gradient descent, 50000 steps; the rate is 0.003, divided by ten after every 1000
steps; dropout of 0.65, which is in the network (``wnet``; the small variants have none). Two steps a batch:
the encoder alone goes down the soft normalised cut, then both U-Nets go down the error of what they paint.
So the rate is below 1e-8 after 6000 steps, and little is learned in the rest; ``--decay-every`` stretches it.
The paper's dense field and merging of contours after the network are not here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import segmentarium as seg
from segmentarium.data.normalise import Normalise
from segmentarium.engine.device import choose_device
from segmentarium.engine.sources import find_images
from segmentarium.errors import BadData, SegError
from segmentarium.models import build, config_of
from segmentarium.models.wnet import WNet
from segmentarium.values import Classes, contact_sheet, ensure_folder, overlay, read_image, to_rgb8
from segmentarium.weights.store import save_weights

LR = 0.003
DECAY = 0.1
SHOWN = 8


def picture(path: Path, side: int) -> np.ndarray:
    """The picture as 8-bit RGB, brought to ``side`` x ``side`` pixels."""
    pixels, _ = to_rgb8(read_image(path))
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def batches(
    paths: Sequence[Path], *, side: int, batch: int, normalise: Normalise, seed: int
) -> Iterator[Tensor]:
    """Batches without end, every picture once before any comes again."""
    chance, waiting = np.random.default_rng(seed), list[int]()
    while True:
        while len(waiting) < batch:
            waiting += chance.permutation(len(paths)).tolist()
        chosen, waiting = waiting[:batch], waiting[batch:]
        yield torch.from_numpy(np.stack([normalise(picture(paths[i], side)) for i in chosen]))


def learn(
    network: WNet, images: Iterator[Tensor], *, steps: int, lr: float = LR, decay_every: int = 1000
) -> Iterator[tuple[float, float]]:
    """Take ``steps`` double steps; yields the cut and the error of the painted picture of each."""
    encoder = torch.optim.SGD(network.encoder.parameters(), lr=lr)
    whole = torch.optim.SGD(network.parameters(), lr=lr)
    network.train()
    device = next(network.parameters()).device
    for step in range(steps):
        for group in encoder.param_groups + whole.param_groups:
            group["lr"] = lr * DECAY ** (step // decay_every)
        batch = next(images).to(device)
        told = []
        for name, optimizer in (("cut", encoder), ("reconstruction", whole)):
            whole.zero_grad()  # all weights: none of the first step's gradient may stay for the second
            loss = network.terms(batch)[name]
            loss.backward()
            optimizer.step()
            told.append(float(loss.detach()))
        yield told[0], told[1]


def save(path: Path, network: WNet, *, model: str, normalise: Normalise, side: int, step: int) -> None:
    """Write the weights with what ``seg.load`` needs to use them."""
    facts = {
        "model": model,
        "classes": Classes.named(*(f"part {i + 1}" for i in range(network.config.classes))).to_json(),
        "in_channels": network.config.in_channels,
        "normalise": normalise.to_json(),
        "tile": [side, side],
        "step": step,
        "task": "semantic",
    }
    save_weights(path, network.state_dict(), {"segmentarium": json.dumps(facts)})


def sheet(weights: Path, paths: Sequence[Path], *, side: int, device: str) -> Image.Image:
    """Some of the pictures, each beside the parts that the saved network finds in it."""
    model, cells = seg.load(weights, device=device), []
    for path in paths[:: max(1, len(paths) // SHOWN)][:SHOWN]:
        pixels = picture(path, side)
        found = model(pixels)
        parts = len(np.unique(found.labels))
        cells.append((Image.fromarray(pixels), path.name))
        cells.append(
            (
                overlay(pixels, found.labels, found.classes, with_legend=False),
                f"{parts} part" + "s" * (parts != 1),
            )
        )
    return contact_sheet(cells, columns=4, cell=max(side, 160), title="Parts without names")


def train(args: argparse.Namespace) -> Path:
    """Learn as ``args`` say; returns the weight file.

    Raises:
        BadData: no picture, weights are there already, or the model is no W-Net.
    """
    weights = args.out / "wnet.safetensors"
    if weights.exists():
        raise BadData(f"{weights} is there already", allowed="a run not begun", cure="name another folder")
    if min(args.steps, args.batch, args.size, args.decay_every) < 1:
        raise BadData("a number of steps, pictures or pixels is below 1", allowed="1 or more")
    paths = find_images([args.pictures])
    torch.manual_seed(args.seed)
    network = build(args.model, classes=args.parts or config_of(args.model).classes)
    if not isinstance(network, WNet):
        raise BadData(f"{args.model} is no W-Net", allowed="wnet, wnet-small, wnet-tiny")
    device = choose_device(args.device).name
    # the cut weighs differences of intensity, so pictures are divided by just what the network counts with
    normalise = Normalise(channels=3, mean=(0.5,) * 3, std=(network.config.unit / 255,) * 3)
    images = batches(paths, side=args.size, batch=args.batch, normalise=normalise, seed=args.seed)
    done = learn(network.to(device), images, steps=args.steps, lr=args.lr, decay_every=args.decay_every)
    ensure_folder(args.out)
    for step, (cut, error) in enumerate(done, 1):
        if step % args.save_every == 0 or step == args.steps:
            print(f"step {step}: cut {cut:.4f}, error {error:.4f}", flush=True)
            save(weights, network, model=args.model, normalise=normalise, side=args.size, step=step)
    sheet(weights, paths, side=args.size, device=args.device).save(args.out / "parts.png")
    return weights


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, help="folder of pictures")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for weights and sheet")
    parser.add_argument("--model", default="wnet", help="wnet (the paper's), wnet-small or wnet-tiny")
    parser.add_argument(
        "--parts", type=int, default=0, help="most parts of a picture; 0 as the variant has it"
    )
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--size", type=int, default=224, help="side of the pictures in pixels")
    parser.add_argument("--lr", type=float, default=LR)
    parser.add_argument(
        "--decay-every", type=int, default=1000, help="steps until the rate is divided by ten"
    )
    parser.add_argument("--save-every", type=int, default=500, help="steps between saves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    try:
        print(train(parser.parse_args(words)))
    except SegError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
