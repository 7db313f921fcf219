"""Record the references' numbers: ``python record_dilated.py FOLDER``, where four repositories lie.

They are deeplab-pytorch (kazuto1011), Deeplab-Large-FOV (CoinCheung), dilated (divelab) and dilation (fyu).
Writes dilated.safetensors beside itself, and prints fyu's layers as dilated.toml has them. divelab's
operators are for TensorFlow 1; they run in the compatibility mode of TensorFlow 2, told to use float64.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from rule import fill, image_by_rule, tap
from safetensors.torch import save_file
from test_dilated import OPERATORS, RECORDED, SEED, first_taps, operands, recorded_network
from torch import Tensor, nn

from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

FOLDER = Path(__file__).parent
V1 = {f"features.{theirs}": f"encoder.trunk.{ours}" for ours, theirs in enumerate((3, 8, 15, 22, 29))}
V1 |= {"classifier.1": "encoder.fc6", "classifier.3": "encoder.fc7", "classifier.6": "classify"}
V2 = {"base.layer1.pool": "encoder.body.maxpool"}
V2 |= {f"base.layer{i + 1}": f"encoder.body.layer{i}" for i in range(1, 5)}


def loaded(path: Path) -> ModuleType:
    """A file as a module."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def give(reference: nn.Module, ours: nn.Module, paper: str, source: str) -> None:
    """Our weights under their names, by the table of our card."""
    state = reference.state_dict()
    table = read_card(paper).sources[source]
    names = {id(tensor): name for name, tensor in translated(state, table).items()}
    values = {key: ours.state_dict()[names[id(t)]] for key, t in state.items() if id(t) in names}
    reference.load_state_dict(state | values)


def large_fov(root: Path) -> nn.Module:
    """CoinCheung's network; it would fetch weights, which ours replace."""
    model = loaded(root / "Deeplab-Large-FOV/lib/model.py")
    model.DeepLabLargeFOV.init_weights = lambda self: None
    return model.DeepLabLargeFOV(3, 5)


def multi_scale(root: Path) -> nn.Module:
    """kazuto1011's network of two blocks a stage within its wrapper, scales in our order."""
    package = ModuleType("kazuto")  # its own __init__ asks for more than these files
    package.__path__ = [str(root / "deeplab-pytorch/libs/models")]
    sys.modules["kazuto"] = package
    network = import_module("kazuto.deeplabv2").DeepLabV2(5, [2, 2, 2, 2], [6, 12, 18, 24])
    return import_module("kazuto.msc").MSC(network, scales=[0.75, 0.5])


def record_v1(root: Path) -> dict[str, Tensor]:
    ours, reference = recorded_network("v1").double(), large_fov(root).double().eval()
    fill(ours, SEED)
    give(reference, ours, "deeplabv1", "coincheung")
    _, seen = first_taps(reference, image_by_rule(RECORDED["v1"][1], SEED), V1)
    return {f"v1.{name}": maps for name, maps in seen.items()} | {"v1.logits": seen["classify"].clone()}


def record_v2(root: Path) -> dict[str, Tensor]:
    ours, reference = recorded_network("v2").double(), multi_scale(root).double().eval()
    fill(ours, SEED)
    give(reference, ours, "deeplabv2", "kazuto")
    reference.training = True  # of the wrapper alone: it then gives all scales
    (*each, largest), seen = first_taps(reference, image_by_rule(RECORDED["v2"][1], SEED), V2)
    seen |= {f"scale{i}": tap(maps) for i, maps in enumerate(each)} | {"logits": tap(largest)}
    return {f"v2.{name}": maps for name, maps in seen.items()}


class Float64:
    """TensorFlow 1 as divelab's file knows it, with every float32 made float64."""

    def __init__(self, tensorflow: Any) -> None:
        self.tensorflow, self.float32 = tensorflow, tensorflow.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tensorflow, name)

    def get_variable(self, name: str, **settings: Any) -> Any:
        return self.tensorflow.get_variable(name, dtype=self.tensorflow.float64, **settings)

    def eye(self, side: int) -> Any:
        return self.tensorflow.eye(side, dtype=self.tensorflow.float64)


def record_operators(root: Path) -> dict[str, Tensor]:
    tensorflow = import_module("tensorflow").compat.v1
    tensorflow.disable_v2_behavior()
    dilated = loaded(root / "dilated/dilated.py")
    dilated.tf = Float64(tensorflow)
    seen = {}
    for rate, size in OPERATORS:
        given = {name: tensor.numpy() for name, tensor in operands(rate, size).items()}
        values = {"weights": given["weight"].transpose(2, 3, 1, 0), "biases": given["bias"]}
        for kind in ("regular", "decompose", "smooth_GI", "smooth_SSC"):
            filter_ = given["offset"][..., None, None, None]
            own = {"fix_w": given["matrix"] if kind == "smooth_GI" else filter_}
            with tensorflow.Graph().as_default(), tensorflow.Session() as session:
                image = tensorflow.constant(given["image"].transpose(0, 2, 3, 1))
                answer = dilated._dilated_conv2d(kind, image, 3, 4, rate, "layer", biased=True)
                for variable in tensorflow.global_variables():
                    variable.load((values | own)[variable.op.name.rpartition("/")[2]], session)
                maps = torch.from_numpy(session.run(answer)).permute(0, 3, 1, 2).contiguous()
            seen[f"smooth.{kind}.{rate}.{size[0]}"] = maps
    return seen


def layers(prototxt: str) -> list[list[Any]]:
    """Name, channels, side, rate, padding of each convolution, whether a ReLU follows, and where it pools."""
    found: list[list[Any]] = []
    rectified = set(re.findall(r'type: "ReLU"\s+bottom: "(.*?)"', prototxt))
    for block in re.split(r"\nlayer \{", prototxt)[1:]:
        number = {key: int(value) for key, value in re.findall(r"(\w+): (\d+)\b", block)}
        name, kind = re.findall(r'(?:name|type): "(.*?)"', block)
        if kind == "Pooling":
            assert "pool: MAX" in block
            assert (number["kernel_size"], number["stride"]) == (2, 2)
            found.append(["pool"])
        if kind == "Convolution":
            side, rate = number["kernel_size"], number.get("dilation", 1)
            found.append([name, number["num_output"], side, rate, number.get("pad", 0), name in rectified])
    return found


def as_toml(path: Path) -> str:
    """A definition's layers as an entry of dilated.toml."""
    rows = [json.dumps(layer) for layer in layers(path.read_text(encoding="utf-8"))]
    text = textwrap.fill(", ".join(row.replace(" ", "\0") for row in rows), 110, break_on_hyphens=False)
    lines = textwrap.indent(text.replace("\0", " "), "    ")
    return f"{path.stem.removesuffix('_deploy')} = [\n{lines},\n]"


if __name__ == "__main__":
    root = Path(sys.argv[1])
    held = record_v1(root) | record_v2(root) | record_operators(root)
    save_file(held, FOLDER / "dilated.safetensors")
    print(f"{len(held)} taps, {(FOLDER / 'dilated.safetensors').stat().st_size:,} bytes", file=sys.stderr)
    print("[dilation]", *map(as_toml, sorted((root / "dilation/models").glob("*.prototxt"))), sep="\n")
