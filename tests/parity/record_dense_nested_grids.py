"""Record what other programs compute: ``python record_dense_nested_grids.py FOLDER``.

FOLDER holds checkouts of SimJeg/FC-DenseNet, bfortuner/pytorch_tiramisu, MrGiovanni/UNetPlusPlus,
4uiiurz1/pytorch-nested-unet, TobyPDE/FRRN and Fourure/GridNet under the names of the repositories. Two of
them are torch and run as they are. The others are wiring for Lasagne, Keras and Torch 7: their functions run
as they are too (those in Lua need lupa), but the layers they call are stand-ins, which compute at once with
torch, each with the tensors of the layer of ours that is its counterpart. Every layer of ours must be asked
for. Writes dense_nested_grids.safetensors beside itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from rule import fill, image_by_rule, tap, taps
from safetensors.torch import save_file
from test_dense_nested_grids import KEPT, RECORDED, SEED, SIZE, recorded_network
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

Call = Callable[[Tensor, Any], Tensor]

FOLDER = Path(__file__).parent
BATCH_NORM_EPS = 1e-5  # ours; Lasagne's is 1e-4


class Counterparts:
    """Layers of ours with tensors, handed out by name, or in the order in which ours runs them."""

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        self.network, self.seen = network, {}
        names = {module: name for name, module in network.named_modules()}
        order: list[str] = []
        hooks = [
            module.register_forward_hook(lambda module, inputs, output: order.append(names[module]))
            for module in names
            if not list(module.children()) and list(module.parameters())
        ]
        with torch.no_grad():
            network(image)
        for hook in hooks:
            hook.remove()
        self.wanted = set(order)
        self.order: Iterator[str] = iter(order)

    def run(
        self, kind: type, call: Callable[..., Tensor], maps: Tensor, outputs: int, name: str = ""
    ) -> Tensor:
        """Give ``call`` the tensors of one layer; its result is remembered under our name for it."""
        name = name or next(self.order)
        layer = self.network.get_submodule(name)
        assert type(layer) is kind, f"{name} is no {kind.__name__}"
        assert outputs in (layer.weight.shape[kind is nn.ConvTranspose2d], 0), name
        with torch.no_grad():
            self.seen[name] = call(maps, layer)
        return self.seen[name]

    def all_seen(self) -> dict[str, Tensor]:
        """What they computed, by our names, once all of ours have been asked for."""
        assert self.seen.keys() == self.wanted, self.seen.keys() ^ self.wanted
        return self.seen


def convolution(maps: Tensor, layer: Any, *, side: int, biased: bool = True) -> Tensor:
    """Stride 1, zeros around."""
    assert layer.weight.shape[2:] == (side, side)
    assert (layer.bias is not None) == biased
    return functional.conv2d(maps, layer.weight, layer.bias, padding=side // 2)


def batch_norm(maps: Tensor, layer: Any) -> Tensor:
    """By the running statistics."""
    turned = [t[:, None, None] for t in (layer.running_mean, layer.running_var, layer.weight, layer.bias)]
    mean, variance, scale, shift = turned
    return (maps - mean) * (scale / torch.sqrt(variance + BATCH_NORM_EPS)) + shift


def lasagne(ours: Counterparts) -> SimpleNamespace:
    """What the two programs take from Lasagne. Its kernels may be turned; ours are taken as they lie."""

    def conv(maps: Tensor, num_filters: int, filter_size: Any = 3, **settings: Any) -> Tensor:
        side = filter_size if isinstance(filter_size, int) else filter_size[0]
        assert settings["pad"] == "same"
        assert settings["nonlinearity"] is None
        biased = settings.get("b", 0) is not None
        call = lambda x, layer: convolution(x, layer, side=side, biased=biased)  # noqa: E731
        return ours.run(nn.Conv2d, call, maps, num_filters)

    def deconv(maps: Tensor, num_filters: int, filter_size: int, stride: int, crop: str, **_: Any) -> Tensor:
        assert (filter_size, crop) == (3, "valid")
        call = lambda x, layer: functional.conv_transpose2d(x, layer.weight, layer.bias, stride)  # noqa: E731
        return ours.run(nn.ConvTranspose2d, call, maps, num_filters)

    def pool(maps: Tensor, size: int, **_: Any) -> Tensor:
        return functional.max_pool2d(maps, size)

    def concat(maps: list[Tensor], cropping: Any = None) -> Tensor:
        height, width = (min(m.shape[axis] for m in maps) for axis in (2, 3))
        tops = [((m.shape[2] - height) // 2, (m.shape[3] - width) // 2) for m in maps]
        return torch.cat(
            [m[:, :, y : y + height, x : x + width] for m, (y, x) in zip(maps, tops, strict=True)], 1
        )

    return SimpleNamespace(
        InputLayer=lambda shape, input_var: input_var,
        Conv2DLayer=conv,
        Deconv2DLayer=deconv,
        BatchNormLayer=lambda maps, **_: ours.run(nn.BatchNorm2d, batch_norm, maps, maps.shape[1]),
        NonlinearityLayer=lambda maps, nonlinearity=functional.relu: nonlinearity(maps),
        DropoutLayer=lambda maps, chance: maps,
        Pool2DLayer=pool,
        MaxPool2DLayer=lambda maps, stride, pool_size: functional.max_pool2d(maps, pool_size, stride),
        Upscale2DLayer=lambda maps, scale_factor: functional.interpolate(maps, scale_factor=scale_factor),
        BilinearUpscaleLayer=theano_upsampling,
        ElemwiseSumLayer=sum,
        ConcatLayer=concat,
        DimshuffleLayer=lambda maps, axes: maps.permute(axes),
        ReshapeLayer=lambda maps, shape: maps.reshape(shape),
        get_output=lambda maps: maps,
        HeUniform=lambda **_: None,
        linear=None,
        softmax=lambda maps: maps,
    )


def theano_upsampling(maps: Tensor, factor: int) -> Tensor:
    """Theano's bilinear_upsampling of factor 2: the edge repeated, a kernel of 1/2, 1, 1/2, 3 pixels cut."""
    assert factor == 2
    line = torch.tensor([0.5, 1.0, 0.5], dtype=maps.dtype)
    flat = functional.pad(maps.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    large = functional.conv_transpose2d(
        flat, torch.outer(line, line)[None, None], stride=2, padding=3, output_padding=1
    )
    return large[:, 0].unflatten(0, maps.shape[:2])


def between(path: Path, start: str, end: str) -> str:
    text = path.read_text(encoding="utf-8")
    first = text.index(start)
    return text[first : text.index(end, first) if end else None]


def tiramisu(folder: Path, network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The authors' FC-DenseNet: Lasagne, Python 2; its summary, which prints, is left out."""
    ours = Counterparts(network, image)
    known = vars(lasagne(ours)) | {"T": SimpleNamespace(tensor4=lambda *_, **__: image)}
    exec(between(folder / "FC-DenseNet/layers.py", "def BN_ReLU_Conv", ""), known)
    exec(between(folder / "FC-DenseNet/FC-DenseNet.py", "class Network", "    def save("), known)
    config = network.config
    known["Network"](
        n_classes=config.classes,
        n_filters_first_conv=config.width,
        n_pool=len(config.layers) // 2,
        growth_rate=config.growth,
        n_layers_per_block=list(config.layers),
    )
    return ours.all_seen()


def frrn(folder: Path, network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The authors' FRRN: Lasagne, and a layer of its own that calls Theano's bilinear upsampling."""
    ours = Counterparts(network, image)
    layers, nothing = lasagne(ours), lambda *_, **__: None
    known = {
        "lasagne": SimpleNamespace(
            layers=layers,
            init=SimpleNamespace(Constant=lambda value: value, HeUniform=nothing),
            nonlinearities=SimpleNamespace(linear=None, rectify=functional.relu),
        ),
        "layers": layers,
        "nnet": SimpleNamespace(
            NeuralNetwork=lambda: SimpleNamespace(input_layers=[], output_layers=[], splits=[])
        ),
    }
    exec(between(folder / "FRRN/dltools/architectures.py", "class BuilderBase", ""), known)
    known["BuilderBase"].log_softmax_4d = staticmethod(lambda maps: maps)
    config = network.config
    builder = known["FRRNABuilder" if len(config.down) == 4 else "FRRNBBuilder"]
    settings = {"base_channels": config.width, "lanes": config.lanes, "num_classes": config.classes}
    builder(**settings).build(image, tuple(image.shape))
    return ours.all_seen()


GRAPH_IN_LUA = """
function(run)
    local Node, Module = {}, {}
    Node.__index, Module.__index = Node, Module
    function Node:annotate() end
    local function after(left, module)
        local maps = left.maps or (left[3] and {left[1].maps, left[2].maps, left[3].maps})
            or (left[1] and {left[1].maps, left[2].maps})
        return setmetatable({maps = run(module.kind, maps, unpack(module.settings))}, Node)
    end
    Node.__sub, Module.__sub = after, after
    Module.__call = function(module) return after({maps = run("image")}, module) end
    local kinds = {__index = function(_, kind)
        return function(...) return setmetatable({kind = kind, settings = {...}}, Module) end
    end}
    unpack = unpack or table.unpack
    cudnn = setmetatable({}, kinds)
    nn = setmetatable({gModule = function(inputs, outputs) return outputs[1] end}, kinds)
    color = {}
end
"""


def gridnet(folder: Path, network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The authors' GridNet: a graph in Lua, where ``maps - module`` means the module applied to the maps."""
    ours = Counterparts(network, image)
    lua = import_module("lupa").LuaRuntime()

    def conv(maps: Tensor, inputs: int, outputs: int, *window: int) -> Tensor:
        side, _, stride, _, padding, _ = window
        call = lambda x, layer: functional.conv2d(x, layer.weight, layer.bias, stride, padding)  # noqa: E731
        assert (side, maps.shape[1]) == (3, inputs)
        return ours.run(nn.Conv2d, call, maps, outputs)

    def full_conv(maps: Tensor, inputs: int, outputs: int, *window: int) -> Tensor:
        side, _, stride, _, padding, _, more, _ = (*window, 0, 0)[:8]
        call = lambda x, layer: functional.conv_transpose2d(  # noqa: E731
            x, layer.weight, layer.bias, stride, padding, more
        )
        assert (side, maps.shape[1]) == (3, inputs)
        return ours.run(nn.ConvTranspose2d, call, maps, outputs)

    kinds = {
        "SpatialConvolution": conv,
        "SpatialFullConvolution": full_conv,
        "SpatialBatchNormalization": lambda maps, size: ours.run(nn.BatchNorm2d, batch_norm, maps, size),
        "ReLU": lambda maps, in_place: functional.relu(maps),
        "TotalDropout": lambda maps, chance: maps,
        "CAddTable": lambda maps: sum(maps.values()),
        "image": lambda: image,
    }
    lua.eval(GRAPH_IN_LUA)(lambda kind, *rest: kinds[kind](*rest))
    lua.execute(between(folder / "GridNet/GridNet.lua", "function firstConv", "--model, model_parameters"))
    config = network.config
    lua.globals().createGridNet(
        config.in_channels, config.classes, config.columns, lua.table_from(config.widths), config.dropout
    )
    return ours.all_seen()


def keras(folder: Path, network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """The authors' UNet++: Keras 1 and 2; its counterparts are found by the names that it gives."""
    ours = Counterparts(network, image)

    def place(name: str) -> str:
        row, column = (int(digit) - 1 for digit in name)
        return f"nodes.{row}_{column}" if column else f"encoder.rows.{row}"

    def conv(outputs: int, window: tuple[int, int], *, name: str, activation: str, **_: Any) -> Any:
        if name.startswith("output_"):
            path = f"heads.{name[-1]}"
        else:
            inside = ".convolve" if name[5] != "1" else ""
            path = f"{place(name[4:6])}{inside}.{3 * (name[-1] == '2')}"
        last = functional.relu if activation == "relu" else lambda maps: maps
        call = lambda x, layer: convolution(x, layer, side=window[0])  # noqa: E731
        return lambda maps: last(ours.run(nn.Conv2d, call, maps, outputs, path))

    def transposed(outputs: int, window: Any, strides: Any, name: str, padding: str) -> Any:
        assert (window, strides, padding) == ((2, 2), (2, 2), "same")
        call = lambda x, layer: functional.conv_transpose2d(x, layer.weight, layer.bias, 2)  # noqa: E731
        return lambda maps: ours.run(nn.ConvTranspose2d, call, maps, outputs, f"{place(name[2:])}.up")

    known = {
        "Input": lambda **_: image,
        "Conv2D": conv,
        "Conv2DTranspose": transposed,
        "MaxPooling2D": lambda window, strides, name: (
            lambda maps: functional.max_pool2d(maps, window, strides)
        ),
        "Dropout": lambda chance, name: lambda maps: maps,
        "concatenate": lambda maps, name, axis: torch.cat(maps, axis),
        "Model": lambda **both: both["output"],
        "K": SimpleNamespace(image_dim_ordering=lambda: "th"),
        "l2": lambda strength: None,
        "act": "relu",
        "dropout_rate": 0.5,
    }
    exec(
        between(folder / "UNetPlusPlus/keras/helper_functions.py", "def standard_unit", "if __name__"), known
    )
    config = network.config
    known["UNetPlusPlus"](*image.shape[2:], config.in_channels, config.classes, deep_supervision=True)
    return ours.all_seen()


def with_our_tensors(reference: nn.Module, network: nn.Module, source: str) -> nn.Module:
    """``reference`` with the tensors of ``network``, by the table ``source`` of the card."""
    reference.double().eval()
    card, _, name = source.partition("@")
    theirs = list(reference.state_dict())
    places = translated(
        dict(zip(theirs, torch.arange(len(theirs)), strict=True)), read_card(card).sources[name]
    )
    values = {theirs[place]: network.state_dict()[ours] for ours, place in places.items()}
    reference.load_state_dict(values, strict=False)
    counters = [key for key in theirs if key.endswith("num_batches_tracked")]
    assert values.keys() | set(counters) == set(theirs)
    return reference


def bfortuner(folder: Path, network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """A public FC-DenseNet in torch."""
    sys.path.insert(0, str(folder / "pytorch_tiramisu"))
    config, depth = network.config, len(network.config.layers) // 2
    reference = import_module("models.tiramisu").FCDenseNet(
        config.in_channels,
        config.layers[:depth],
        config.layers[depth + 1 :],
        config.layers[depth],
        config.growth,
        config.width,
        config.classes,
    )
    with_our_tensors(reference, network, "fc_densenet@bfortuner")
    names = {"firstconv": "first", "finalConv": "classify"}
    names |= {f"transUpBlocks.{i}.convTrans": f"enlarge.{i}" for i in range(depth)}
    names |= {f"transDownBlocks.{i}.conv": f"shrink.{i}.2" for i in range(depth)}
    return taps(reference, image, names)


def nested_bn(folder: Path, network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """A public UNet++ in torch, with BatchNorm."""
    sys.path.insert(0, str(folder / "pytorch-nested-unet"))
    reference = import_module("archs").NestedUNet(network.config.classes, deep_supervision=True)
    with_our_tensors(reference, network, "unet_plus_plus@4uiiurz1")
    names = {f"conv{i}_{j}.conv2": f"nodes.{i}_{j}.convolve.3" for i in range(4) for j in range(1, 5 - i)}
    return taps(reference, image, names | {f"final{j}": f"heads.{j}" for j in range(1, 5)})


PROGRAMS = {
    "tiramisu": tiramisu,
    "bfortuner": bfortuner,
    "keras": keras,
    "nested_bn": nested_bn,
    "frrn_a": frrn,
    "frrn_b": frrn,
    "gridnet": gridnet,
}


def record(folder: Path, case: str) -> dict[str, Tensor]:
    network = recorded_network(case).double()
    fill(network, SEED)
    image = image_by_rule((1, RECORDED[case].config.in_channels, *SIZE.get(case, (32, 48))), SEED)
    seen = PROGRAMS[case](folder, network, image)
    maps = {name: maps if case in ("bfortuner", "nested_bn") else tap(maps) for name, maps in seen.items()}
    kept = {name: maps[name] for name in maps if KEPT[case].fullmatch(name)}
    print(f"{case}: {len(seen)} maps, {len(kept)} of them kept")
    return {f"{case}.{name}": tensor.contiguous() for name, tensor in kept.items()}


if __name__ == "__main__":
    target = FOLDER / "dense_nested_grids.safetensors"
    held = {n: t for case in RECORDED for n, t in record(Path(sys.argv[1]).resolve(), case).items()}
    save_file(held, target)
    print(f"{len(held)} taps, {target.stat().st_size:,} bytes")
