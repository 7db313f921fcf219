"""Record the numbers of five programs: ``python record_hrnet.py FOLDER``, where their files lie.

FOLDER holds ``official`` (lib/models of HRNet-Semantic-Segmentation, branch HRNet-OCR), ``nvidia`` (network
of NVIDIA/semantic-segmentation), ``openseg`` (lib/models/modules of openseg.pytorch), ``mmdet`` (hrfpn.py of
mmdetection) and ``mm`` (mmseg, mmcv, mmengine). Writes hrnet.safetensors beside itself. Weights follow
``rule.py`` in the order of *our* tensors. What none of these networks calls is replaced by nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from rule import image_by_rule, tap, taps
from safetensors.torch import save_file
from test_hrnet import CASES, CHAIN, IMAGES, NARROW, SEED, WALKS, Case, filled
from torch import Tensor, nn

from segmentarium.weights import read_card
from segmentarium.weights.foreign import Source, translated

FOLDER = Path(__file__).parent
CLASSES = 5
STREAMS = [NARROW.width * 2**i for i in range(4)]
NORM = {"type": "BN"}


class Absent(ModuleType):
    """A module in which everything is 0."""

    __version__ = "4.10.0"

    def __getattr__(self, name: str) -> int:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0


def leave_out(*names: str, **given: Any) -> None:
    """Put empty modules in place of those of ``names``, with the attributes ``given``."""
    for name in names:
        module = Absent(name)
        module.__spec__, module.__path__ = ModuleSpec(name, None), []
        for key, value in given.items():
            setattr(module, key, value)
        sys.modules[name] = module


class Settings(SimpleNamespace):
    """Settings that can be read as attributes and as keys, as yacs has them."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def stages() -> Settings:
    """Our narrow body in the words of the authors' configuration."""
    known = {
        "STAGE1": {
            "BLOCK": "BOTTLENECK",
            "NUM_MODULES": 1,
            "NUM_BRANCHES": 1,
            "NUM_BLOCKS": [NARROW.bottlenecks],
            "NUM_CHANNELS": [NARROW.first],
            "FUSE_METHOD": "SUM",
        },
        "FINAL_CONV_KERNEL": 1,
    }
    for streams, times in zip((2, 3, 4), NARROW.exchanges, strict=True):
        known[f"STAGE{streams}"] = {
            "BLOCK": "BASIC",
            "NUM_MODULES": times,
            "NUM_BRANCHES": streams,
            "NUM_BLOCKS": [NARROW.blocks] * streams,
            "NUM_CHANNELS": STREAMS[:streams],
            "FUSE_METHOD": "SUM",
        }
    return Settings(**known)


def official(name: str, *, aligned: bool) -> nn.Module:
    ocr = Settings(MID_CHANNELS=CHAIN.width, KEY_CHANNELS=CHAIN.keys)
    model = Settings(EXTRA=stages(), ALIGN_CORNERS=aligned, OCR=ocr)
    module = import_module(f"official_models.{name}")
    return module.HighResolutionNet(Settings(MODEL=model, DATASET=Settings(NUM_CLASSES=CLASSES)))


def nvidia() -> nn.Module:
    ocr = Settings(MID_CHANNELS=CHAIN.width, KEY_CHANNELS=CHAIN.keys)
    model = Settings(
        OCR=ocr, OCR_EXTRA=stages(), ALIGN_CORNERS=False, OCR_ASPP=False, BNFUNC=nn.BatchNorm2d,
        HRNET_CHECKPOINT="", SEGATTN_BOT_CH=CASES["hmsa"].network.config.attention_width,
        MSCALE_OLDARCH=False, MSCALE_INNER_3x3=True, MSCALE_DROPOUT=False, MSCALE_LO_SCALE=0.5, N_SCALES=None,
    )  # fmt: skip
    loss = Settings(OCR_ALPHA=0.4, OCR_AUX_RMI=False, SUPERVISED_MSCALE_WT=0.05)
    options = Settings(INIT_DECODER=False, TORCH_VERSION=2.0)
    settings = Settings(MODEL=model, DATASET=Settings(NUM_CLASSES=CLASSES), OPTIONS=options, LOSS=loss)
    leave_out("config", cfg=settings)
    leave_out("apex", amp=SimpleNamespace(float_function=lambda function: function))
    leave_out("runx", "utils")
    leave_out("runx.logx", logx=SimpleNamespace(msg=lambda text: None))
    leave_out("utils.misc", fmt_scale=lambda name, scale: f"{name} {scale}")
    leave_out("network.xception", "network.wider_resnet", "network.SEresnext", "network.Resnet")
    return import_module("network.ocrnet").MscaleOCR(CLASSES)


class OpenSeg(nn.Module):
    """The authors' body and, on its joined streams, their pyramid with object context."""

    def __init__(self) -> None:
        super().__init__()
        self.body = official("seg_hrnet", aligned=True)
        self.joined = Tensor()
        self.body.last_layer.register_forward_pre_hook(lambda _, inputs: setattr(self, "joined", inputs[0]))
        leave_out("lib", "lib.models", "lib.models.tools")
        norm = SimpleNamespace(BNReLU=lambda n, bn_type=None: nn.Sequential(nn.BatchNorm2d(n), nn.ReLU()))
        leave_out("lib.models.tools.module_helper", ModuleHelper=norm)
        block = from_file("lib.models.modules.spatial_ocr_block", "openseg")
        leave_out("lib.models.modules", spatial_ocr_block=block)
        joined, context = sum(STREAMS), CASES["ocr_aspp"].network.config.context
        middle = context.region_width
        self.aux_head = nn.Sequential(
            nn.Conv2d(joined, middle, 3, padding=1), norm.BNReLU(middle), nn.Conv2d(middle, CLASSES, 1)
        )
        self.head = block.SpatialOCR_ASP_Module(
            joined, context.width, context.width, dilations=context.rates, num_classes=CLASSES
        )
        self.cls_head = nn.Conv2d(context.width, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        self.body(image)
        return self.cls_head(self.head(self.joined, self.aux_head(self.joined)))


class MM(nn.Module):
    """mmsegmentation's backbone with its heads, or with mmdetection's pyramid."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        extra = {
            name.lower(): {
                "num_modules": stage["NUM_MODULES"],
                "num_branches": stage["NUM_BRANCHES"],
                "block": stage["BLOCK"],
                "num_blocks": tuple(stage["NUM_BLOCKS"]),
                "num_channels": tuple(stage["NUM_CHANNELS"]),
            }
            for name, stage in vars(stages()).items()
            if name.startswith("STAGE")
        }
        leave_out("mmcv._ext")
        if find_spec("cv2") is None:
            leave_out("cv2")
        self.backbone = import_module("mmseg.models.backbones.hrnet").HRNet(extra, norm_cfg=NORM)
        heads, joined = "mmseg.models.decode_heads", sum(STREAMS)
        shared = {
            "in_channels": STREAMS, "in_index": (0, 1, 2, 3), "input_transform": "resize_concat",
            "num_classes": CLASSES, "norm_cfg": NORM, "align_corners": False, "dropout_ratio": -1,
        }  # fmt: skip
        first = import_module(f"{heads}.fcn_head").FCNHead(
            channels=joined, kernel_size=1, num_convs=1, concat_input=False, **shared
        )
        self.kind = kind
        if kind == "fcn":
            self.decode_head: nn.Module = first
        elif kind == "ocr":
            second = import_module(f"{heads}.ocr_head").OCRHead(
                channels=CHAIN.width, ocr_channels=CHAIN.keys, **shared
            )
            self.decode_head = nn.ModuleList([first, second])
        else:
            self.neck = pyramid()(STREAMS, CASES["v2p"].network.config.width)

    def forward(self, image: Tensor) -> Any:
        maps = self.backbone(image)
        if self.kind == "fcn":
            return self.decode_head(maps)
        if self.kind == "ocr":
            first, second = self.decode_head
            return second(maps, first(maps))
        return self.neck(maps)


def pyramid() -> Callable[..., nn.Module]:
    """mmdetection's pyramid, whose convolutions without norm or activation are plain ones."""
    plain = lambda *channels, kernel_size, **_: nn.Conv2d(*channels, kernel_size)  # noqa: E731
    keep = SimpleNamespace(register_module=lambda kind: kind)
    leave_out("mmdet", "mmdet.necks")
    leave_out("mmdet.utils", build_conv_layer=lambda _, *a, **k: nn.Conv2d(*a, **k), ConvModule=plain)
    leave_out("mmdet.registry", NECKS=keep)
    leave_out("mmcv.cnn.weight_init")
    return from_file("mmdet.necks.hrfpn", "mmdet").HRFPN


def from_file(name: str, folder: str) -> ModuleType:
    """The module in the one file of that name under ``folder``."""
    found = next((Path(sys.argv[1]) / folder).rglob(f"{name.rpartition('.')[2]}.py"))
    spec = spec_from_file_location(name, found)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


BODY = ((r"^backbone\.", "body."),)
ASPP = Source(
    builder="openseg.pytorch, HRNet_W48_ASPOCR",
    variant="w48_aspp",
    licence="MIT",
    drop=("num_batches_tracked$", r"^body\.last_layer"),
    rename=(
        (r"^body\.", "encoder."),
        (r"^aux_head\.0\.", "head.regions.0."),
        (r"^aux_head\.1\.0\.", "head.regions.1."),
        (r"^aux_head\.2\.", "head.regions.4."),
        (r"^head\.context\.0\.", "head.pixels.0."),
        (r"^head\.context\.1\.0\.", "head.pixels.1."),
        (r"^head\.context\.2\.object_context_block\.f_pixel\.", "head.attend.query."),
        (r"^head\.context\.2\.object_context_block\.f_object\.", "head.attend.key."),
        (r"^head\.context\.2\.object_context_block\.f_down\.", "head.attend.value."),
        (r"^head\.context\.2\.object_context_block\.f_up\.", "head.attend.up."),
        (r"^(head\.attend\.(?:query|key))\.0\.", r"\1.0.0."),
        (r"^(head\.attend\.(?:query|key))\.1\.0\.", r"\1.0.1."),
        (r"^(head\.attend\.(?:query|key))\.2\.", r"\1.1.0."),
        (r"^(head\.attend\.(?:query|key))\.3\.0\.", r"\1.1.1."),
        (r"^(head\.attend\.(?:value|up))\.1\.0\.", r"\1.1."),
        (r"^head\.conv2\.", "head.pyramid.0."),
        (r"^head\.conv3\.", "head.pyramid.1."),
        (r"^head\.conv4\.", "head.pyramid.2."),
        (r"^head\.conv5\.", "head.pyramid.3."),
        (r"^head\.conv_bn_dropout\.", "head.join."),
        (r"^(head\.(?:pyramid\.\d|join))\.1\.0\.", r"\1.1."),
        (r"^cls_head\.", "head.classify."),
    ),
)
NECK = Source(
    builder="mmdetection, HRFPN",
    variant="w48",
    licence="Apache-2.0",
    drop=("num_batches_tracked$",),
    rename=(
        *BODY,
        (r"^neck\.reduction_conv\.", "pyramid.reduce."),
        (r"^neck\.fpn_conv\.", "pyramid.smooth."),
    ),
)
REFERENCES: Mapping[str, tuple[Callable[[], nn.Module], Source | str]] = {
    "v2": (lambda: official("seg_hrnet", aligned=False), "hrnetv2@official"),
    "v2_mmseg": (lambda: MM("fcn"), "hrnetv2@mmseg"),
    "v2p": (lambda: MM("pyramid"), NECK),
    "ocr": (lambda: official("seg_hrnet_ocr", aligned=True), "ocrnet@official"),
    "ocr_mmseg": (lambda: MM("ocr"), "ocrnet@mmseg"),
    "ocr_aspp": (OpenSeg, ASPP),
    "hmsa": (nvidia, "hmsa@nvidia"),
}


def loaded(case: str) -> tuple[nn.Module, Source]:
    """The reference with our weights, by the table that would bring its weights to us."""
    build, told = REFERENCES[case]
    source = told if isinstance(told, Source) else read_card(told.split("@")[0]).sources[told.split("@")[1]]
    values = filled(case, torch.float64).state_dict()
    reference = build().double().eval()
    taken = set()
    for theirs, tensor in reference.state_dict().items():
        for name in translated({theirs: tensor}, source):
            # of convolutions before BatchNorm some have a bias there and none here
            tensor.copy_(values[name]) if name in values else tensor.zero_()
            taken.add(name)
    left = {name for name in values if not name.endswith("num_batches_tracked")} - taken
    assert not [name for name in left if not name.startswith("detector.")], left
    return reference, source


def record(case: str) -> dict[str, Tensor]:
    reference, source = loaded(case)
    own: Case = CASES[case]
    image = image_by_rule(IMAGES[case], SEED)
    if case == "hmsa":
        return {f"{case}.{name}": tap(maps) for name, maps in walks(reference, image).items()}
    known = {next(iter(translated({f"{n}.": image}, source)), ""): n for n, _ in reference.named_modules()}
    names = {their_path(path, known): path for path in own.paths}
    return {f"{case}.{name}": maps for name, maps in taps(reference, image, names).items()}


def their_path(path: str, known: Mapping[str, str]) -> str:
    return known[f"{path}."]


def walks(reference: Any, image: Tensor) -> dict[str, Tensor]:
    """What the network answers along each walk over scales, and what it would train on."""
    seen: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, scales in WALKS.items():
            seen[name] = reference.nscale_forward({"images": image}, list(scales))["pred"]
        taught: list[Tensor] = []
        reference.training = True  # of the network alone: its parts answer as in eval mode
        reference.criterion = lambda maps, truth, **_: taught.append(maps) or maps.sum()
        reference({"images": image, "gts": None})
        reference.training = False
    regions, joint, low, high = taught
    return seen | {"joint": joint, "regions": regions, "low": low, "high": high}


if __name__ == "__main__":
    root = Path(sys.argv[1])
    vars(np)["int"] = int  # numpy dropped the name that the programs use
    package = ModuleType("official_models")
    package.__path__ = [str(root / "official/lib/models")]
    sys.modules["official_models"] = package
    network = ModuleType("network")
    network.__path__ = [str(root / "nvidia/network")]
    sys.modules["network"] = network
    sys.path.insert(0, str(root / "mm"))
    held = {name: tensor.contiguous() for case in CASES for name, tensor in record(case).items()}
    save_file(held, FOLDER / "hrnet.safetensors")
    print(f"{len(held)} taps, {(FOLDER / 'hrnet.safetensors').stat().st_size:,} bytes")
