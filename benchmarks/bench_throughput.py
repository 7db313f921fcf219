"""Training throughput, end to end, beside a plain loop of segmentation-models-pytorch with torchvision v2.

Decode, augment, forward, backward and step, with the same network, crop, batch, optimiser and files.

    python benchmarks/bench_throughput.py --data ../shared/data/camvid --steps 12 --rounds 5

Without ``--data`` it draws shapes. Ours is ``TrainBatches`` with the step of our engine (channels last, fused
AdamW); theirs is the loop that its users write: ``DataLoader``, ``Compose``, the default format.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from harness import Race
from segmentarium.data import open_data
from segmentarium.data.dataset import DataSet
from segmentarium.data.loader import TrainBatches
from segmentarium.data.normalise import Normalise
from segmentarium.data.pictures import Pictures
from segmentarium.data.shapes import write_data_set
from segmentarium.data.transforms import Augment

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IGNORED = 255


class PlainFiles(Dataset[tuple[Tensor, Tensor]]):
    """What users of the peers write: decode both files, apply one ``Compose``."""

    def __init__(self, data: DataSet, crop: int) -> None:
        self.pairs = data.train
        self.table = torch.full((256,), IGNORED, dtype=torch.uint8)
        for index, identity in enumerate(data.classes.ids):
            if identity not in data.ignore_ids:
                self.table[identity] = index
        scaled = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
        self.transform = v2.Compose(
            [
                v2.RandomResize(round(0.5 * crop), 2 * crop, antialias=True),
                v2.RandomCrop(crop, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED}),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.2, 0.2, 0.2),
                v2.ToDtype(scaled, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[index]
        image = tv_tensors.Image(decode_image(str(pair.image), ImageReadMode.RGB))
        mask = tv_tensors.Mask(self.table[decode_image(str(pair.mask))[0].long()])
        return self.transform(image, mask)


def network(classes: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return smp.Unet("resnet18", encoder_weights=None, classes=classes).train()


def our_epochs(data: DataSet, options: argparse.Namespace) -> Callable[[], None]:
    model = network(len(data.classes), 0).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    loss = nn.CrossEntropyLoss(ignore_index=-1)
    samples = Pictures(
        data,
        normalise=Normalise(channels=3, mean=MEAN, std=STD),
        augment=Augment(),
        crop=(options.crop, options.crop),
        memory_format=torch.channels_last,
    )
    batches = TrainBatches(samples, batch=options.batch, seed=0, workers=options.workers)
    starts = count(0, options.steps)

    def run() -> None:
        start = next(starts)
        for batch in batches.batches(start, start + options.steps):
            optimiser.zero_grad()
            loss(model(batch.images), batch.labels).backward()
            optimiser.step()

    return run


def their_epochs(data: DataSet, options: argparse.Namespace) -> Callable[[], None]:
    model = network(len(data.classes), 0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss = nn.CrossEntropyLoss(ignore_index=IGNORED)
    loader = DataLoader(
        PlainFiles(data, options.crop),
        options.batch,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )

    def endless() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    stream = endless()

    def run() -> None:
        for _ in range(options.steps):
            images, labels = next(stream)
            optimiser.zero_grad()
            loss(model(images), labels).backward()
            optimiser.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12, help="steps in a timed run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="our threads, their processes")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            write_data_set(Path(folder), train=64, val=4, seed=0, size=(360, 480))
        data = open_data(options.data or Path(folder))
        contenders = {
            "smp + torchvision v2, plain loop": their_epochs(data, options),
            "segmentarium": our_epochs(data, options),
        }
        title = (
            f"training, unet-resnet18, {options.crop} px, batch {options.batch}, {options.steps} steps a run"
        )
        race = Race(title, work=options.steps * options.batch, unit="images")
        race.run(contenders, rounds=options.rounds).show()


if __name__ == "__main__":
    main()
