"""Mask2Former gives the numbers of its public counterparts, from the first inner map to the last gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from rule import fill, image_by_rule
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, TimmBackboneConfig

from segmentarium.losses.mask_classification import SETTINGS, MaskClassificationLoss
from segmentarium.models import count_parameters
from segmentarium.models.mask2former import STRIDES, VARIANTS, Config, Mask2Former
from segmentarium.nn import Truth
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

SEED = 2112
SHAPE = (2, 3, 93, 131)  # maps of 24x33, 12x17, 6x9 and 3x5 pixels
RECORDED_SHAPE = (1, 3, 93, 131)
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
CONFIG = Config(
    encoder="resnet18",
    width=64,
    heads=4,
    pixel_layers=2,
    pixel_hidden=96,
    layers=4,
    hidden=128,
    queries=12,
    classes=5,
)
POINTS = 64
LOUDER = 10  # queries by the rule, so that they, and with them their masks, stay different
R50 = VARIANTS["r50"]
RECORD = Path(__file__).with_name("mask2former.safetensors")

Taps = dict[str, Tensor]
Look = Callable[..., Tensor]  # of the inputs, keywords and output of a module


def backbone(name: str) -> TimmBackboneConfig:
    return TimmBackboneConfig(backbone=name, out_indices=(1, 2, 3, 4), use_pretrained_backbone=False)


@cache
def reference() -> Mask2FormerForUniversalSegmentation:
    config = Mask2FormerConfig(
        backbone_config=backbone(CONFIG.encoder),
        feature_size=CONFIG.width,
        mask_feature_size=CONFIG.width,
        hidden_dim=CONFIG.width,
        num_attention_heads=CONFIG.heads,
        encoder_layers=CONFIG.pixel_layers,
        encoder_feedforward_dim=CONFIG.pixel_hidden,
        decoder_layers=CONFIG.layers + 1,
        dim_feedforward=CONFIG.hidden,
        num_queries=CONFIG.queries,
        num_labels=CONFIG.classes,
        train_num_points=POINTS,
        output_auxiliary_logits=True,
    )
    network = Mask2FormerForUniversalSegmentation(config).double()
    kept = network.criterion.empty_weight.clone()
    fill(network, SEED)  # every tensor: scales, offsets and statistics that begin as 0 or 1 would hide faults
    network.criterion.empty_weight.copy_(kept)
    queries = network.model.transformer_module
    for tensor in (queries.queries_features.weight, queries.queries_embedder.weight):
        tensor.data.mul_(LOUDER)
    network.model.pixel_level_module.decoder.mask_projection.bias.data.zero_()
    return network


def ours() -> Mask2Former:
    network = Mask2Former(CONFIG).double()
    tensors = translated(reference().state_dict(), read_card("mask2former").sources["transformers"])
    result = network.load_state_dict(tensors, strict=False)
    assert not result.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in result.missing_keys)
    return network


def with_answers_of_all_layers(network: Mask2Former) -> Mask2Former:
    """In eval mode but for the answers to train on."""
    network.eval().training = True
    network.decoder.training = True
    return network


def watched(network: nn.Module, image: Tensor, watch: dict[str, tuple[str, Look]]) -> Taps:
    """Run ``network``; of each module of ``watch`` what its function tells of (inputs, keywords, output)."""
    seen: Taps = {}
    hooks = []
    for name, (path, look) in watch.items():

        def hook(module, inputs, keywords, output, name=name, look=look):  # type: ignore[no-untyped-def]
            seen[name] = look(inputs, keywords, output).detach()

        hooks.append(network.get_submodule(path).register_forward_hook(hook, with_kwargs=True))
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return seen


def our_taps(network: Mask2Former, image: Tensor) -> Taps:
    config = network.config
    watch: dict[str, tuple[str, Look]] = {}
    for place, stride in enumerate(STRIDES):
        watch[f"encoder stride {stride}"] = ("encoder", lambda i, k, o, n=place: o[n + 1])
    for layer in range(config.pixel_layers):
        watch[f"pixel layer {layer}"] = (f"pixel_decoder.layers.{layer}", lambda i, k, o: o)
    watch["mask features"] = ("pixel_decoder.masks", lambda i, k, o: o)
    for layer in range(config.layers):
        path = f"decoder.layers.{layer}"
        watch[f"attention mask {layer}"] = (path, lambda i, k, o: k["allowed"][:, 0].double())
        watch[f"layer {layer}"] = (path, lambda i, k, o: o)
    for layer in range(config.layers + 1):
        watch[f"classes {layer}"] = ("decoder", lambda i, k, o, n=layer: (*o.aux, o)[n].class_logits)
        watch[f"masks {layer}"] = ("decoder", lambda i, k, o, n=layer: (*o.aux, o)[n].mask_logits)
    return watched(network, image, watch)


def their_taps(network: nn.Module, image: Tensor) -> Taps:
    pixels, decoder = "model.pixel_level_module.decoder", "model.transformer_module.decoder"
    watch: dict[str, tuple[str, Look]] = {}
    for place, stride in enumerate(STRIDES):
        path = "model.pixel_level_module.encoder"
        watch[f"encoder stride {stride}"] = (path, lambda i, k, o, n=place: o.feature_maps[n])
    for layer in range(CONFIG.pixel_layers):
        watch[f"pixel layer {layer}"] = (f"{pixels}.encoder.layers.{layer}", lambda i, k, o: o[0])
    watch["mask features"] = (f"{pixels}.mask_projection", lambda i, k, o: o)
    for layer in range(CONFIG.layers):
        path = f"{decoder}.layers.{layer}"
        watch[f"attention mask {layer}"] = (path, lambda i, k, o: allowed(k["encoder_attention_mask"]))
        watch[f"layer {layer}"] = (path, lambda i, k, o: o[0].transpose(0, 1))
    for layer in range(CONFIG.layers + 1):
        watch[f"classes {layer}"] = ("", lambda i, k, o, n=layer: answers(o)[n]["class_queries_logits"])
        watch[f"masks {layer}"] = ("", lambda i, k, o, n=layer: answers(o)[n]["masks_queries_logits"])
    return watched(network, image, watch)


def allowed(blocked: Tensor) -> Tensor:
    by_head = (~blocked).unflatten(0, (-1, CONFIG.heads))
    assert (by_head == by_head[:, :1]).all()
    return by_head[:, 0].double()


def answers(output: object) -> list[dict[str, Tensor]]:
    last = {name: getattr(output, name) for name in ("class_queries_logits", "masks_queries_logits")}
    return [*output.auxiliary_logits, last]  # type: ignore[attr-defined]


def errors(seen: Taps, expected: Taps) -> dict[str, float]:
    """Largest error of each map, as a share of its largest value, in the order of computation."""
    assert list(seen) == list(expected)
    return {
        name: ((seen[name] - value).abs().max() / value.abs().max()).item()
        for name, value in expected.items()
    }


def assert_taps_equal(seen: Taps, expected: Taps, tolerance: float) -> None:
    for name, error in errors(seen, expected).items():
        assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_equals_transformers(dtype: torch.dtype) -> None:
    image = image_by_rule(SHAPE, SEED).to(dtype)
    other = reference()
    try:
        expected = their_taps(other.to(dtype).eval(), image)
    finally:
        other.double()
    seen = our_taps(with_answers_of_all_layers(ours().to(dtype)), image)
    assert_taps_equal(seen, expected, TOLERANCE[dtype])
    for layer in range(CONFIG.layers):
        parts = seen[f"attention mask {layer}"].mean(-1)
        assert parts.unique().numel() > 2  # queries do not all look everywhere


def weights_by_rule(network: Mask2Former) -> Mask2Former:
    """The weights that the authors' numbers were recorded with."""
    fill(network, SEED)
    for tensor in (network.decoder.queries, network.decoder.positions):
        tensor.data.mul_(LOUDER)
    network.pixel_decoder.masks.bias.data.zero_()
    return network


def recorded_part(tensor: Tensor) -> Tensor:
    """What is kept of a map: at most 6 steps along each axis but the first."""
    for axis in range(1, tensor.ndim):
        tensor = tensor[(slice(None),) * axis + (slice(None, None, -(-tensor.shape[axis] // 6)),)]
    return tensor.contiguous()


def test_recorded_numbers_of_the_authors() -> None:
    network = with_answers_of_all_layers(weights_by_rule(Mask2Former(R50).double()))
    recorded = load_file(RECORD)
    for dtype in (torch.float64, torch.float32):
        seen = our_taps(network.to(dtype), image_by_rule(RECORDED_SHAPE, SEED).to(dtype))
        parts = {name: recorded_part(tensor).double() for name, tensor in seen.items()}
        assert recorded.keys() == parts.keys()
        expected = {name: recorded[name].double() for name in parts}
        assert_taps_equal(parts, expected, TOLERANCE[dtype])


def test_learns_as_transformers_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of all answers and the gradient of every parameter, on the same random points."""
    draw = torch.Generator().manual_seed(SEED)
    image = image_by_rule(SHAPE, SEED)
    truths = [
        Truth(
            torch.rand(t, *SHAPE[2:], generator=draw) < 0.3,
            torch.randint(CONFIG.classes, (t,), generator=draw),
        )
        for t in (3, 2)
    ]
    given: list[Tensor] = []
    rand = torch.rand

    def remember(*shape: int, **settings: object) -> Tensor:
        given.append(rand(*shape, **(settings | {"dtype": torch.float64})))
        return given[-1]

    network, other = ours().train(), reference().train()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "rand", remember)
        their_loss = other(
            image,
            mask_labels=[truth.masks.double() for truth in truths],
            class_labels=[truth.classes for truth in truths],
        ).loss
    other.zero_grad()
    their_loss.backward()
    left = [numbers for tensor in given for numbers in tensor]

    def replay(shape: tuple[int, ...]) -> Tensor:
        return torch.stack([left.pop(0) for _ in range(shape[0])])

    loss = MaskClassificationLoss(replace(SETTINGS["mask2former"], points=POINTS))
    our_loss = loss(network(image), truths, draw=replay)["loss"]
    our_loss.backward()
    assert not left
    torch.testing.assert_close(our_loss, their_loss.squeeze(), rtol=1e-6, atol=0)
    gradients = {name: tensor.grad for name, tensor in other.named_parameters() if tensor.grad is not None}
    expected = translated(gradients, read_card("mask2former").sources["transformers"])
    seen = {name: tensor.grad for name, tensor in network.named_parameters()}
    assert seen.keys() == expected.keys()
    noise = 1e-12 * max(float(value.abs().max()) for value in expected.values())  # where the slope is 0
    for name, value in expected.items():
        torch.testing.assert_close(seen[name], value, rtol=0, atol=noise + 1e-6 * float(value.abs().max()))


def test_count_of_transformers_and_of_the_authors() -> None:
    with torch.device("meta"):
        config = Mask2FormerConfig(backbone_config=backbone("resnet50"), num_labels=133)
        other = Mask2FormerForUniversalSegmentation(config)
        norms = [m for m in Mask2Former(Config()).encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    count = count_parameters("mask2former-r50")
    assert count == sum(p.numel() for p in other.parameters())
    assert count - sum(p.numel() for m in norms for p in m.parameters()) == 43_983_878  # 43.98 M
