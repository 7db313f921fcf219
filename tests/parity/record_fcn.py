"""Record torchfcn's and mmsegmentation's numbers: ``python record_fcn.py TORCHFCN_CHECKOUT MMSEG_FOLDER``.

Writes fcn.safetensors beside itself. torchfcn has its widths in the text of its classes: its convolutions are
replaced by narrow ones of the same kernel, stride and padding, and its own ``forward`` runs them. The weights
follow ``rule.py`` in the order of *our* tensors. What neither network calls is replaced by nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch
from rule import fill, image_by_rule, tap, taps
from safetensors.torch import save_file
from test_fcn import LIMITS, RECORDED, SEED, Case, maps_of
from torch import Tensor, nn

from segmentarium.weights import read_card
from segmentarium.weights.foreign import Source, translated

FOLDER = Path(__file__).parent
NORM = {"type": "BN"}


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


def torchfcn(name: str, case: Case, source: Source, ours: dict[str, Tensor], checkout: str) -> nn.Module:
    """Its network with convolutions as narrow as ours."""
    package = ModuleType("torchfcn")
    package.__path__ = [str(Path(checkout) / "torchfcn")]
    sys.modules["torchfcn"] = package
    kind = {"8s_at_once": "FCN8sAtOnce"}.get(name, f"FCN{name}")
    network = getattr(import_module("torchfcn.models"), kind)(n_class=case.config.classes)
    for path, layer in list(network.named_children()):
        if type(layer) is nn.Conv2d:
            outputs, inputs = ours[our_name(f"{path}.weight", source)].shape[:2]
            layer = nn.Conv2d(inputs, outputs, layer.kernel_size, layer.stride, layer.padding)
            setattr(network, path, layer)
    return network


class MMSegmentation(nn.Module):
    """Its ResNet-50 and both heads, as its EncoderDecoder runs them and as fcn_r50-d8 sets them."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        heads = import_module("mmseg.models.decode_heads.fcn_head")
        shared = {"num_classes": case.config.classes, "norm_cfg": NORM, "align_corners": False}
        self.backbone = import_module("mmseg.models.backbones.resnet").ResNetV1c(
            depth=50, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), norm_cfg=NORM, contract_dilation=True
        )
        self.decode_head = heads.FCNHead(
            in_channels=2048, in_index=3, channels=case.config.width, num_convs=2, **shared
        )
        self.auxiliary_head = heads.FCNHead(
            in_channels=1024, in_index=2, channels=256, num_convs=1, concat_input=False, **shared
        )

    def forward(self, image: Tensor) -> Tensor:
        maps = self.backbone(image)
        self.auxiliary_head(maps)
        return self.decode_head(maps)


def our_name(theirs: str, source: Source) -> str:
    return next(iter(translated({theirs: torch.empty(0)}, source)))


def record(name: str, checkout: str) -> dict[str, Tensor]:
    case = RECORDED[name]
    architecture, _, key = case.source.partition("@")
    source = read_card(architecture).sources[key]
    ours = case.network(case.config).double()
    fill(ours, SEED)
    state = ours.state_dict()
    made = MMSegmentation(case) if name == "mmseg" else torchfcn(name, case, source, state, checkout)
    reference = made.double().eval()
    reference.load_state_dict({theirs: state[our_name(theirs, source)] for theirs in reference.state_dict()})
    image = image_by_rule(case.image, SEED)
    seen = taps(reference, image, {theirs: path for path, theirs in case.maps.items()})
    with torch.no_grad():
        seen["logits"] = tap(reference(image))
    for dtype, _ in LIMITS:
        found = maps_of(ours.to(dtype), image.to(dtype), case)
        errors = {path: ((found[path] - t).abs().max() / t.abs().max()).item() for path, t in seen.items()}
        print(name, dtype, max(errors.values()))
    return {f"{name}/{path}": tensor for path, tensor in seen.items()}


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[2])
    for absent in ("mmcv._ext", "fcn", *(["cv2"] if find_spec("cv2") is None else [])):
        leave_out(absent)
    held = {key: tensor for name in RECORDED for key, tensor in record(name, sys.argv[1]).items()}
    save_file(held, FOLDER / "fcn.safetensors")
    print(f"{len(held)} maps, {(FOLDER / 'fcn.safetensors').stat().st_size:,} bytes")
