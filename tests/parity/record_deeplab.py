"""Record mmsegmentation's numbers: ``python record_deeplab.py FOLDER``, where mmseg, mmcv and mmengine lie.

Writes deeplab.safetensors beside itself. The weights follow ``rule.py`` in the order of *our* tensors. mmcv's
compiled part, which neither network calls, is replaced by nothing, and so is OpenCV if it is not there.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch
from rule import fill, image_by_rule, taps
from safetensors.torch import save_file
from test_deeplab import IMAGE, RECORDED, SEED, recorded_network

FOLDER = Path(__file__).parent
NORM = {"type": "BN"}
OURS_TO_THEIRS = [
    (r"^encoder\.body\.conv1\.", "backbone.stem."),
    (r"^encoder\.body\.bn1\.", "backbone.stem.7."),
    (r"^encoder\.body\.", "backbone."),
    (r"^(context|pyramid)\.image\.0\.", "decode_head.image_pool.1.conv."),
    (r"^(context|pyramid)\.image\.1\.", "decode_head.image_pool.1.bn."),
    (r"^(context|pyramid)\.project\.0\.", "decode_head.bottleneck.conv."),
    (r"^(context|pyramid)\.project\.1\.", "decode_head.bottleneck.bn."),
    (r"^(context|pyramid)\.branches\.", "decode_head.aspp_modules."),
    (r"^decoder\.", "decode_head.sep_bottleneck."),
    (r"^reduce\.0\.", "decode_head.c1_bottleneck.conv."),
    (r"^reduce\.1\.", "decode_head.c1_bottleneck.bn."),
    (r"^classify\.", "decode_head.conv_seg."),
    (r"^auxiliary\.0\.0\.", "auxiliary_head.convs.0.conv."),
    (r"^auxiliary\.0\.1\.", "auxiliary_head.convs.0.bn."),
    (r"^auxiliary\.2\.", "auxiliary_head.conv_seg."),
]
BLOCK = r"^(decode_head\.(?:aspp_modules|sep_bottleneck)\.\d)"
SEPARABLE = [
    (BLOCK + r"\.0\.", r"\1.depthwise_conv.conv."),
    (BLOCK + r"\.1\.", r"\1.depthwise_conv.bn."),
    (BLOCK + r"\.3\.", r"\1.pointwise_conv.conv."),
    (BLOCK + r"\.4\.", r"\1.pointwise_conv.bn."),
]
FULL = [(BLOCK + r"\.0\.", r"\1.conv."), (BLOCK + r"\.1\.", r"\1.bn.")]


class Absent(ModuleType):
    """A module in which everything is 0."""

    __version__ = "4.10.0"

    def __getattr__(self, name: str) -> int:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0


def leave_out(name: str) -> None:
    module = Absent(name)
    module.__spec__ = ModuleSpec(name, None)
    sys.modules[name] = module


class Reference(torch.nn.Module):
    """mmsegmentation's backbone and both heads, as its EncoderDecoder runs them."""

    def __init__(self, case: str, width: int, classes: int) -> None:
        super().__init__()
        heads = "mmseg.models.decode_heads"
        shared = {"num_classes": classes, "norm_cfg": NORM, "align_corners": False}
        self.backbone = import_module("mmseg.models.backbones.resnet").ResNetV1c(
            depth=50, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), norm_cfg=NORM, contract_dilation=True
        )
        aspp = {"in_channels": 2048, "in_index": 3, "channels": width, "dilations": (1, 12, 24, 36)}
        if case == "v3":
            self.decode_head = import_module(f"{heads}.aspp_head").ASPPHead(**aspp, **shared)
        else:
            module = import_module(f"{heads}.sep_aspp_head")
            self.decode_head = module.DepthwiseSeparableASPPHead(
                c1_in_channels=256, c1_channels=48, **aspp, **shared
            )
        self.auxiliary_head = import_module(f"{heads}.fcn_head").FCNHead(
            in_channels=1024, in_index=2, channels=256, num_convs=1, concat_input=False, **shared
        )

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.backbone(image)
        return self.decode_head(maps), self.auxiliary_head(maps)


def their_name(name: str, known: set[str]) -> str:
    for pattern, replacement in OURS_TO_THEIRS:
        name = re.sub(pattern, replacement, name)
    for table in (FULL, SEPARABLE):
        candidate = name
        for pattern, replacement in table:
            candidate = re.sub(pattern, replacement, candidate)
        if candidate in known:
            return candidate
    raise KeyError(name)


def record(case: str) -> dict[str, torch.Tensor]:
    config = RECORDED[case][1]
    ours = recorded_network(case).double()
    fill(ours, SEED)
    reference = Reference(case, config.width, config.classes).double().eval()
    state = reference.state_dict()
    values = {their_name(name, set(state)): value for name, value in ours.state_dict().items()}
    joined = "decode_head.bottleneck.conv.weight"
    values[joined] = values[joined].roll(config.width, 1)  # they have the image's mean first, we have it last
    reference.load_state_dict(values)
    part = "context" if case == "v3" else "pyramid"
    names = {f"backbone.layer{i}": f"encoder.body.layer{i}" for i in range(1, 5)}
    names |= {f"decode_head.aspp_modules.{i}": f"{part}.branches.{i}" for i in range(4)}
    names |= {"decode_head.image_pool": f"{part}.image", "decode_head.bottleneck": f"{part}.project"}
    names |= {"decode_head.conv_seg": "classify", "auxiliary_head.conv_seg": "auxiliary"}
    if case == "v3plus":
        names |= {"decode_head.c1_bottleneck": "reduce", "decode_head.sep_bottleneck": "decoder"}
    seen = taps(reference, image_by_rule(IMAGE, SEED), names)
    return {f"{case}.{name}": tensor for name, tensor in seen.items()}


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    leave_out("mmcv._ext")
    if find_spec("cv2") is None:
        leave_out("cv2")
    held = {name: tensor for case in RECORDED for name, tensor in record(case).items()}
    save_file(held, FOLDER / "deeplab.safetensors")
    print(f"{len(held)} taps, {(FOLDER / 'deeplab.safetensors').stat().st_size:,} bytes")
