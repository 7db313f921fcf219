"""Record the numbers of authors' code and of mmsegmentation: ``python record_context_heads.py FOLDER...``.

The folders: of hszhao/semseg, of wuhuikai/FastFCN, of junfu1115/DANet, and the one in which mmseg, mmcv and
mmengine lie. Writes context_heads.safetensors beside itself. The weights follow ``rule.py`` in the order of
*our* tensors and go over by the tables of our cards, backwards. Compiled parts, which none of these networks
calls here, and what only downloads or draws is replaced by nothing. For the networks at full size names and
shapes are compared too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from record_deeplab import leave_out
from rule import taps
from safetensors.torch import save_file
from test_context_heads import recorded_image, recorded_network
from torch import nn

import segmentarium.models as registry
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

FOLDER = Path(__file__).parent
UP = {"mode": "bilinear", "align_corners": True}
NORM = {"type": "BN"}
KINDS = {"pam": "position", "cam": "channel"}


class AnyNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm of whatever number of axes, as the authors' synchronised one."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass


def package(name: str, folder: str, **held: object) -> ModuleType:
    """An empty package over ``folder``: its modules can be imported, its own first lines are not run."""
    module = ModuleType(name)
    module.__path__, module.__spec__ = [folder], ModuleSpec(name, None, is_package=True)
    vars(module).update(held)
    sys.modules[name] = module
    return module


def forget(name: str) -> None:
    for known in [known for known in sys.modules if known == name or known.startswith(f"{name}.")]:
        del sys.modules[known]


class Authors(nn.Module):
    """Encoder, upsampling, head and second head as the networks of wuhuikai and junfu1115 are laid out."""

    def __init__(self, pretrained: nn.Module, head: nn.Module, jpu: Any = None, auxlayer: Any = None) -> None:
        super().__init__()
        self.pretrained, self.head, self.jpu, self.auxlayer = pretrained, head, jpu, auxlayer

    def forward(self, image: torch.Tensor) -> None:
        body = self.pretrained
        maps = [body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(image)))))]
        for stage in (body.layer2, body.layer3, body.layer4):
            maps.append(stage(maps[-1]))
        found = self.jpu(*maps) if self.jpu is not None else maps
        self.head(*found) if type(self.head).__name__ == "EncHead" else self.head(found[-1])
        if self.auxlayer is not None:
            self.auxlayer(maps[2])


def semseg(folder: str) -> dict[str, Callable[[], nn.Module]]:
    package("model", f"{folder}/model")
    network = import_module("model.pspnet").PSPNet
    full = {"hszhao": 101, "hszhao_r50": 50}
    for source, layers in full.items():
        with torch.device("meta"):
            reference = network(layers=layers, classes=21, pretrained=False)
        compare_names(f"pspnet@{source}", reference, classes=21)
    return {"pspnet_authors": lambda: network(layers=50, classes=5, zoom_factor=1, pretrained=False)}


def fastfcn(folder: str) -> dict[str, Callable[[], nn.Module]]:
    package("encoding", f"{folder}/encoding")
    package("encoding.models", f"{folder}/encoding/models")
    package("encoding.utils", f"{folder}/encoding/utils", batch_pix_accuracy=0, batch_intersection_union=0)
    leave_out("encoding.models.model_store")
    sys.modules["encoding"].nn = blocks = import_module("encoding.nn")
    resnet = import_module("encoding.dilated.resnet")
    sys.modules["encoding"].dilated = sys.modules["encoding.dilated"]
    resnets = sys.modules["encoding.dilated"]
    for depth, layers in ((50, [3, 4, 6, 3]), (101, [3, 4, 23, 3])):
        setattr(resnets, f"resnet{depth}", without_weights(resnet, layers))
    heads = {name: import_module(f"encoding.models.{name}") for name in ("encnet", "fcn", "psp", "deeplabv3")}
    for source, kind, backbone in (
        ("authors", heads["encnet"].EncNet, "resnet101"),
        ("authors_r50", heads["encnet"].EncNet, "resnet50"),
        ("authors_fcn", heads["fcn"].FCN, "resnet50"),
        ("authors_psp", heads["psp"].PSP, "resnet50"),
        ("authors_deeplab", heads["deeplabv3"].DeepLabV3, "resnet50"),
    ):
        with torch.device("meta"):
            network = kind(59, backbone, jpu="JPU", lateral=False, norm_layer=AnyNorm)
        compare_names(f"fastfcn@{source}", network, classes=59)

    def build(width: int, make: Callable[[int], nn.Module]) -> Callable[[], nn.Module]:
        return lambda: Authors(
            resnet.ResNet(resnet.Bottleneck, [2, 2, 2, 2], dilated=False, deep_base=False),
            make(4 * width),
            blocks.JPU([512, 1024, 2048], width=width, norm_layer=nn.BatchNorm2d, up_kwargs=UP),
            heads["fcn"].FCNHead(1024, 5, nn.BatchNorm2d),
        )

    return {
        "fastfcn_encoding": build(
            512, lambda c: heads["encnet"].EncHead([c], 5, se_loss=False, norm_layer=AnyNorm, up_kwargs=UP)
        ),
        "fastfcn_fcn": build(32, lambda c: heads["fcn"].FCNHead(c, 5, nn.BatchNorm2d)),
        "fastfcn_psp": build(32, lambda c: heads["psp"].PSPHead(c, 5, nn.BatchNorm2d, UP)),
        "fastfcn_deeplab": build(32, lambda c: heads["deeplabv3"].DeepLabV3Head(c, 5, nn.BatchNorm2d, UP)),
    }


def without_weights(resnet: ModuleType, layers: list[int]) -> Callable[..., nn.Module]:
    def build(dilated: bool, norm_layer: Any, **others: object) -> nn.Module:
        return resnet.ResNet(resnet.Bottleneck, layers, dilated=dilated, norm_layer=norm_layer)

    return build


def danet(folder: str) -> dict[str, Callable[[], nn.Module]]:
    forget("encoding")
    package("encoding", f"{folder}/encoding")
    package("encoding.models", f"{folder}/encoding/models")
    package("encoding.models.sseg", f"{folder}/encoding/models/sseg")
    package("encoding.utils", f"{folder}/encoding/utils", batch_pix_accuracy=0, batch_intersection_union=0)
    leave_out("encoding.models.model_store")
    blocks = package("encoding.nn", f"{folder}/encoding/nn")
    vars(blocks).update(dict.fromkeys(("SplAtConv2d", "DropBlock2D", "RFConv2d"), nn.Identity))
    blocks.GlobalAvgPool2d = nn.Identity
    attention = import_module("encoding.nn.da_att")
    blocks.PAM_Module, blocks.CAM_Module = attention.PAM_Module, attention.CAM_Module
    package("encoding.models.backbone", f"{folder}/encoding/models/backbone")
    resnet = import_module("encoding.models.backbone.resnet")
    head = import_module("encoding.models.sseg.danet").DANetHead

    def build(layers: list[int], grid: list[int], classes: int) -> nn.Module:
        body = resnet.ResNet(
            resnet.Bottleneck, layers, os=8, multi_grid=True, multi_dilation=grid, no_deepstem=True
        )
        body.fc = None
        return Authors(body, head(2048, classes, nn.BatchNorm2d))

    with torch.device("meta"):
        reference = build([3, 4, 23, 3], [4, 8, 16], 19)
    compare_names("danet@authors", reference, classes=19)
    return {"danet_authors": lambda: build([2, 2, 2, 2], [4, 8], 5)}


class Segmentor(nn.Module):
    """mmsegmentation's backbone, neck and heads, as its EncoderDecoder runs them."""

    def __init__(self, backbone: dict[str, Any], head: dict[str, Any], **parts: dict[str, Any]) -> None:
        super().__init__()
        build = import_module("mmseg.registry").MODELS.build
        shared = {"norm_cfg": NORM, "align_corners": False}
        self.backbone = build({"norm_cfg": NORM} | backbone)
        self.neck = build(parts["neck"]) if "neck" in parts else nn.Identity()
        self.decode_head = build(shared | head)
        self.auxiliary_head = build(shared | parts["auxiliary"]) if "auxiliary" in parts else None

    def forward(self, image: torch.Tensor) -> None:
        maps = self.neck(self.backbone(image))
        self.decode_head(maps)
        if self.auxiliary_head is not None:
            self.auxiliary_head(maps)


def mmseg(folder: str) -> dict[str, Callable[[], nn.Module]]:
    sys.path.insert(0, folder)
    for name in ("mmcv._ext", "cv2"):
        if name == "mmcv._ext" or find_spec(name) is None:
            leave_out(name)
    for module in ("backbones.resnet", "necks.fpn", "necks.jpu", "decode_heads"):
        import_module(f"mmseg.models.{module}")
    full, small = widths(101, 2048, 19), widths(18, 512, 5)
    for architecture, network in (
        ("pspnet", psp(full, 512, dilated=True)),
        ("fpn_segmentation", pyramid(full, 256, 128)),
        ("fastfcn", joint(widths(50, 2048, 19), 512)),
        ("danet", dual(full, 512, 64, dilated=True)),
    ):
        with torch.device("meta"):
            reference = network()
        compare_names(f"{architecture}@mmseg", reference, classes=19)
    return {
        "pspnet_mmseg": psp(small, 128),
        "fpn_mmseg": pyramid(small, 32, 16),
        "fastfcn_mmseg": joint(small, 32),
        "danet_mmseg": dual(small, 32, 4),
    }


def widths(depth: int, last: int, classes: int) -> dict[str, int]:
    return {"depth": depth, "last": last, "classes": classes}


def body(net: dict[str, int], *, dilated: bool = False, **others: Any) -> dict[str, Any]:
    kind = {"type": "ResNet" if net["depth"] == 18 else "ResNetV1c", "depth": net["depth"]}
    reach = {"dilations": (1, 1, 2, 4), "strides": (1, 2, 1, 1), "contract_dilation": True} if dilated else {}
    return kind | reach | others


def fcn(net: dict[str, int], index: int) -> dict[str, Any]:
    inputs = net["last"] // 2
    return {
        "type": "FCNHead", "in_channels": inputs, "in_index": index, "channels": inputs // 4, "num_convs": 1,
        "concat_input": False, "num_classes": net["classes"],
    }  # fmt: skip


def psp(net: dict[str, int], width: int, **others: bool) -> Callable[[], nn.Module]:
    head = {"type": "PSPHead", "in_channels": net["last"], "in_index": 3, "channels": width}
    return lambda: Segmentor(
        body(net, **others), head | {"num_classes": net["classes"]}, auxiliary=fcn(net, 2)
    )


def dual(net: dict[str, int], width: int, keys: int, **others: bool) -> Callable[[], nn.Module]:
    head = {"type": "DAHead", "in_channels": net["last"], "in_index": 3, "channels": width}
    head |= {"pam_channels": keys, "num_classes": net["classes"]}
    return lambda: Segmentor(body(net, **others), head, auxiliary=fcn(net, 2))


def pyramid(net: dict[str, int], width: int, branch: int) -> Callable[[], nn.Module]:
    inputs = [net["last"] // share for share in (8, 4, 2, 1)]
    neck = {"type": "FPN", "in_channels": inputs, "out_channels": width, "num_outs": 4}
    head = {"type": "FPNHead", "in_channels": [width] * 4, "in_index": [0, 1, 2, 3], "channels": branch}
    head |= {"feature_strides": [4, 8, 16, 32], "num_classes": net["classes"]}
    return lambda: Segmentor(body(net), head, neck=neck)


def joint(net: dict[str, int], width: int) -> Callable[[], nn.Module]:
    inputs = tuple(net["last"] // share for share in (4, 2, 1))
    neck = {"type": "JPU", "in_channels": inputs, "mid_channels": width, "norm_cfg": NORM}
    head = {"type": "PSPHead", "in_channels": 4 * width, "in_index": 2, "channels": width}
    return lambda: Segmentor(
        body(net, out_indices=(1, 2, 3)), head | {"num_classes": net["classes"]}, neck=neck,
        auxiliary=fcn(net, 1),
    )  # fmt: skip


STAGES = {f"layer{i}": f"encoder.body.layer{i}" for i in range(1, 5)}
BODY = {f"pretrained.{theirs}": ours for theirs, ours in STAGES.items()}
JPU = {f"jpu.conv{5 - i}": f"upsample.lateral.{i}" for i in range(3)}
JPU |= {f"jpu.dilation{i + 1}": f"upsample.branches.{i}" for i in range(4)} | {"auxlayer": "auxiliary"}
MMSEG = {f"backbone.{theirs}": ours for theirs, ours in STAGES.items()}
SECOND = {"auxiliary_head.conv_seg": "auxiliary"}
RECORDS: dict[str, tuple[str, dict[str, str]]] = {
    "pspnet_authors": (
        "pspnet@hszhao_r50",
        STAGES
        | {f"ppm.features.{i}": f"pyramid.branches.{i}" for i in range(4)}
        | {"cls.2": "classify.0", "cls": "classify", "aux": "auxiliary"},
    ),
    "pspnet_mmseg": (
        "pspnet@mmseg",
        MMSEG
        | {f"decode_head.psp_modules.{i}": f"pyramid.branches.{i}" for i in range(4)}
        | {"decode_head.bottleneck": "classify.0", "decode_head.conv_seg": "classify"}
        | SECOND,
    ),
    "fpn_mmseg": (
        "fpn_segmentation@mmseg",
        MMSEG
        | {f"neck.lateral_convs.{i}": f"pyramid.lateral.{i}" for i in range(4)}
        | {f"neck.fpn_convs.{i}": f"pyramid.output.{i}" for i in range(4)}
        | {f"decode_head.scale_heads.{i}": f"semantic.levels.{i}" for i in range(4)}
        | {"decode_head.conv_seg": "semantic.classify"},
    ),
    "fastfcn_encoding": (
        "fastfcn@authors",
        BODY | JPU | {"head.conv5": "head.0", "head.conv6.0": "head.2", "head.conv6": "head"},
    ),
    "fastfcn_fcn": (
        "fastfcn@authors_fcn",
        BODY | JPU | {"head.conv5.2": "head.0", "head.conv5": "head"},
    ),
    "fastfcn_psp": (
        "fastfcn@authors_psp",
        BODY
        | JPU
        | {f"head.conv5.0.conv{i + 1}": f"head.0.branches.{i}" for i in range(4)}
        | {"head.conv5.3": "head.1", "head.conv5": "head"},
    ),
    "fastfcn_deeplab": (
        "fastfcn@authors_deeplab",
        BODY
        | JPU
        | {f"head.aspp.b{i}": f"head.0.branches.{i}" for i in range(4)}
        | {"head.aspp.b4.gap": "head.0.image", "head.aspp": "head.0", "head.block.2": "head.1"}
        | {"head.block": "head"},
    ),
    "fastfcn_mmseg": (
        "fastfcn@mmseg",
        MMSEG
        | {f"neck.conv_layers.{i}": f"upsample.lateral.{i}" for i in range(3)}
        | {f"neck.dilation_layers.{i}": f"upsample.branches.{i}" for i in range(4)}
        | {f"decode_head.psp_modules.{i}": f"head.0.branches.{i}" for i in range(4)}
        | {"decode_head.bottleneck": "head.1", "decode_head.conv_seg": "head"}
        | SECOND,
    ),
    "danet_authors": (
        "danet@authors",
        BODY
        | {"head.conv5a": "position.0", "head.sa": "position.1", "head.conv51": "position.2"}
        | {"head.conv5c": "channel.0", "head.sc": "channel.1", "head.conv52": "channel.2"}
        | {"head.conv6": "classify_position", "head.conv7": "classify_channel", "head.conv8": "classify"},
    ),
    "danet_mmseg": (
        "danet@mmseg",
        MMSEG
        | {f"decode_head.{kind}_in_conv": f"{ours}.0" for kind, ours in KINDS.items()}
        | {f"decode_head.{kind}": f"{ours}.1" for kind, ours in KINDS.items()}
        | {f"decode_head.{kind}_out_conv": f"{ours}.2" for kind, ours in KINDS.items()}
        | {f"decode_head.{kind}_conv_seg": f"classify_{ours}" for kind, ours in KINDS.items()}
        | {"decode_head.conv_seg": "classify"}
        | SECOND,
    ),
}


def table_of(source: str) -> Any:
    architecture, _, name = source.partition("@")
    return read_card(architecture).sources[name]


def compare_names(source: str, reference: nn.Module, *, classes: int) -> None:
    """Refuse a card whose table does not make our names and shapes of the reference's."""
    table = table_of(source)
    theirs = {name: t.shape for name, t in translated(reference.state_dict(), table).items()}
    with torch.device("meta"):
        network = registry.build(f"{source.partition('@')[0]}-{table.variant}", classes=classes)
    ours = {name: t.shape for name, t in network.state_dict().items()}
    if ours != theirs:
        raise SystemExit(f"{source}: {sorted(ours.items() ^ theirs.items())[:6]}")


def record(case: str, reference: nn.Module) -> dict[str, torch.Tensor]:
    source, watched = RECORDS[case]
    reference, own = reference.double().eval(), recorded_network(case).state_dict()
    state = reference.state_dict()
    names = {
        theirs: next(iter(translated({theirs: state[theirs]}, table_of(source))), "") for theirs in state
    }
    if set(own) != set(names.values()) - {""}:
        raise SystemExit(f"{case}: {sorted(set(own) ^ set(names.values()))[:6]}")
    reference.load_state_dict({theirs: own[ours] for theirs, ours in names.items() if ours}, strict=False)
    if case == "pspnet_authors":  # its second head is asked in training only
        reference.layer3.register_forward_hook(
            lambda module, inputs, output: (reference.aux(output), None)[1]
        )
    seen = taps(reference, recorded_image(case), watched)
    return {f"{case}.{name}": tensor for name, tensor in seen.items()}


if __name__ == "__main__":
    held: dict[str, torch.Tensor] = {}
    for readings, folder in zip((semseg, fastfcn, danet, mmseg), sys.argv[1:], strict=True):
        for case, build in readings(folder).items():
            held |= record(case, build())
    save_file(held, FOLDER / "context_heads.safetensors")
    print(f"{len(held)} taps, {(FOLDER / 'context_heads.safetensors').stat().st_size:,} bytes")
