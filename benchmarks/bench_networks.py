"""Our networks beside those of torchvision, segmentation-models-pytorch and transformers: the same weights.

    python benchmarks/bench_networks.py [--rounds 5] [--only unet detr] [--threads 2] [--train | --infer]

Prediction: one image of 512x512, in float32 on the CPU. Theirs is what their users call, in evaluation
mode; ours is ``nn.inference.prepared``, and its scores are enlarged as theirs are. Masks of Mask R-CNN are
pasted into the picture by both. The answers are compared before anything is timed.

Training: one step on four crops of 256x256, each with the loss that its users take: cross-entropy at full
size, with auxiliary heads where there are any, or the loss of queries or regions. Ours has the layout and the
fused SGD that ``seg train`` gives it.

Bars: prediction takes at most 0.85 of their time as a geometric mean and nowhere more than theirs; training
steps take at most theirs. Processor time is what other jobs on the machine disturb least.

Theirs runs in an interpreter of its own, where idle threads spin as long as is torch's default; ours as
``import segmentarium`` asks for.
"""

from __future__ import annotations

import segmentarium  # noqa: F401  before torch, whose threads it tells how to wait

# isort: split

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import geometric_mean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness import Apart, Race, serve
from segmentarium.losses import MaskClassificationLoss, SemanticLoss
from segmentarium.losses.detr import DetrLoss
from segmentarium.models import build, config_of
from segmentarium.nn import Truth, boxes_of
from segmentarium.nn.inference import prepared
from segmentarium.nn.layout import training_layout
from segmentarium.post import finish
from segmentarium.values import Classes, Instances
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

SIDE, CROP, BATCH, CLASSES = 512, 256, 4, 21
RATE = {"lr": 1e-5, "momentum": 0.9}
MOST_MEAN, MOST_EACH = 0.85, 1.0
ALIKE = 1e-3
LOUDER, QUIETER = 4.0, 0.05  # classes and masks, and boxes, of untrained detectors: or they find nothing

Work = Callable[[], Any]


@dataclass(frozen=True)
class Pair:
    """A network of ours and one of theirs that compute the same.

    Attributes:
        source: our architecture and the table of its card that names theirs.
        theirs: makes theirs.
        corners: whether theirs aligns corners when it enlarges its scores; None: it does not enlarge any.
    """

    source: str
    theirs: Callable[[], nn.Module]
    corners: bool | None = None


def smp(kind: str) -> nn.Module:
    import segmentation_models_pytorch as programs

    return getattr(programs, kind)("resnet34", encoder_weights=None, classes=CLASSES)


def torchvision(kind: str) -> nn.Module:
    from torchvision.models import segmentation as programs

    make = getattr(programs, kind)
    return make(weights=None, weights_backbone=None, aux_loss=True, num_classes=CLASSES)


def mask_rcnn() -> nn.Module:
    from torchvision.models import detection as programs

    sizes = {"min_size": SIDE, "max_size": SIDE, "image_mean": (0.0,) * 3, "image_std": (1.0,) * 3}
    network = programs.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, **sizes)
    for layer, factor in (
        (network.rpn.head.bbox_pred, QUIETER),
        (network.roi_heads.box_predictor.bbox_pred, QUIETER),
        (network.roi_heads.box_predictor.cls_score, LOUDER),
        (network.roi_heads.mask_predictor.mask_fcn_logits, LOUDER),
    ):
        layer.weight.data *= factor
    return network


def mask2former(backbone: str) -> nn.Module:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        SwinConfig,
        TimmBackboneConfig,
    )

    stages = ["stage1", "stage2", "stage3", "stage4"]
    inner = (
        SwinConfig(out_features=stages, drop_path_rate=0.0)
        if backbone == "swin_t"
        else TimmBackboneConfig(backbone=backbone, out_indices=(1, 2, 3, 4), use_pretrained_backbone=False)
    )
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=inner, num_labels=133))


def detr() -> nn.Module:
    from transformers import DetrConfig, DetrForSegmentation

    return DetrForSegmentation(DetrConfig(num_labels=250))


PAIRS = {
    "fcn_resnet": Pair("fcn_resnet@torchvision", partial(torchvision, "fcn_resnet50"), False),
    "deeplabv3": Pair("deeplabv3@torchvision", partial(torchvision, "deeplabv3_resnet50"), False),
    "mask_rcnn": Pair("mask_rcnn@torchvision", mask_rcnn),
    "deeplabv3-smp": Pair("deeplabv3@smp", partial(smp, "DeepLabV3"), True),
    "deeplabv3plus": Pair("deeplabv3plus@smp", partial(smp, "DeepLabV3Plus"), True),
    "fpn_segmentation": Pair("fpn_segmentation@smp", partial(smp, "FPN"), True),
    "linknet": Pair("linknet@smp", partial(smp, "Linknet")),
    "pspnet": Pair("pspnet@smp", partial(smp, "PSPNet"), True),
    "unet": Pair("unet@smp", partial(smp, "Unet")),
    "unet_plus_plus": Pair("unet_plus_plus@smp", partial(smp, "UnetPlusPlus")),
    "mask2former": Pair("mask2former@transformers", partial(mask2former, "resnet50")),
    "mask2former-swin_t": Pair("mask2former@transformers_swin_t", partial(mask2former, "swin_t")),
    "detr": Pair("detr@transformers", detr),
}


def both(pair: Pair) -> tuple[Any, Any]:
    """Ours with the weights of theirs; statistics and scales of norms are moved, so that none is idle."""
    torch.manual_seed(0)
    theirs = pair.theirs()
    for module in theirs.modules():
        if getattr(module, "running_var", None) is not None:
            module.running_mean.uniform_(-0.1, 0.1)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.8, 1.2)
    architecture, name = pair.source.split("@")
    source = read_card(architecture).sources[name]
    model = f"{architecture}-{source.variant}"
    semantic = read_card(architecture).output == "semantic"
    ours = build(model, classes=CLASSES if semantic else config_of(model).classes)
    fitted = ours.load_state_dict(translated(theirs.state_dict(), source), strict=False)
    missing = [name for name in fitted.missing_keys if not name.endswith("num_batches_tracked")]
    assert not missing, missing
    assert not fitted.unexpected_keys, fitted.unexpected_keys
    return ours, theirs


# prediction -------------------------------------------------------------------------------------------------


def their_answer(network: Any, image: Tensor) -> list[Tensor]:
    if hasattr(network, "roi_heads"):
        found = network([image[0]])[0]
        return [found["boxes"], found["scores"], found["masks"][:, 0]]
    if hasattr(network, "main_input_name"):
        said = network(pixel_values=image)
        if hasattr(said, "pred_masks"):
            return [said.logits, said.pred_masks]
        return [said.class_queries_logits, said.masks_queries_logits]
    said = network(image)
    return [said["out"] if isinstance(said, dict) else said]


def our_answer(network: Any, image: Tensor, corners: bool | None) -> list[Any]:
    output = network(image)
    if hasattr(output, "boxes") and hasattr(output, "image"):
        classes = Classes.named(*(f"class {i}" for i in range(network.config.classes)))
        result = finish(output, task="instance", size=(SIDE, SIDE), classes=classes, rule=network.readout)
        return [output.boxes, output.scores, result]
    if hasattr(output, "class_logits"):
        return [output.class_logits, output.mask_logits]
    if corners is None:
        return [output.logits]
    return [functional.interpolate(output.logits, (SIDE, SIDE), mode="bilinear", align_corners=corners)]


def difference(ours: list[Any], theirs: list[Tensor]) -> float:
    """The largest, as a share of the largest value; of pasted masks, the share of pixels that differ."""
    if isinstance(ours[-1], Instances):
        nearest = torch.cdist(theirs[0], ours[0]).argmin(1)  # the order of equal scores is anyone's
        pasted = np.stack([ours[-1].mask(index) for index in nearest.tolist()])
        masks = float((pasted != (theirs[-1] > 0.5).numpy()).mean())
        return max(masks, difference([part[nearest] for part in ours[:-1]], theirs[:-1]))
    return max(
        float((own - their).abs().max() / their.abs().max()) for own, their in zip(ours, theirs, strict=True)
    )


def picture() -> Tensor:
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 4 - 2


def serve_prediction(name: str, threads: int) -> None:
    torch.set_num_threads(threads)
    _, theirs = both(PAIRS[name])
    theirs.eval()
    with torch.inference_mode():
        serve(lambda: their_answer(theirs, picture()))


def race_prediction(name: str, rounds: int) -> Race:
    pair = PAIRS[name]
    ours, theirs = both(pair)
    ours, theirs = prepared(ours), theirs.eval()
    turned = picture().contiguous(memory_format=torch.channels_last)  # as the tiled prediction makes it
    with torch.inference_mode():
        error = difference(our_answer(ours, turned, pair.corners), their_answer(theirs, picture()))
        assert error < ALIKE, f"{name}: answers differ by {error:.1e}"
        title = f"{name}, prediction; answers differ by {error:.1e}"
        return race(title, "prediction", name, rounds, lambda: our_answer(ours, turned, pair.corners))


def race(title: str, kind: str, name: str, rounds: int, ours: Work, images: int = 1) -> Race:
    """``ours`` against what ``serve_KIND`` does for ``name`` in another process."""
    threads = torch.get_num_threads()
    theirs = Apart(f"import bench_networks\nbench_networks.serve_{kind}({name!r}, {threads})")
    work: dict[str, Work] = {"theirs": theirs, "ours": ours}
    try:
        return Race(title, work=images, unit="images").run(work, rounds=rounds)
    finally:
        theirs.close()


# training ---------------------------------------------------------------------------------------------------


def truth() -> Truth:
    """Two squares and what lies around them."""
    masks = torch.zeros(3, CROP, CROP, dtype=torch.bool)
    masks[0, 20:120, 30:130] = masks[1, 100:220, 140:250] = True
    masks[2] = ~masks[:2].any(0)
    return Truth(masks, torch.tensor([1, 2, 3]))


def their_loss(network: Any, images: Tensor, truths: list[Truth], labels: Tensor) -> Tensor:
    if hasattr(network, "roi_heads"):
        targets = [
            {"boxes": boxes_of(t.masks), "labels": t.classes + 1, "masks": t.masks.byte()} for t in truths
        ]
        return torch.stack(list(network(list(images), targets).values())).sum()
    if hasattr(network, "bbox_attention"):
        targets = []
        for t in truths:
            x0, y0, x1, y1 = (boxes_of(t.masks) / CROP).unbind(1)
            boxes = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1)
            targets.append({"class_labels": t.classes, "boxes": boxes, "masks": t.masks.float()})
        return network(pixel_values=images, labels=targets).loss
    if hasattr(network, "main_input_name"):
        masks, classes = [t.masks.float() for t in truths], [t.classes for t in truths]
        return network(pixel_values=images, mask_labels=masks, class_labels=classes).loss
    said = network(images)
    if not isinstance(said, dict):
        return functional.cross_entropy(said, labels)
    return functional.cross_entropy(said["out"], labels) + 0.4 * functional.cross_entropy(said["aux"], labels)


def our_loss(network: Any, images: Tensor, truths: list[Truth], labels: Tensor) -> Tensor:
    draw = torch.Generator().manual_seed(2)
    if hasattr(network, "terms"):
        return network.terms(images, truths, draw=draw)["loss"]
    output = network(images)
    if hasattr(network, "loss"):
        loss = DetrLoss() if network.loss == "detr" else MaskClassificationLoss(network.loss)
        return loss(output, truths, draw=draw)["loss"]
    aux = getattr(network, "aux_weights", "auxiliary")
    return SemanticLoss({"cross_entropy": 1.0}, aux=aux)(output, labels)["loss"]


def step(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> float:
    optimizer.zero_grad()
    value = loss()
    value.backward()
    optimizer.step()
    return float(value)


def crops() -> tuple[Tensor, list[Truth], Tensor]:
    """Images, their truths and the same as labels."""
    images = torch.rand(BATCH, 3, CROP, CROP, generator=torch.Generator().manual_seed(3)) * 4 - 2
    truths = [truth() for _ in images]
    return images, truths, torch.stack([(t.masks * t.classes[:, None, None]).sum(0) for t in truths])


def serve_training(name: str, threads: int) -> None:
    torch.set_num_threads(threads)
    theirs = both(PAIRS[name])[1].train()
    if hasattr(theirs, "roi_heads"):
        theirs.transform.min_size, theirs.transform.max_size = (CROP,), CROP
    images, truths, labels = crops()
    optimizer = torch.optim.SGD(theirs.parameters(), **RATE)
    serve(lambda: step(theirs, optimizer, lambda: their_loss(theirs, images, truths, labels)))


def race_training(name: str, rounds: int) -> Race:
    ours = both(PAIRS[name])[0].train()
    layout = training_layout(ours)
    ours, (images, truths, labels) = ours.to(memory_format=layout), crops()
    turned = images.contiguous(memory_format=layout)
    optimizer = torch.optim.SGD([p for p in ours.parameters() if p.requires_grad], fused=True, **RATE)

    def work() -> float:
        return step(ours, optimizer, lambda: our_loss(ours, turned, truths, labels))

    return race(f"{name}, one training step", "training", name, rounds, work, images=BATCH)


# the table --------------------------------------------------------------------------------------------------


def table(title: str, races: dict[str, Race], most_mean: float) -> None:
    """Our time as a share of theirs, by the clock and by processor time, and whether the bars are met."""
    print(f"\n{title}\n{'network':<22}{'theirs':>12}{'ours':>12}{'share':>9}{'by cpu':>9}")
    shares: dict[str, list[float]] = {"share": [], "by cpu": []}
    for name, race in races.items():
        theirs, ours = race.median("theirs"), race.median("ours")
        shares["share"].append(ours / theirs)
        shares["by cpu"].append(race.cpu("ours") / race.cpu("theirs"))
        row = "".join(f"{some[-1]:>9.2f}" for some in shares.values())
        print(f"{name:<22}{1e3 * theirs:>9.0f} ms{1e3 * ours:>9.0f} ms{row}")
    for kind, some in shares.items():
        verdict = "met" if geometric_mean(some) <= most_mean and max(some) <= MOST_EACH else "missed"
        bars = f"at most {most_mean} and {MOST_EACH}"
        print(
            f"{kind}: geometric mean {geometric_mean(some):.3f}, largest {max(some):.3f}; {bars}: {verdict}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--threads", type=int, default=2)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--train", action="store_true", help="training steps alone")
    which.add_argument("--infer", action="store_true", help="prediction alone")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for title, run, most, left_out in (
        ("prediction, one image of 512x512", race_prediction, MOST_MEAN, options.train),
        ("training, a step on 4 crops of 256x256", race_training, MOST_EACH, options.infer),
    ):
        if left_out:
            continue
        races = {}
        for name in options.only:
            races[name] = run(name, options.rounds)
            races[name].show()
        table(title, races, most)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
