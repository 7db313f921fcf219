"""PSPNet, Semantic FPN, FastFCN and DANet give the numbers of their authors' code and of libraries.

Weights go over by the tables of our own cards, so these are proved too. What installs runs beside ours; what
does not has left its numbers in context_heads.safetensors, on encoders and heads as small as it allows.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rule import fill, image_by_rule, taps
from safetensors.torch import load_file
from test_deeplab import Case, largest_error, maps_of, pair, randomise_norms, smp
from torch import nn

import segmentarium.models as registry
from segmentarium.models.danet import VARIANTS as DANETS
from segmentarium.models.danet import DANet
from segmentarium.models.fastfcn import VARIANTS as FASTFCNS
from segmentarium.models.fastfcn import FastFCN
from segmentarium.models.fpn_segmentation import VARIANTS as FPNS
from segmentarium.models.fpn_segmentation import FPNSegmentation
from segmentarium.models.pspnet import VARIANTS as PSPNETS
from segmentarium.models.pspnet import PSPNet
from segmentarium.nn.joint_upsampling import JointPyramidUpsampling

SEED = 1612
STAGES = {f"encoder.body.layer{i}": f"encoder.layer{i}" for i in range(1, 5)}
CASES = {
    "pspnet": Case(
        "pspnet@smp",
        smp("PSPNet", "resnet34"),
        (72, 104),
        {path: STAGES[path] for path in list(STAGES)[:2]}
        | {f"pyramid.branches.{i}": f"decoder.psp.blocks.{i}.pool" for i in range(4)}
        | {"classify.0": "decoder.conv", "classify": "segmentation_head.0"},
    ),
    "fpn_segmentation": Case(
        "fpn_segmentation@smp",
        smp("FPN", "resnet34"),
        (64, 96),
        STAGES
        | {f"semantic.levels.{i}": f"decoder.seg_blocks.{3 - i}" for i in range(4)}
        | {"pyramid.lateral.3": "decoder.p5"}
        | {f"pyramid.output.{i}": f"decoder.p{i + 2}" for i in range(3)}
        | {"semantic.classify": "segmentation_head.0"},
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_equals_the_library_map_by_map(case: str) -> None:
    torch.manual_seed(SEED)
    reference, size, paths = CASES[case].reference(), CASES[case].size, CASES[case].maps
    randomise_norms(reference)
    network = pair(CASES[case].source, reference)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-6)):
        image = image_by_rule((1, 3, *size), SEED).to(dtype)
        seen = maps_of(network.to(dtype).eval(), image, {ours: ours for ours in paths})
        expected = maps_of(
            reference.to(dtype).eval(), image, {theirs: ours for ours, theirs in paths.items()}
        )
        for name in paths:
            error = largest_error(seen[name], expected[name])
            assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


SMP_NEVER_RUNS = 19_936_768
"""Parameters of ResNet-34's last two stages: segmentation-models-pytorch keeps them in its PSPNet."""

CODES = 8 * 2048 * 512 + 512 * 19 + 19
"""mmsegmentation's head of EncNet begins with a 3x3 convolution even here and has a branch for SE-loss."""


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("pspnet-paper", 21, 68_073_706),
        ("pspnet-paper_r50", 21, 49_081_578),
        ("pspnet-mmseg_r101", 19, 67_967_622),
        ("pspnet-smp_r34", 1, 21_437_985 - SMP_NEVER_RUNS),
        ("fpn_segmentation-mmseg_r101", 19, 47_490_035),
        ("fpn_segmentation-smp_r34", 1, 23_155_393),
        ("danet-mmseg_r101", 19, 68_838_702),
    ],
)
def test_counts_of_the_libraries(name: str, classes: int, parameters: int) -> None:
    assert registry.count_parameters(name, classes=classes) == parameters


def test_counts_of_joint_upsampling() -> None:
    with torch.device("meta"):
        block = JointPyramidUpsampling((2048, 1024, 512), 512, align_corners=True)
        network = FastFCN(replace(FASTFCNS["paper_r50"], encoder="resnet50c", classes=19))
    assert sum(p.numel() for p in block.parameters()) == 19_735_552
    assert sum(p.numel() for p in network.parameters()) == 55_627_513 - CODES


SMALL = {"encoder": "resnet26", "width": 32, "classes": 5}
RECORDED: dict[str, tuple[type[nn.Module], Any, tuple[int, int]]] = {
    "pspnet_authors": (PSPNet, replace(PSPNETS["paper_r50"], classes=5), (41, 73)),
    "pspnet_mmseg": (
        PSPNet,
        replace(PSPNETS["mmseg_r101"], encoder="resnet18", output_stride=32, width=128, classes=5),
        (131, 203),
    ),
    "fpn_mmseg": (
        FPNSegmentation,
        replace(FPNS["mmseg_r101"], encoder="resnet18", width=32, branch_width=16, classes=5),
        (64, 96),
    ),
    "fastfcn_encoding": (FastFCN, replace(FASTFCNS["paper"], encoder="resnet26", classes=5), (33, 121)),
    "fastfcn_fcn": (FastFCN, replace(FASTFCNS["fcn_r50"], **SMALL), (33, 121)),
    "fastfcn_psp": (FastFCN, replace(FASTFCNS["psp_r50"], **SMALL), (33, 121)),
    "fastfcn_deeplab": (FastFCN, replace(FASTFCNS["deeplab_r50"], **SMALL), (33, 331)),
    "fastfcn_mmseg": (
        FastFCN, replace(FASTFCNS["mmseg_psp_r50"], encoder="resnet18", width=32, classes=5), (65, 121)
    ),
    "danet_authors": (DANet, replace(DANETS["paper"], encoder="resnet26", grid=(4, 8), classes=5), (41, 73)),
    "danet_mmseg": (
        DANet,
        replace(DANETS["mmseg_r101"], encoder="resnet18", output_stride=32, width=32, keys=4, classes=5),
        (131, 203),
    ),
}  # fmt: skip


def recorded_network(case: str) -> nn.Module:
    """Filled by the rule, in eval mode and double precision, with what would hide behind it brought out."""
    network, config, _ = RECORDED[case]
    with torch.device("meta"):
        built = network(config)
    built.to_empty(device="cpu").double().eval()
    with torch.no_grad():
        fill(built, SEED)
        for name, tensor in built.state_dict().items():
            if name.endswith("gamma"):  # 0 at the start, and a number without an axis is not filled
                tensor.fill_(0.75)
            if name.endswith("encode.scale"):  # so that every pixel shares itself out among several words
                tensor.copy_(-1e-5 * (1 + tensor))
            if name.startswith("channel.0.1.") and tensor.ndim:  # and is like several channels
                tensor.mul_(0.01)
            if name.startswith("position.1.query"):  # and asks several pixels
                tensor.mul_(1e-4)
    return built


def recorded_image(case: str) -> torch.Tensor:
    return image_by_rule((2, 3, *RECORDED[case][2]), SEED)


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_numbers(case: str) -> None:
    held = load_file(Path(__file__).with_name("context_heads.safetensors"))
    expected = {name.removeprefix(f"{case}."): t for name, t in held.items() if name.startswith(f"{case}.")}
    assert len(expected) > 5
    network = recorded_network(case)
    network.training = True  # of the network alone, not of its parts: further heads answer too
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-4)):
        seen = taps(network.to(dtype), recorded_image(case).to(dtype), {name: name for name in expected})
        for name, value in expected.items():
            error = largest_error(seen[name], value)
            assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"
