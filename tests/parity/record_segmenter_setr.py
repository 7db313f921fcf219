"""Record foreign numbers: ``python record_segmenter_setr.py SEGMENTER SETR MMSEG``, folders of programs.

SEGMENTER and SETR hold the authors' repositories, MMSEG holds mmseg, mmcv and mmengine. Writes
segmenter_setr.safetensors beside itself. The weights follow ``rule.py`` in the order of *our* tensors and go
over by the tables of our cards, read backwards. What the programs import and do not call here is replaced by
empty modules: compiled parts, readers of data, and the authors' mmcv, of which only BatchNorm is needed.
"""

from __future__ import annotations

import collections.abc
import sys
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType

import torch
from rule import image_by_rule
from safetensors.torch import save_file
from test_segmenter_setr import CASES, SEED, kept, ours_by_rule, source_of
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.weights.foreign import translated

FOLDER = Path(__file__).parent
NORM = {"type": "BN"}


class Absent(ModuleType):
    """A module whose every name is 0, and a decorator, its maker and a registry that change nothing."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unchanged()


class Unchanged(int):
    def __call__(self, *arguments: object, **keywords: object) -> object:
        return arguments[0] if arguments and isinstance(arguments[0], type | FunctionType) else self

    def register_module(self) -> Unchanged:
        return self


def leave_out(*names: str, **contents: object) -> None:
    for name in names:
        module = Absent(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(contents)
        sys.modules[name] = module


def package(name: str, folder: Path) -> None:
    """A package of which nothing runs but the files that are asked for."""
    module = ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


def give(reference: nn.Module, ours: nn.Module, case: str) -> None:
    """Our tensors to ``reference``, by the card that brings them the other way."""
    source, held = source_of(case), ours.state_dict()
    for name, tensor in reference.state_dict().items():
        for our_name in translated({name: tensor}, source):
            tensor.copy_(held.pop(our_name))
    assert not [name for name in held if not name.endswith("num_batches_tracked")]


def segmenter(case: str, folder: str) -> nn.Module:
    """As segm.model.factory builds it from a config, without looking for trained weights."""
    sys.path.insert(0, folder)
    leave_out("segm.utils", "segm.utils.torch")
    sys.modules["timm.models.layers"] = import_module("timm.layers")
    config = CASES[case].config
    size = config.encoder
    encoder = import_module("segm.model.vit").VisionTransformer(
        image_size=tuple(side * size.patch for side in size.grid),
        patch_size=size.patch,
        n_layers=size.depth,
        d_model=size.width,
        d_ff=4 * size.width,
        n_heads=size.heads,
        n_cls=7,
        distilled=size.distilled,
    )
    decoders = import_module("segm.model.decoder")
    decoder = decoders.DecoderLinear(config.classes, size.patch, size.width)
    if CASES[case].network == "segmenter_mask":
        decoder = decoders.MaskTransformer(
            n_cls=config.classes,
            patch_size=size.patch,
            d_encoder=size.width,
            n_layers=config.layers,
            n_heads=size.heads,
            d_model=size.width,
            d_ff=4 * size.width,
            drop_path_rate=0.0,
            dropout=0.1,
        )
    return import_module("segm.model.segmenter").Segmenter(encoder, decoder, config.classes)


class EncoderDecoder(nn.Module):
    """A backbone and heads, all of which answer."""

    def __init__(self, backbone: nn.Module, decode: nn.Module, auxiliary: list[nn.Module]) -> None:
        super().__init__()
        self.backbone, self.decode_head, self.auxiliary_head = backbone, decode, nn.ModuleList(auxiliary)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = self.backbone(image)
        return [head(maps) for head in (self.decode_head, *self.auxiliary_head)]


def setr(case: str, folder: str) -> nn.Module:
    """As the published configs of configs/SETR build it, but smaller."""
    forget("mmseg", "mmcv")
    models = Path(folder) / "mmseg" / "models"
    for name, inner in (("mmseg", ""), ("mmseg.models", ""), *((f"mmseg.models.{n}", n) for n in PARTS)):
        package(name, models / inner)
    leave_out("mmcv", "mmcv.runner", "mmseg.core", "mmseg.ops", "mmseg.models.builder", "mmseg.models.losses")
    leave_out("mmcv.cnn", build_norm_layer=lambda norm, channels: ("bn", nn.BatchNorm2d(channels)))
    leave_out("torch._six", container_abcs=collections.abc)
    config, network = CASES[case].config, CASES[case].network
    size = config.encoder
    shared = {"img_size": size.patch * size.grid[0], "norm_cfg": NORM, "align_corners": False}
    body = shared | {"patch_size": size.patch, "embed_dim": size.width, "depth": size.depth}
    body |= {"num_heads": size.heads, "drop_rate": 0.0}
    heads = shared | {"num_classes": config.classes, "channels": 512}
    taps = [tap - 1 for tap in config.taps]
    if network == "setr_mla":
        backbone = import_module("mmseg.models.backbones.vit_mla").VIT_MLA(mla_index=taps, **body)
        main = import_module("mmseg.models.decode_heads.vit_mla_head").VIT_MLAHead(in_channels=1024, **heads)
        auxiliary = import_module("mmseg.models.decode_heads.vit_mla_auxi_head").VIT_MLA_AUXIHead
        others = [auxiliary(in_channels=256, in_index=n, **heads) for n in range(len(taps))]
        return EncoderDecoder(backbone, main, others)
    backbone = import_module("mmseg.models.backbones.vit").VisionTransformer(**body)
    head = import_module("mmseg.models.decode_heads.vit_up_head").VisionTransformerUpHead
    up = partial(head, in_channels=1024, embed_dim=size.width, **heads)
    last = {"in_index": size.depth - 1}
    if network == "setr_naive":
        others = [up(in_index=tap, num_conv=2, conv3x3_conv1x1=False) for tap in taps]
        return EncoderDecoder(backbone, up(num_conv=2, conv3x3_conv1x1=False, **last), others)
    others = [up(in_index=tap, num_conv=2, num_upsampe_layer=2) for tap in taps]
    return EncoderDecoder(backbone, up(num_conv=4, num_upsampe_layer=4, **last), others)


def mmseg(case: str, folder: str) -> nn.Module:
    """As mmsegmentation's setr_naive and setr_pup build it, without auxiliary heads, but smaller."""
    forget("mmseg", "mmcv", "mmengine")
    sys.path.insert(0, folder)
    leave_out("mmcv._ext")
    if find_spec("cv2") is None:
        leave_out("cv2", __version__="4.10.0")
    config = CASES[case].config
    size, naive = config.encoder, CASES[case].network == "setr_naive"
    backbone = import_module("mmseg.models.backbones.vit").VisionTransformer(
        img_size=tuple(side * size.patch for side in size.grid),
        patch_size=size.patch,
        embed_dims=size.width,
        num_layers=size.depth,
        num_heads=size.heads,
        out_indices=(size.depth - 1,),
        norm_cfg={"type": "LN", "eps": 1e-6},
        interpolate_mode="bilinear",
    )
    head = import_module("mmseg.models.decode_heads.setr_up_head").SETRUPHead(
        in_channels=size.width,
        channels=config.width,
        in_index=0,
        num_classes=config.classes,
        dropout_ratio=0,
        norm_cfg=NORM,
        num_convs=1 if naive else 4,
        up_scale=4 if naive else 2,
        kernel_size=1 if naive else 3,
        align_corners=False,
    )
    return EncoderDecoder(backbone, head, [])


def forget(*packages: str) -> None:
    """Two programs have packages of one name."""
    for name in [n for n in sys.modules if n.partition(".")[0] in packages]:
        del sys.modules[name]


def watch(network: nn.Module, image: Tensor, paths: dict[str, str]) -> dict[str, Tensor]:
    """The kept parts of the modules at ``paths`` and of all scores."""
    seen: dict[str, Tensor] = {}
    for name, path in paths.items():

        def hook(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
            seen[name] = kept(output)

        network.get_submodule(path).register_forward_hook(hook)
    with torch.no_grad():
        scores = network(image)
    for number, one in enumerate(scores if isinstance(scores, list) else [scores]):
        full = functional.interpolate(one, size=image.shape[-2:], mode="bilinear", align_corners=False)
        seen[f"scores {number}"] = kept(full)
    return seen


def record(case: str, folders: dict[str, str]) -> dict[str, Tensor]:
    one = CASES[case]
    program = "mmseg" if one.source == "mmseg" else one.network.partition("_")[0]
    reference = BUILDERS[program](case, folders[program]).double().eval()
    give(reference, ours_by_rule(case), case)
    seen = watch(reference, image_by_rule(one.image, SEED), dict(one.taps))
    return {f"{case}/{name}": tensor for name, tensor in seen.items()}


PARTS = ("backbones", "decode_heads")
BUILDERS = {"segmenter": segmenter, "setr": setr, "mmseg": mmseg}

if __name__ == "__main__":
    folders = dict(zip(BUILDERS, sys.argv[1:], strict=True))
    held = {name: tensor for case in CASES for name, tensor in record(case, folders).items()}
    save_file(held, FOLDER / "segmenter_setr.safetensors")
    print(f"{len(held)} taps, {(FOLDER / 'segmenter_setr.safetensors').stat().st_size:,} bytes")
