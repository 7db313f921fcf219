"""ViT and Swin give the numbers of timm and transformers, and where timm's Swin differs, it differs.

The libraries run beside ours with copied random weights; nothing is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import timm
import torch
from rule import fill, image_by_rule
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    SwinBackbone,
    SwinConfig,
    ViTConfig,
    ViTModel,
)

from segmentarium.backbones import Swin, ViT, swin, vit
from segmentarium.models.mask2former import Config as Mask2FormerSizes
from segmentarium.models.mask2former import Mask2Former
from segmentarium.weights import read_card
from segmentarium.weights.foreign import Source, translated

SEED = 2103
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
STAGES = ["stage1", "stage2", "stage3", "stage4"]
SWIN = swin.Config(width=24, depths=(2, 2, 4, 2), heads=(1, 2, 3, 4), window=5, drop_path=0.0)
SIZES = {
    "padded everywhere": (2, 3, 75, 141),
    "grids of one window and less": (1, 3, 80, 80),
    "less than a patch": (1, 3, 3, 1),
}
PLAIN = vit.Config(patch=8, width=48, depth=3, heads=3, grid=(5, 5), interpolation="bicubic")
TIMM_VIT = Source(
    builder="timm's VisionTransformer without head",
    variant="",
    licence="Apache-2.0",
    rename=(
        (r"^patch_embed\.proj", "project"),
        (r"^cls_token", "class_token"),
        (r"^dist_token", "distillation_token"),
        (r"^pos_embed", "positions"),
        (r"\.attn\.qkv", ".qkv"),
        (r"\.attn\.proj", ".out"),
        (r"\.mlp\.fc1", ".mlp.0"),
        (r"\.mlp\.fc2", ".mlp.3"),
    ),
)


def outputs(network: nn.Module, paths: Iterable[str], run: Callable[[], object]) -> list[Tensor]:
    """What the modules at ``paths`` give while ``run`` runs; of a tuple its first part."""
    seen: dict[str, Tensor] = {}
    hooks = []
    for path in paths:

        def keep(module: nn.Module, inputs: object, output: object, path: str = path) -> None:
            seen[path] = output[0] if isinstance(output, tuple) else output  # type: ignore[assignment]

        hooks.append(network.get_submodule(path).register_forward_hook(keep))
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return [seen[path] for path in paths]


def assert_close(seen: Iterable[Tensor], expected: Iterable[Tensor], tolerance: float) -> None:
    for number, (ours, theirs) in enumerate(zip(seen, expected, strict=True)):
        error = ((ours.reshape(theirs.shape) - theirs).abs().max() / theirs.abs().max()).item()
        assert error < tolerance, f"first difference at map {number}: {error:.1e} of the largest value"


def swin_config(config: swin.Config) -> SwinConfig:
    return SwinConfig(
        embed_dim=config.width,
        depths=list(config.depths),
        num_heads=list(config.heads),
        window_size=config.window,
        out_features=STAGES,
        image_size=64,
        drop_path_rate=0.0,
    )


def our_swin(reference: SwinBackbone) -> Swin:
    """Ours with the weights of ``reference``, by the table of Mask2Former's card."""
    table = read_card("mask2former").sources["transformers_swin_t"]
    tensors = {f"model.pixel_level_module.encoder.{n}": t for n, t in reference.state_dict().items()}
    network = Swin(SWIN).double()
    network.load_state_dict(
        {name.removeprefix("encoder."): tensor for name, tensor in translated(tensors, table).items()}
    )
    return network.eval()


def loud_swin() -> SwinBackbone:
    """Weights by the rule, biases of positions loud enough to matter."""
    reference = SwinBackbone(swin_config(SWIN)).double().eval()
    fill(reference, SEED)
    for name, tensor in reference.named_parameters():
        if "bias_table" in name:
            tensor.data.mul_(4)
    return reference


BLOCKS = [f"{stage}.blocks.{block}" for stage, depth in enumerate(SWIN.depths) for block in range(depth)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", SIZES)
def test_swin_equals_transformers(size: str, dtype: torch.dtype) -> None:
    reference = loud_swin()
    network = our_swin(reference).to(dtype)
    reference.to(dtype)
    image = image_by_rule(SIZES[size], SEED).to(dtype)
    seen = outputs(network, [f"stages.{path}" for path in BLOCKS], lambda: network(image))
    expected = outputs(
        reference, [f"swin.encoder.layers.{path}" for path in BLOCKS], lambda: reference(image)
    )
    assert_close(seen, expected, TOLERANCE[dtype])
    with torch.no_grad():
        maps, theirs = network(image), reference(image).feature_maps
    assert [tuple(m.shape) for m in maps] == [tuple(m.shape) for m in theirs]
    assert_close(maps, theirs, TOLERANCE[dtype])


def timm_swin(size: tuple[int, int]) -> SwinTransformer:
    return SwinTransformer(
        img_size=size,
        embed_dim=SWIN.width,
        depths=SWIN.depths,
        num_heads=SWIN.heads,
        window_size=SWIN.window,
        num_classes=0,
        drop_path_rate=0.0,
    )


TIMM_SWIN = Source(
    builder="timm's SwinTransformer",
    variant="",
    licence="MIT",
    drop=("^norm", "attn_mask$", "relative_position_index$"),
    split=(
        (r"(.*)attn\.qkv\.(\w+)", (r"\1attention.query.\2", r"\1attention.key.\2", r"\1attention.value.\2")),
    ),
    rename=(
        (r"^patch_embed\.proj", "project"),
        (r"^patch_embed\.norm", "project_norm"),
        *((rf"^layers\.{n + 1}\.downsample\.norm", f"merge.{n}.norm") for n in range(3)),
        *((rf"^layers\.{n + 1}\.downsample\.reduction", f"merge.{n}.linear") for n in range(3)),
        (r"^layers", "stages"),
        (r"attn\.relative_position_bias_table", "attention.bias"),
        (r"attn\.proj", "attention.out"),
        (r"mlp\.fc1", "mlp.0"),
        (r"mlp\.fc2", "mlp.3"),
    ),
)


@pytest.mark.parametrize(
    ("size", "equal"),
    [((320, 320), 10), ((176, 160), 1), ((160, 160), 9)],
    ids=["whole windows", "filled windows", "a grid of one window"],
)
def test_swin_of_timm_differs_in_shifted_blocks(size: tuple[int, int], equal: int) -> None:
    """``equal`` counts the blocks ahead of the first that differs; there are ten."""
    reference = timm_swin(size).double().eval()
    fill(reference, SEED)
    network = Swin(SWIN).double().eval()
    network.load_state_dict(network.state_dict() | translated(reference.state_dict(), TIMM_SWIN))
    image = image_by_rule((1, 3, *size), SEED)
    seen = outputs(network, [f"stages.{path}" for path in BLOCKS], lambda: network(image))
    expected = outputs(reference, [f"layers.{path}" for path in BLOCKS], lambda: reference(image))
    errors = [((a - b).abs().max() / b.abs().max()).item() for a, b in zip(seen, expected, strict=True)]
    assert max(errors[:equal]) < 1e-6
    assert all(error > 1e-2 for error in errors[equal : equal + 1])


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("swin_tiny_patch4_window7_224", "swin_t"),
        ("swin_large_patch4_window12_384", "swin_l_384"),
    ],
)
def test_swin_counts_of_timm(name: str, size: str) -> None:
    with torch.device("meta"):
        reference = timm.create_model(name, num_classes=0)
        network = Swin(swin.SIZES[size])
    extra = sum(p.numel() for norm in network.norms[:-1] for p in norm.parameters())
    assert sum(p.numel() for p in network.parameters()) - extra == sum(
        p.numel() for p in reference.parameters()
    )


@pytest.mark.parametrize("size", [(40, 40), (64, 24)])
@pytest.mark.parametrize("distilled", [False, True])
def test_vit_equals_timm(size: tuple[int, int], distilled: bool) -> None:
    config = replace(PLAIN, distilled=distilled)
    reference = VisionTransformer(
        img_size=40, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=0, dynamic_img_size=True
    )
    if distilled:
        reference = timm.create_model(
            "deit_tiny_distilled_patch16_224",
            img_size=40,
            patch_size=8,
            embed_dim=48,
            depth=3,
            num_heads=3,
            num_classes=0,
            dynamic_img_size=True,
        )
    reference = reference.eval()
    fill(reference, SEED)
    reference.pos_embed.data.mul_(8)
    network = ViT(config, taps=(1, 2, 3)).eval()
    network.load_state_dict(translated(reference.state_dict(), TIMM_VIT))
    paths = [f"blocks.{n}" for n in range(3)]
    for dtype, tolerance in TOLERANCE.items():
        image = image_by_rule((2, 3, *size), SEED).to(dtype)
        network.to(dtype), reference.to(dtype)
        seen = outputs(network, [*paths, "norm"], lambda image=image: network(image))
        expected = outputs(reference, [*paths, "norm"], lambda image=image: reference(image))
        assert_close(seen, expected, tolerance)
        with torch.no_grad():
            maps = network(image)
        first = 1 + distilled
        assert_close([maps[-1].flatten(2).transpose(1, 2)], [expected[-1][:, first:]], tolerance)
        assert_close([maps[0].flatten(2).transpose(1, 2)], [expected[0][:, first:]], tolerance)


def test_vit_equals_transformers() -> None:
    sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 192}
    reference = ViTModel(
        ViTConfig(image_size=40, patch_size=8, layer_norm_eps=1e-6, **sizes), add_pooling_layer=False
    )
    fill(reference.double().eval(), SEED)
    network = ViT(PLAIN, taps=(1, 2, 3)).double().eval()
    held = reference.state_dict()
    tensors = {}
    for name in network.state_dict():
        parts = [held[one] for one in transformers_names(name, held)]
        tensors[name] = torch.cat(parts)
    network.load_state_dict(tensors)
    image = image_by_rule((2, 3, 40, 40), SEED)
    with torch.no_grad():
        theirs = reference(image, output_hidden_states=True)
        maps = network(image)
    expected = [*theirs.hidden_states[1:3], theirs.last_hidden_state]
    assert_close([m.flatten(2).transpose(1, 2) for m in maps], [t[:, 1:] for t in expected], 1e-6)


def transformers_names(name: str, held: Iterable[str]) -> list[str]:
    """The tensors of transformers' ViT, in any of its versions, that make up ours."""
    block, _, part = name.partition(".")[2].partition(".")
    kind = name.rpartition(".")[2]
    inner = {
        "norm1": ["layernorm_before"],
        "qkv": [r"(query|q_proj)", r"(key|k_proj)", r"(value|v_proj)"],
        "out": [r"attention\.(output\.dense|o_proj)"],
        "norm2": ["layernorm_after"],
        "mlp.0": [r"(mlp\.fc1|intermediate\.dense)"],
        "mlp.3": [r"(mlp\.fc2|layer\.\d+\.output\.dense|layers\.\d+\.output\.dense)"],
    }
    whole = {
        "class_token": "cls_token$",
        "positions": "position_embeddings$",
        "project.weight": r"projection\.weight",
        "project.bias": r"projection\.bias",
        "norm.weight": r"^layernorm\.weight",
        "norm.bias": r"^layernorm\.bias",
    }
    if name in whole:
        patterns = [whole[name]]
    else:
        found = inner[part.rpartition(".")[0]]
        patterns = [rf"layers?\.{block}\.(.*\.)?{one}\.{kind}$" for one in found]
    names = [[one for one in held if re.search(pattern, one)] for pattern in patterns]
    assert all(len(one) == 1 for one in names), (name, names)
    return [one[0] for one in names]


@pytest.mark.parametrize(
    ("name", "config"),
    [("vit_base_patch16_384", vit.BASE), ("vit_large_patch16_384", vit.LARGE)],
)
def test_vit_counts_of_timm(name: str, config: vit.Config) -> None:
    with torch.device("meta"):
        reference, network = timm.create_model(name, num_classes=0), ViT(config)
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in reference.parameters())


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_mask2former_on_swin_equals_transformers(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(swin.SIZES, "swin_small_for_this_test", SWIN)
    sizes = Mask2FormerSizes(
        encoder="swin_small_for_this_test",
        width=32,
        heads=4,
        pixel_layers=2,
        pixel_hidden=48,
        layers=4,
        hidden=64,
        queries=9,
        classes=5,
    )
    other = Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(
            backbone_config=swin_config(SWIN),
            feature_size=32,
            mask_feature_size=32,
            hidden_dim=32,
            num_attention_heads=4,
            encoder_layers=2,
            encoder_feedforward_dim=48,
            decoder_layers=5,
            dim_feedforward=64,
            num_queries=9,
            num_labels=5,
        )
    ).double()
    fill(other, SEED)
    for part in ("queries_features", "queries_embedder"):
        getattr(other.model.transformer_module, part).weight.data.mul_(10)  # so that queries stay different
    other.model.pixel_level_module.decoder.mask_projection.bias.data.zero_()
    network = Mask2Former(sizes).double()
    table = read_card("mask2former").sources["transformers_swin_t"]
    network.load_state_dict(translated(other.state_dict(), table))
    image = image_by_rule((2, 3, 93, 131), SEED).to(dtype)
    network.to(dtype).eval()
    other.to(dtype).eval()
    with torch.no_grad():
        found, expected = network(image), other(image, output_hidden_states=True)
        maps = network.encoder(image)
    assert_close(maps, expected.encoder_hidden_states, TOLERANCE[dtype])
    assert_close([found.class_logits], [expected.class_queries_logits], TOLERANCE[dtype])
    assert_close([found.mask_logits], [expected.masks_queries_logits], TOLERANCE[dtype])
