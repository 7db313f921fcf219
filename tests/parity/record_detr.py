"""Record the numbers of the authors' DETR: ``python record_detr.py CHECKOUT``.

Needs no file of theirs in this tree; writes detr.safetensors beside itself. The weights follow ``rule.py`` in
the order of *our* tensors, written into theirs through the card's table of names.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import torch
import torchvision
from rule import fill, image_by_rule
from safetensors.torch import save_file
from test_detr import KINDS, RECORDED, SEED, SHAPE, STAGES, answers, recorded_network, scene, thinned, watched
from torch import Tensor, nn

from segmentarium.losses.detr import objects_of
from segmentarium.nn import Queries
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated


def network() -> nn.Module:
    """Theirs, with our weights."""
    trunks = torchvision.models
    torchvision.models = SimpleNamespace(  # as they call it, but without fetching weights
        resnet18=lambda pretrained, **settings: trunks.resnet18(weights=None, **settings)
    )
    arguments = SimpleNamespace(
        hidden_dim=RECORDED.width,
        position_embedding="sine",
        lr_backbone=1e-5,
        masks=True,
        backbone="resnet18",
        dilation=False,
    )
    models = {name: import_module(f"models.{name}") for name in ("backbone", "transformer", "detr")}
    heads = import_module("models.segmentation")
    trunk = models["backbone"].build_backbone(arguments)
    transformer = models["transformer"].Transformer(
        d_model=RECORDED.width,
        nhead=RECORDED.heads,
        num_encoder_layers=RECORDED.encoder_layers,
        num_decoder_layers=RECORDED.decoder_layers,
        dim_feedforward=RECORDED.hidden,
        return_intermediate_dec=True,
    )
    detector = models["detr"].DETR(trunk, transformer, KINDS, RECORDED.queries, aux_loss=True)
    whole = heads.DETRsegm(detector)
    # theirs is written for the widths of ResNet-50 only
    whole.mask_head = heads.MaskHeadSmallConv(RECORDED.width + RECORDED.heads, [256, 128, 64], RECORDED.width)
    whole = whole.double().eval()
    ours = recorded_network().double()
    fill(ours, SEED)
    places = translated(whole.state_dict(), read_card("detr").sources["detr"])
    values = ours.state_dict()
    assert places.keys() == values.keys()
    for name, place in places.items():
        place.copy_(values[name])
    return whole


def as_ours(said: dict[str, Tensor]) -> Queries:
    aux = tuple(as_ours(layer) for layer in said.get("aux_outputs", ()))
    return Queries(
        said["pred_logits"], said.get("pred_masks", torch.zeros(1, 1, 0, 0)), aux, said["pred_boxes"]
    )


def of_network() -> dict[str, Tensor]:
    whole = network()
    theirs = {
        own: path if path.startswith(("mask_", "bbox_")) else f"detr.{path}" for own, path in STAGES.items()
    }
    seen, said = watched(whole, theirs, image_by_rule(SHAPE, SEED))
    for name in seen:
        if name.startswith(("encode", "decode")):
            seen[name] = seen[name].transpose(0, 1)  # theirs have the batch second
    return {f"network.{name}": thinned(value) for name, value in (seen | answers(as_ours(said))).items()}


def of_loss() -> dict[str, Tensor]:
    output, truths = scene(torch.float64)
    matcher = import_module("models.matcher").HungarianMatcher(cost_class=1, cost_bbox=5, cost_giou=2)
    criterion = (
        import_module("models.detr")
        .SetCriterion(KINDS, matcher, weight_dict={}, eos_coef=0.1, losses=["labels", "boxes", "masks"])
        .double()
    )
    targets = [
        {"labels": t.classes, "masks": t.masks, "boxes": objects_of(t, like=output.boxes).boxes}
        for t in truths
    ]
    layers = [
        {"pred_logits": layer.class_logits, "pred_boxes": layer.boxes} for layer in (output, *output.aux)
    ]
    losses = criterion({**layers[0], "pred_masks": output.mask_logits, "aux_outputs": layers[1:]}, targets)
    names = {
        "class": "loss_ce",
        "box": "loss_bbox",
        "giou": "loss_giou",
        "mask": "loss_mask",
        "dice": "loss_dice",
    }
    weights = {"class": 1, "box": 5, "giou": 2, "mask": 1, "dice": 1}
    terms = {
        own + ending: losses[their + ending].detach()
        for own, their in names.items()
        for ending in ("", "_0", "_1")
        if their + ending in losses
    }
    terms["loss"] = torch.stack([weights[name.split("_")[0]] * value for name, value in terms.items()]).sum()
    held = {f"loss.{name}": value for name, value in terms.items()}
    for number, layer in enumerate(layers):
        pairs = [
            torch.stack([torch.full_like(q, i), q, t]) for i, (q, t) in enumerate(matcher(layer, targets))
        ]
        held[f"match.{number}"] = torch.cat(pairs, dim=1)
    return held


if __name__ == "__main__":
    sys.path[:0] = sys.argv[1:]
    held = {name: value.contiguous().clone() for name, value in (of_network() | of_loss()).items()}
    path = Path(__file__).with_name("detr.safetensors")
    save_file(held, path)
    print(f"{len(held)} tensors, {path.stat().st_size:,} bytes")
