"""The dilated networks give the numbers of public programs, or of their equations where there are none.

The weights of the recorded ones went over by the tables of our own cards. Published definitions for Caffe are
kept as lists of layers, and a few lines here run such a list.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rule import fill, image_by_rule, tap, uniform
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.models import attention_to_scale, count_parameters, deeplabv1, deeplabv2
from segmentarium.models import dilation_context_net as dilation
from segmentarium.nn.smoothed_dilation import GroupInteraction, SeparableShared, decomposed_conv, interlace
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

SEED = 1412
HERE = Path(__file__).parent
RECORD = tomllib.loads((HERE / "dilated.toml").read_text(encoding="utf-8"))
TYPES = ((torch.float32, 1e-4), (torch.float64, 1e-6))


def largest_error(seen: Tensor, expected: Tensor) -> float:
    return ((seen - expected).abs().max() / expected.abs().max()).item()


def first_taps(network: nn.Module, image: Tensor, paths: dict[str, str]) -> tuple[Any, dict[str, Tensor]]:
    """The answer, and those of modules at ``paths`` when first called, before anything is done in place."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            seen.setdefault(name, tap(output).clone())

        return hook

    hooks = [network.get_submodule(path).register_forward_hook(keep(name)) for path, name in paths.items()]
    with torch.no_grad():
        answer = network(image)
    for hook in hooks:
        hook.remove()
    return answer, seen


# DeepLab: recorded numbers of programs for torch ----------------------------------------------------------

RECORDED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "v1": (
        lambda: deeplabv1.DeepLabV1(deeplabv1.Config(classes=5)),
        (1, 3, 25, 57),
        [*(f"encoder.trunk.{i}" for i in range(5)), "encoder.fc6", "encoder.fc7", "classify"],
    ),
    "v2": (
        lambda: deeplabv2.DeepLabV2(deeplabv2.Config(encoder="resnet26", frozen_norm=False, classes=5)),
        (1, 3, 16, 200),
        [f"encoder.body.{part}" for part in ("maxpool", *(f"layer{i}" for i in range(1, 5)))],
    ),
}


def recorded_network(case: str) -> nn.Module:
    return RECORDED[case][0]().eval()


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_numbers_of_deeplab(case: str) -> None:
    held = load_file(HERE / "dilated.safetensors")
    expected = {name.removeprefix(f"{case}."): t for name, t in held.items() if name.startswith(f"{case}.")}
    network = recorded_network(case).double()
    network.training = True  # of the network alone, not of its parts: the scales answer too
    fill(network, SEED)
    _, size, paths = RECORDED[case]
    for dtype, tolerance in TYPES[::-1]:
        image = image_by_rule(size, SEED).to(dtype)
        output, seen = first_taps(network.to(dtype), image, {path: path for path in paths})
        seen |= {"logits": tap(output.logits)} | {f"scale{i}": tap(one) for i, one in enumerate(output.aux)}
        assert set(seen) == set(expected)
        for name, value in expected.items():
            error = largest_error(seen[name], value)
            assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


def kazuto_names(blocks: tuple[int, ...]) -> list[str]:
    parts = [f"layer{i}.block{b}" for i, n in enumerate(blocks, start=2) for b in range(1, n + 1)]
    joints = [f"{part}.{step}" for part in parts for step in ("reduce", "conv3x3", "increase")]
    joints += ["layer1.conv1", *(f"layer{i}.block1.shortcut" for i in range(2, 6))]
    norm = ("weight", "bias", "running_mean", "running_var")
    names = [f"{joint}.conv.weight" for joint in joints] + [f"{j}.bn.{n}" for j, n in product(joints, norm)]
    names += [f"aspp.c{i}.{tensor}" for i in range(4) for tensor in ("weight", "bias")]
    return [f"base.{name}" for name in names]


def coincheung_names() -> list[str]:
    features = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    layers = [*(f"features.{i}" for i in features), *(f"classifier.{i}" for i in (1, 3, 6))]
    return [f"{layer}.{tensor}" for layer in layers for tensor in ("weight", "bias")]


@pytest.mark.parametrize(
    ("paper", "source", "network", "names"),
    [
        ("deeplabv1", "coincheung", deeplabv1.DeepLabV1, coincheung_names()),
        ("deeplabv2", "kazuto", deeplabv2.DeepLabV2, kazuto_names((3, 4, 23, 3))),
    ],
)
def test_tables_lead_to_every_tensor(
    paper: str, source: str, network: Callable[[Any], nn.Module], names: list[str]
) -> None:
    table = read_card(paper).sources[source]
    with torch.device("meta"):
        ours = network({"deeplabv1": deeplabv1, "deeplabv2": deeplabv2}[paper].VARIANTS[table.variant])
        theirs = translated({name: torch.zeros(()) for name in names}, table)
    assert set(theirs) == {name for name in ours.state_dict() if not name.endswith("num_batches_tracked")}


# Smoothed dilated convolutions: recorded numbers of the authors' operators ---------------------------------

OPERATORS = list(product((2, 4), ((7, 9), (8, 12))))


def operands(rate: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """What the operators are given: an image b c h w, weights, a matrix of groups, a shared filter."""
    shapes = {"image": (2, 3, *size), "weight": (4, 3, 3, 3), "bias": (4,)}
    shapes |= {"matrix": (rate**2, rate**2), "offset": (2 * rate - 1, 2 * rate - 1)}
    drawn = {name: uniform(shape, SEED, index) for index, (name, shape) in enumerate(shapes.items())}
    return {name: torch.from_numpy(2 * u - 1) for name, u in drawn.items()}


def as_the_code_mixes(matrix: Tensor) -> Tensor:
    """The authors' matrix in our order; their loop gives each group itself the weight of the first one."""
    ours = matrix.T.clone()
    ours[:, 0] = 0
    return ours + matrix[0].diag()


@pytest.mark.parametrize(("rate", "size"), OPERATORS)
def test_recorded_numbers_of_smoothed_convolutions(rate: int, size: tuple[int, int]) -> None:
    held, given = load_file(HERE / "dilated.safetensors"), operands(rate, size)
    for dtype, tolerance in TYPES:
        image, weight, bias, matrix, offset = (tensor.to(dtype) for tensor in given.values())
        plain = nn.Conv2d(3, 4, 3, padding=rate, dilation=rate).to(dtype)
        plain.weight.data, plain.bias.data = weight, bias
        mixed, blurred = GroupInteraction(plain).to(dtype), SeparableShared(plain).to(dtype)
        mixed.offset.data += as_the_code_mixes(matrix) - mixed.matrix
        blurred.offset.data = offset
        seen = {
            "regular": plain(image),
            "decompose": interlace(decomposed_conv(image, weight, rate=rate), size) + bias[:, None, None],
            "smooth_GI": mixed(image),
            "smooth_SSC": blurred(image),
        }
        for name, value in seen.items():
            error = largest_error(value, held[f"smooth.{name}.{rate}.{size[0]}"])
            assert error < tolerance, f"{name}: {error:.1e}"


# Dilation: published definitions for Caffe, run by a few lines of our own ----------------------------------

PUBLISHED = {
    "dilation8_pascal_voc": "paper",
    "dilation8_camvid": "dilation8_camvid",
    "dilation7_kitti": "dilation7_kitti",
    "dilation10_cityscapes": "dilation10_cityscapes",
}


def convolutions(network: dilation.DilationContextNet) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_layers_are_those_of_the_published_definition(name: str) -> None:
    published = [layer[1:5] for layer in RECORD["dilation"][name] if layer[0] != "pool"]
    with torch.device("meta"):
        network = dilation.DilationContextNet(dilation.VARIANTS[PUBLISHED[name]])
    ours = [[c.out_channels, c.kernel_size[0], c.dilation[0], c.padding[0]] for c in convolutions(network)]
    ours[16][3] += network.context.edge  # ours pads before the layer what the definition pads in it
    assert ours == published


@pytest.mark.parametrize("name", PUBLISHED)
def test_equals_the_published_definition_run_as_a_list(name: str) -> None:
    config = replace(dilation.VARIANTS[PUBLISHED[name]], widths=(3, 4, 5, 6, 7), width=9, classes=2)
    network = dilation.DilationContextNet(config).eval()
    for dtype, tolerance in TYPES:
        fill(network.to(dtype), SEED)
        image = image_by_rule((1, 3, 19, 41), SEED).to(dtype)
        below, right = 24 - 19, 48 - 41
        edges = ((0, 0), (0, 0), (186, 186 + below), (186, 186 + right))
        maps = torch.from_numpy(np.pad(image.numpy(), edges, mode="reflect"))
        weights = iter(convolutions(network))
        with torch.no_grad():
            for layer in RECORD["dilation"][name]:
                if layer[0] == "pool":
                    maps = functional.max_pool2d(maps, 2, 2)
                    continue
                held, (*_, rate, padding, rectified) = next(weights), layer
                maps = functional.conv2d(maps, held.weight, held.bias, padding=padding, dilation=rate)
                maps = maps.relu() if rectified else maps
            seen = network(image).logits
        assert seen.shape == (1, 2, 3, 6)
        assert largest_error(seen, maps) < tolerance


# Attention to scale: the equations of the paper, pixel by pixel ---------------------------------------------


def test_attention_to_scale_equals_its_equations() -> None:
    config = replace(attention_to_scale.VARIANTS["tiny"], scales=(1.0, 0.75, 0.5), norm=False, classes=3)
    network = attention_to_scale.AttentionToScale(config).double().eval()
    fill(network, SEED)
    image = image_by_rule((1, 3, 32, 48), SEED)
    with torch.no_grad():
        features, scores = [], []
        for scale in config.scales:
            small = functional.interpolate(image, size=(int(32 * scale), int(48 * scale)), mode="bilinear")
            maps = network.encoder(small)
            for kept, one in ((features, maps), (scores, network.classify(maps))):
                kept.append(functional.interpolate(one, size=(4, 6), mode="bilinear"))
        heights = network.attend(torch.cat(features, dim=1)).numpy()
        found = network(image).logits.numpy()
    for y, x, kind in product(range(4), range(6), range(3)):
        powers = [np.exp(heights[0, s, y, x]) for s in range(3)]
        wanted = sum(p / sum(powers) * scores[s][0, kind, y, x].item() for s, p in enumerate(powers))
        assert found[0, kind, y, x] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("deeplabv1-paper", 21, 20_505_429),
        ("deeplabv2-vgg16", 21, 37_877_652),
        ("dilation_context_net-front_end", 21, 134_346_581),
        ("dilation_context_net-dilation10_cityscapes", 19, 134_368_179),
    ],
)
def test_counts(name: str, classes: int, parameters: int) -> None:
    assert count_parameters(name, classes=classes) == parameters


def test_counts_of_the_resnet_with_its_frozen_scales_and_shifts() -> None:
    with torch.device("meta"):
        network = deeplabv2.DeepLabV2(deeplabv2.Config(frozen_norm=False))
    assert sum(p.numel() for p in network.parameters()) == 44_048_532
