"""Record public programs' numbers: ``python record_encoder_decoders.py FOLDER``, where the programs lie.

Writes encoder_decoders.safetensors beside itself. FOLDER holds segnet.py and utils.py of pytorch-semseg in
ptsemseg/models/, with empty __init__.py files, linknet.py of pytorch-linknet in elab/, and models.py of
TernausNet in ternausnet/. The weights follow ``rule.py`` in the order of *our* tensors and go over by the
tables of our cards, read backwards.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import torch
from rule import fill, image_by_rule, tap
from safetensors.torch import save_file
from test_encoder_decoders import CLASSES, IMAGE, RECORDED, SEED, recorded_network, source_of
from torch import nn

from segmentarium.weights.foreign import translated

FOLDER = Path(__file__).parent
DECODERS = ("center", "dec5", "dec4", "dec3", "dec2")
PATHS = {
    "segnet": {f"encoder.{i}": f"down{i + 1}.conv{2 if i < 2 else 3}" for i in range(5)}
    | {f"decoder.{i}": f"up{5 - i}.conv{3 if i < 3 else 2}" for i in range(4)}
    | {"decoder.4": "up1.conv1", "logits": "up1.conv2.cbr_unit.0"},
    "linknet": {f"encoder.body.layer{i}": f"encoder{i}" for i in range(1, 5)}
    | {f"decoder.{i}": f"decoder{4 - i}" for i in range(4)}
    | {"head.0": "tp_conv1", "head.1": "conv2", "logits": "tp_conv2"},
    "unet11": {f"decoder.{i}": name for i, name in enumerate(DECODERS)} | {"logits": "final"},
}
PATHS["unet11"] |= {f"encoder.{i}": f"conv{i + 1}" for i in range(5)}  # their ReLU follows
PATHS["unet16"] = PATHS["unet16_deconv"] = PATHS["unet11"]


def reference(case: str) -> nn.Module:
    classes = CLASSES[case]
    if case == "segnet":
        return import_module("ptsemseg.models.segnet").segnet(n_classes=classes)
    if case == "linknet":
        return import_module("elab.linknet").LinkNetBase(n_classes=classes)
    programs = import_module("ternausnet.models")
    if case == "unet11":
        return programs.UNet11()
    return programs.UNet16(num_classes=classes, is_deconv=case == "unet16_deconv")


def record(case: str) -> dict[str, torch.Tensor]:
    ours = recorded_network(case).double()
    fill(ours, SEED)
    theirs = reference(case).double().eval()
    names = list(theirs.state_dict())
    places = translated({name: torch.tensor(i) for i, name in enumerate(names)}, source_of(case))
    values = ours.state_dict()
    given = {names[int(place)]: values[name] for name, place in places.items()}
    left = theirs.load_state_dict(given, strict=False).missing_keys
    known = r"num_batches_tracked$|^encoder\.|^up1\.conv2\.cbr_unit\.1\."
    unexplained = [name for name in left if not re.search(known, name)]
    assert not unexplained, unexplained
    with torch.no_grad():
        seen = {mine: watched(theirs, path, mine) for mine, path in PATHS[case].items()}
    return {f"{case}.{name}": tensor for name, tensor in seen.items()}


def watched(network: nn.Module, path: str, mine: str) -> torch.Tensor:
    """The map of the module at ``path``, the part of it that the test sees of ours."""
    kept = []
    hook = network.get_submodule(path).register_forward_hook(lambda m, i, output: kept.append(output.clone()))
    network(image_by_rule(IMAGE, SEED))
    hook.remove()
    if mine == "logits":
        return kept[0][..., ::3, ::3].contiguous()
    return tap(kept[0].clamp(min=0) if mine.startswith("encoder.") else kept[0])


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    held = {name: tensor for case in RECORDED for name, tensor in record(case).items()}
    save_file(held, FOLDER / "encoder_decoders.safetensors")
    print(f"{len(held)} taps, {(FOLDER / 'encoder_decoders.safetensors').stat().st_size:,} bytes")
