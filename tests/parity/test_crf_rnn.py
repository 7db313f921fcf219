"""The CRF-RNN layer and its network give the numbers of sadeepj/crfasrnn_pytorch, gradients too.

What that program computed, in single precision as it must, is recorded: see crf_rnn.toml.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rule import fill, image_by_rule, uniform
from safetensors.torch import load_file
from torch import Tensor

import segmentarium.models as registry
from segmentarium.models.crf_rnn import CRFRNN, VARIANTS
from segmentarium.nn.crf_rnn import CRFLayer
from segmentarium.nn.permutohedral import CompiledLattice, Lattice
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

SEED = 1502
SIZE = (24, 32)
CLASSES = 4
WHOLE = (1, 3, 37, 53)
CASES = {"one": (1, 0.0), "start": (5, 0.0), "trained": (5, 1.0), "ten": (10, 0.0)}
"""Iterations, and how far the matrices are from their start."""
LIMITS = {"one": 1e-5, "start": 1e-4, "trained": 1e-4, "ten": 1e-4}


def drawn_scene(size: tuple[int, int]) -> dict[str, Tensor]:
    """A picture of three surfaces, shaded and noisy, scores that know them badly, and a gradient."""
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    label = (x + y > 30).long() + 2 * ((x - 9) ** 2 + (y - 12) ** 2 < 40).long()
    noise = torch.from_numpy(uniform((3, height, width), SEED, 1)).float()
    shade = torch.stack([40 + 50 * label + x, 200 - 45 * label - y, 90 + 20 * label + x // 2])
    draw = torch.from_numpy(uniform((2, CLASSES, height, width), SEED, 2)).float()
    known = torch.nn.functional.one_hot(label, CLASSES).permute(2, 0, 1)
    return {
        "image": (shade + 4 * noise).to(torch.uint8)[None],
        "logits": (1.5 * known + 4 * draw[:1] - 2),
        "gradient": 2 * draw[1:] - 1,
    }


def drawn_matrices(classes: int) -> Tensor:
    """What is added to the three matrices so that they hide nothing."""
    return torch.from_numpy(0.6 * uniform((3, classes, classes), SEED, 3) - 0.3).float()


def recorded(case: str) -> dict[str, Tensor]:
    held = load_file(Path(__file__).with_name("crf_rnn.safetensors"))
    return {key.partition("/")[2]: tensor for key, tensor in held.items() if key.startswith(f"{case}/")}


def largest_error(seen: Tensor, expected: Tensor) -> float:
    return ((seen - expected).abs().max() / expected.abs().max()).item()


def features_of(image: Tensor) -> Tensor:
    """Column, row and colours in standard deviations: b n 5."""
    _, _, height, width = image.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([x, y]).float() / 160
    return torch.cat([places, image[0].float() / 3]).flatten(1).T[None]


@pytest.mark.atlas("R10", "R11")
@pytest.mark.parametrize("kind", [Lattice, CompiledLattice])
def test_one_filter_and_its_adjoint(kind: type[Lattice]) -> None:
    scene, expected = recorded("scene"), recorded("filter")
    lattice = kind(features_of(scene["image"]))
    probs = scene["logits"].softmax(1)
    values = probs.flatten(2).mT.contiguous().requires_grad_()
    filtered = lattice.filter(values)
    filtered.backward(values.detach())
    for seen, name in ((filtered.detach(), "forward"), (values.grad, "backward")):
        assert largest_error(seen.mT.unflatten(2, SIZE)[0], expected[name]) < 5e-6


@pytest.mark.atlas("R16")
@pytest.mark.parametrize("name", CASES)
def test_the_layer_and_its_gradients(name: str) -> None:
    scene, expected = recorded("scene"), recorded(name)
    iterations, trained = CASES[name]
    layer = CRFLayer(CLASSES, iterations=(iterations, iterations))
    learned = {part: getattr(layer, part) for part in ("spatial", "bilateral", "compatibility")}
    with torch.no_grad():
        for mine, drawn in zip(learned.values(), drawn_matrices(CLASSES), strict=True):
            mine += drawn * trained
    scores = scene["logits"].clone().requires_grad_()
    refined = layer(scores, scene["image"].float() / 255)
    refined.backward(scene["gradient"])
    seen = {"refined": refined.detach()}
    seen |= {f"gradient.{part}": tensor.grad for part, tensor in {"logits": scores, **learned}.items()}
    assert set(seen) == set(expected)
    for part, value in expected.items():
        assert largest_error(seen[part], value) < LIMITS[name], part


def narrow() -> CRFRNN:
    """The network with few channels, which looks at the levels that it gets."""
    config = replace(VARIANTS["paper"], widths=(8, 12, 16, 20, 24), fc_width=32, classes=5)
    network = CRFRNN(config).eval()
    network.refine.sees(mean=[0.0] * 3, std=[1 / 255] * 3)
    return network


@pytest.mark.atlas("R16")
def test_the_whole_network() -> None:
    network = narrow()
    fill(network, SEED)
    with torch.no_grad():
        seen = network(image_by_rule(WHOLE, SEED).float()).logits
    assert largest_error(seen, recorded("network")["logits"]) < 1e-4


def shapes_of_the_reference() -> dict[str, tuple[int, ...]]:
    """The tensors of CrfRnnNet, as its files name them."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for group, (depth, width) in enumerate(zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), strict=True), 1):
        for number in range(1, depth + 1):
            shapes[f"conv{group}_{number}"] = (width, inputs, 3, 3)
            inputs = width
    shapes |= {"fc6": (4096, 512, 7, 7), "fc7": (4096, 4096, 1, 1)}
    shapes |= {"score_fr": (21, 4096, 1, 1), "score_pool4": (21, 512, 1, 1), "score_pool3": (21, 256, 1, 1)}
    shapes |= {"upscore2": (21, 21, 4, 4)}
    biases = {f"{name}.bias": shape[:1] for name, shape in shapes.items()}
    shapes |= {"upscore_pool4": (21, 21, 4, 4), "upscore8": (21, 21, 16, 16)}
    matrices = ("spatial_ker_weights", "bilateral_ker_weights", "compatibility_matrix")
    whole = {f"{name}.weight": shape for name, shape in shapes.items()} | biases
    return whole | {f"crfrnn.{name}": (21, 21) for name in matrices}


def test_weights_of_the_reference_fit() -> None:
    table = read_card("crf_rnn").sources["crfasrnn_pytorch"]
    with torch.device("meta"):
        theirs = {key: torch.empty(shape) for key, shape in shapes_of_the_reference().items()}
        ours = registry.build("crf_rnn-paper", classes=21).state_dict()
    found = {key: tensor.shape for key, tensor in translated(theirs, table).items()}
    assert found == {key: tensor.shape for key, tensor in ours.items()}


def test_begins_with_a_trained_fcn_8s() -> None:
    with torch.device("meta"):
        ours, before = (
            registry.build(f"{name}-paper", classes=21).state_dict() for name in ("crf_rnn", "fcn_8s")
        )
    assert set(before) < set(ours)
    added = {name for name in ours if name not in before}
    assert added == {
        "enlarge.32_to_16.bias", "refine.spatial", "refine.bilateral", "refine.compatibility"
    }  # fmt: skip
    assert registry.count_parameters("crf_rnn") == 134_489_759 + 3 * 21**2 + 21
