"""Segmenter and SETR give the numbers of their authors' programs, and SETR those of mmsegmentation.

The numbers were recorded; the weights went over by the tables of our own cards, so these are proved too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from rule import fill, image_by_rule
from safetensors.torch import load_file
from torch import Tensor, nn

import segmentarium.models as registry
from segmentarium.backbones import vit
from segmentarium.models import segmenter, setr
from segmentarium.nn import Semantic, resize
from segmentarium.weights import read_card
from segmentarium.weights.foreign import Source

SEED = 2105
SIDE = 5  # steps kept of each axis


@dataclass(frozen=True)
class Case:
    """Which network of ours, and what is compared: our paths of modules, and what the authors call them."""

    network: str
    config: segmenter.Config | setr.Config
    image: tuple[int, int, int, int]
    taps: Mapping[str, str] = field(default_factory=dict)
    source: str = "authors"


SEEN = {f"encoder.blocks.{n}": f"encoder.blocks.{n}" for n in range(2)}
DECODED = {f"decoder.blocks.{n}": f"decoder.blocks.{n}" for n in range(2)} | {"decoder": "decoder"}
SMALL = replace(vit.BASE, patch=8, width=128, depth=2, heads=2, grid=(5, 6), eps=1e-5)
SEGMENTER = segmenter.Config(encoder=SMALL, classes=7)
DISTILLED = replace(SEGMENTER, encoder=replace(SMALL, distilled=True))
PLAIN = replace(vit.BASE, width=48, depth=4, heads=3, grid=(5, 5))
NAIVE = setr.Config(encoder=PLAIN, taps=(1, 2, 3), enlarge=1, classes=6)
PUP = setr.Config(encoder=PLAIN, taps=(1, 2, 3, 4), classes=6)
MMSEG = replace(PUP, encoder=replace(PLAIN, patch_bias=False), width=32, auxiliary=False, bias=False)
LOOKED = {f"encoder.blocks.{n}": f"backbone.blocks.{n}" for n in range(4)}
LAYERS = {f"encoder.blocks.{n}": f"backbone.layers.{n}" for n in range(4)}
STREAMS = {
    f"{ours}.{n}": f"{theirs}{n + 2}"
    for ours, theirs in (("smooth", "backbone.mla.mla_p"), ("refine", "decode_head.mlahead.head"))
    for n in range(4)
}
CASES = {
    "linear": Case("segmenter_linear", SEGMENTER, (2, 3, 40, 48), SEEN),
    "linear_distilled": Case("segmenter_linear", DISTILLED, (1, 3, 61, 45), SEEN, "authors_deit"),
    "mask": Case("segmenter_mask", SEGMENTER, (2, 3, 61, 45), SEEN | DECODED),
    "mask_distilled": Case("segmenter_mask", DISTILLED, (1, 3, 40, 48), SEEN | DECODED, "authors_deit"),
    "naive": Case("setr_naive", NAIVE, (2, 3, 80, 80), LOOKED),
    "pup": Case(
        "setr_pup",
        PUP,
        (1, 3, 80, 80),
        LOOKED | {f"decode.steps.{n}.1": f"decode_head.syncbn_fc_{n}" for n in range(4)},
    ),
    "mla": Case("setr_mla", PUP, (1, 3, 80, 80), LOOKED | STREAMS),
    "naive_mmseg": Case(
        "setr_naive", MMSEG, (2, 3, 64, 96), LAYERS | {"decode.steps.0": "decode_head.up_convs.0.0"}, "mmseg"
    ),
    "pup_mmseg": Case(
        "setr_pup",
        MMSEG,
        (1, 3, 64, 96),
        LAYERS | {f"decode.steps.{n}": f"decode_head.up_convs.{n}.0" for n in range(4)},
        "mmseg",
    ),
}


def network_of(case: str) -> nn.Module:
    """Ours, untrained."""
    one = CASES[case]
    module = segmenter if one.network in segmenter.VARIANTS else setr
    spelt = one.network.replace("_", "")
    network: nn.Module = next(t for n, t in vars(module).items() if n.lower() == spelt)(one.config)
    return network


def ours_by_rule(case: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Ours with weights by the rule; positions so loud that they matter."""
    network = network_of(case).to(dtype)
    fill(network, SEED)
    network.encoder.positions.data.mul_(8)
    return network


def source_of(case: str) -> Source:
    return read_card(CASES[case].network).sources[CASES[case].source]


def kept(output: Tensor) -> Tensor:
    """What is recorded of a map or of tokens: a few steps of each axis but the first."""
    for axis in range(1, output.ndim):
        step = -(-output.shape[axis] // SIDE)
        output = output[(slice(None),) * axis + (slice(None, None, step),)]
    return output.detach().contiguous()


def answers(network: nn.Module, image: Tensor, taps: Mapping[str, str]) -> dict[str, Tensor]:
    """The kept parts of ``taps`` and of all scores at the size of the image."""
    seen: dict[str, Tensor] = {}
    hooks = []
    for name in taps:

        def hook(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
            seen[name] = kept(output)

        hooks.append(network.get_submodule(name).register_forward_hook(hook))
    with torch.no_grad():
        output: Semantic = network(image)
    for one in hooks:
        one.remove()
    for number, scores in enumerate((output.logits, *output.aux)):
        seen[f"scores {number}"] = kept(resize(scores, image.shape[-2:]))
    return seen


@pytest.mark.parametrize("case", CASES)
def test_recorded_numbers_of_the_authors(case: str) -> None:
    held = load_file(Path(__file__).with_name("segmenter_setr.safetensors"))
    expected = {name.removeprefix(f"{case}/"): t for name, t in held.items() if name.startswith(f"{case}/")}
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-6)):
        network = ours_by_rule(case, dtype)
        network.eval().training = True  # of the network alone: the auxiliary heads answer too
        seen = answers(network, image_by_rule(CASES[case].image, SEED).to(dtype), CASES[case].taps)
        assert seen.keys() == expected.keys()
        for name, value in expected.items():
            error = ((seen[name] - value).abs().max() / value.abs().max()).item()
            assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


@pytest.mark.parametrize(
    ("name", "heads", "parameters"),
    [
        ("segmenter_linear-ti16", 1, 5_905_342),
        ("segmenter_linear-s16", 1, 22_426_366),
        ("segmenter_mask-ti16", 1, 6_906_388),
        ("segmenter_mask-b16", 1, 103_266_580),
    ],
)
def test_counts_of_the_authors_with_their_unused_classifier(name: str, heads: int, parameters: int) -> None:
    width = registry.config_of(name).encoder.width
    assert registry.count_parameters(name) + heads * 1000 * (width + 1) == parameters
