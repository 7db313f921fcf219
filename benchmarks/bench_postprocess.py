"""Read-outs of networks: ours against transformers, torchvision and pycocotools, on two threads.

    python benchmarks/bench_postprocess.py [--rounds 5] [--only semantic panoptic] [--size 1024]

Bars: semantic 4 times transformers, panoptic 6 times; masks in boxes 5 times torchvision, as run-length code
5 times torchvision with pycocotools. transformers resizes Mask2Former's masks to 384x384 and mixes classes
there, which is another rule than the paper's, with less to compute; both are raced. "noise" is the worst case
for us: masks without any shape, so that no cell of pixels is decided before its pixels are looked at.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from harness import Race
from segmentarium.nn.outputs import Queries
from segmentarium.post import finish, paste, paste_full
from segmentarium.values.classes import Class, Classes, distinct_color

QUERIES, CLASSES, OBJECTS, STRIDE = 100, 150, 40, 4
NAMES = Classes(
    Class(id=i, name=f"class {i}", color=distinct_color(i), thing=i < 100) for i in range(CLASSES)
)


def answers(size: int, *, noise: bool = False) -> Queries:
    """40 sure queries whose masks part the picture into cells of random shape, and 60 without object."""
    draw = torch.Generator().manual_seed(0)
    side = size // STRIDE
    sites = torch.rand(OBJECTS, 2, generator=draw) * side
    at = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), -1).float()
    nearest = torch.cdist(at.reshape(-1, 2), sites).argmin(1).reshape(side, side)
    masks = torch.randn(1, QUERIES, side, side, generator=draw) * 0.5
    if not noise:
        masks -= 6
        masks[0, :OBJECTS] += 12 * (nearest == torch.arange(OBJECTS)[:, None, None])
        masks = avg_pool2d(masks, 5, 1, 2)
    labels = torch.randn(1, QUERIES, CLASSES + 1, generator=draw)
    chosen = torch.randint(0, CLASSES, (OBJECTS, 1), generator=draw)
    labels[0, :OBJECTS, :CLASSES].scatter_(1, chosen, 9.0)
    labels[0, OBJECTS:, CLASSES] = 9.0
    return Queries(labels, masks)


def boxed_masks(size: int, count: int = 100, side: int = 28) -> tuple[Tensor, Tensor]:
    """Boxes of some 120 pixels, and round, bumpy masks in them."""
    draw = torch.Generator().manual_seed(1)
    sides = (torch.randn(count, 2, generator=draw) * 0.6 + np.log(120)).exp().clamp(16, 0.8 * size)
    corners = torch.rand(count, 2, generator=draw) * (size - sides)
    line = torch.linspace(-1, 1, side)
    radius = torch.hypot(line[:, None], line)
    bumps = interpolate(torch.randn(count, 1, 5, 5, generator=draw), (side, side), mode="bilinear")[:, 0]
    return torch.cat([corners, corners + sides], 1), 8 * (0.8 - radius) + bumps


def race_semantic(size: int, rounds: int) -> None:
    from transformers.models.mask2former import Mask2FormerImageProcessor

    peer, told = Mask2FormerImageProcessor(), {"task": "semantic", "size": (size, size), "classes": NAMES}
    for kind in ("objects", "noise"):
        output = answers(size, noise=kind == "noise")
        theirs = SimpleNamespace(
            class_queries_logits=output.class_logits, masks_queries_logits=output.mask_logits
        )

        def written(output: Queries = output) -> Tensor:
            masks = interpolate(output.mask_logits, (size, size), mode="bilinear")[0].sigmoid()
            chances = output.class_logits[0].softmax(-1)[:, :-1]
            return torch.einsum("qk,qhw->khw", chances, masks).argmax(0)

        contenders: dict[str, Callable[[], object]] = {
            "transformers (its rule)": lambda t=theirs: peer.post_process_semantic_segmentation(
                t, [(size, size)]
            )[0],
            "ours, the paper's rule": lambda o=output: finish(o, **told).labels,
            "ours, transformers' rule": lambda o=output: (
                finish(o, settings={"grid": (384, 384)}, **told).labels
            ),
            "the paper's rule in plain torch": written,
        }
        results = {name: np.asarray(call()) for name, call in contenders.items()}
        their, paper, same, plain = results.values()
        agreed = f"labels agree with theirs on {(same == their).mean():.4%} by their rule, on "
        agreed += (
            f"{(paper == their).mean():.4%} by the paper's, which is torch's on {(paper == plain).mean():.5%}"
        )
        Race(f"semantic, {kind}: {agreed}").run(contenders, rounds=rounds).show()


def race_panoptic(size: int, rounds: int) -> None:
    from transformers.models.mask2former import Mask2FormerImageProcessor

    peer, output = Mask2FormerImageProcessor(), answers(size)
    theirs = SimpleNamespace(
        class_queries_logits=output.class_logits, masks_queries_logits=output.mask_logits
    )
    stuff = {i for i, c in enumerate(NAMES) if not c.thing}
    told = {"task": "panoptic", "size": (size, size), "classes": NAMES}
    contenders: dict[str, Callable[[], object]] = {
        "transformers": lambda: peer.post_process_panoptic_segmentation(
            theirs, label_ids_to_fuse=stuff, target_sizes=[(size, size)]
        )[0],
    }
    for rule in ("mask2former", "maskformer", "detr", "max_deeplab", "kmax_deeplab"):
        contenders[f"ours, {rule}"] = lambda rule=rule: finish(output, rule=rule, **told)
    ours = finish(output, rule="mask2former", **told)
    their = contenders["transformers"]()
    same = (ours.ids == their["segmentation"].numpy()).mean()
    title = f"panoptic: {len(ours.segments)} segments; numbers agree with transformers' on {same:.4%}"
    Race(title).run(contenders, rounds=rounds).show()


def race_instances(size: int, rounds: int) -> None:
    from transformers.models.mask2former import Mask2FormerImageProcessor

    peer, output = Mask2FormerImageProcessor(), answers(size)
    theirs = SimpleNamespace(
        class_queries_logits=output.class_logits, masks_queries_logits=output.mask_logits
    )
    told = {"task": "instance", "size": (size, size), "classes": NAMES}
    contenders: dict[str, Callable[[], object]] = {
        "transformers, full masks": lambda: peer.post_process_instance_segmentation(
            theirs, target_sizes=[(size, size)], return_binary_maps=True
        ),
        "ours, mask2former, run-length": lambda: finish(output, rule="mask2former", **told),
        "ours, detr, run-length": lambda: finish(output, rule="detr", **told),
    }
    Race("instances of 100 queries").run(contenders, rounds=rounds).show()


def race_paste(size: int, rounds: int) -> None:
    from pycocotools import mask as coco_mask
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    boxes, logits = boxed_masks(size)
    shape = (size, size)

    def torchvision() -> Tensor:
        return paste_masks_in_image(logits.sigmoid()[:, None], boxes, shape)[:, 0] > 0.5

    def coded() -> object:
        masks = torchvision().permute(1, 2, 0).numpy().astype(np.uint8)
        return coco_mask.encode(np.asfortranarray(masks))

    same = (paste_full(boxes, logits, shape, rule="torchvision") == torchvision().numpy()).mean()
    Race(f"100 masks into full pictures; pixels agree on {same:.7%}").run(
        {
            "torchvision": torchvision,
            "ours, torchvision's rule": lambda: paste_full(boxes, logits, shape, rule="torchvision"),
            "ours, detectron2's rule": lambda: paste_full(boxes, logits, shape),
        },
        rounds=rounds,
    ).show()
    Race("100 masks to run-length code").run(
        {
            "torchvision + pycocotools": coded,
            "ours, torchvision's rule": lambda: paste(boxes, logits, shape, rule="torchvision"),
            "ours, detectron2's rule": lambda: paste(boxes, logits, shape),
        },
        rounds=rounds,
    ).show()


RACES = {
    "semantic": race_semantic,
    "panoptic": race_panoptic,
    "instance": race_instances,
    "paste": race_paste,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=RACES, default=list(RACES))
    parser.add_argument("--size", type=int, default=1024)
    asked = parser.parse_args()
    torch.set_num_threads(2)
    with torch.inference_mode():
        for name in asked.only:
            RACES[name](asked.size, asked.rounds)


if __name__ == "__main__":
    main()
