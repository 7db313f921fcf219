"""DETR, its mask head and its loss give the numbers of transformers and of the authors' program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rule import fill, image_by_rule, uniform
from safetensors.torch import load_file
from torch import Tensor, nn

from segmentarium.losses.detr import SETTINGS, DetrLoss, match, objects_of
from segmentarium.models.detr import DETR, VARIANTS, Config
from segmentarium.nn import Queries, Truth
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

pytestmark = pytest.mark.filterwarnings("ignore")

SEED = 12872
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
KINDS, SIDE = 6, (40, 48)

RECORDED = Config(
    encoder="resnet18", width=128, encoder_layers=2, decoder_layers=3, hidden=64, queries=5, classes=KINDS
)
SHAPE = (2, 3, 70, 93)
STAGES = {
    "project": "input_proj",
    "encode.0": "transformer.encoder.layers.0",
    "encode.1": "transformer.encoder.layers.1",
    "decode.0": "transformer.decoder.layers.0",
    "decode.1": "transformer.decoder.layers.1",
    "decode.2": "transformer.decoder.layers.2",
    "look": "bbox_attention",
    "mask.mix.norm": "mask_head.gn1",
    "mask.narrow.norm": "mask_head.gn2",
    "mask.steps.0.norm": "mask_head.gn3",
    "mask.steps.1.norm": "mask_head.gn4",
    "mask.steps.2.norm": "mask_head.gn5",
}


def watched(network: nn.Module, names: dict[str, str], image: Tensor) -> tuple[dict[str, Tensor], Any]:
    """What ``network`` says to ``image``, and the outputs of its modules at the values of ``names``."""
    seen: dict[str, Tensor] = {}

    def watch(name: str):  # type: ignore[no-untyped-def]
        return lambda module, inputs, output: seen.__setitem__(name, output.detach())

    hooks = [network.get_submodule(path).register_forward_hook(watch(name)) for name, path in names.items()]
    with torch.no_grad():
        said = network(image)
    for hook in hooks:
        hook.remove()
    return {name: seen[name] for name in names}, said


def assert_near(seen: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Equal to ``tolerance`` of each map's largest value; the first that differs is named."""
    assert list(seen) == list(expected)
    for name, value in expected.items():
        assert seen[name].shape == value.shape, name
        error = ((seen[name] - value).abs().max() / value.abs().max()).item()
        assert error < tolerance, f"first difference at {name}: {error:.1e} of the largest value"


def answers(output: Queries) -> dict[str, Tensor]:
    """All that the read-out and the loss see, by name."""
    layers = {f"aux.{i}": layer for i, layer in enumerate(output.aux)} | {"last": output}
    named = {f"{name}.classes": layer.class_logits for name, layer in layers.items()}
    return (
        named
        | {f"{name}.boxes": layer.boxes for name, layer in layers.items()}
        | {"masks": output.mask_logits}
    )


def randomise(network: nn.Module) -> None:
    """All weights anew, of a size that keeps values moderate; norms so that they hide nothing."""
    draw = torch.Generator().manual_seed(SEED)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        size = torch.rand(tensor.shape, generator=draw, dtype=torch.float64)
        if tensor.ndim > 1:
            size = (2 * size - 1) * (6 / tensor[0].numel()) ** 0.5
        elif name.endswith(("weight", "running_var")):
            size = size + 0.5
        else:
            size = size - 0.5
        tensor.copy_(size)


THEIRS = {
    "project": "detr.model.input_projection",
    "encode.0": "detr.model.encoder.layers.0",
    "encode.1": "detr.model.encoder.layers.1",
    "decode.0": "detr.model.decoder.layers.0",
    "decode.1": "detr.model.decoder.layers.1",
    "decode.2": "detr.model.decoder.layers.2",
    "norm": "detr.model.decoder.layernorm",
    "look": "bbox_attention",
    "mask.mix.norm": "mask_head.conv1.norm",
    "mask.narrow": "mask_head.conv2",
    "mask.skips.0": "mask_head.fpn_stages.0.fpn_adapter",
    "mask.steps.0": "mask_head.fpn_stages.0.refine",
    "mask.skips.1": "mask_head.fpn_stages.1.fpn_adapter",
    "mask.steps.1": "mask_head.fpn_stages.1.refine",
    "mask.skips.2": "mask_head.fpn_stages.2.fpn_adapter",
    "mask.steps.2": "mask_head.fpn_stages.2.refine",
}


def like_ours(seen: dict[str, Tensor], queries: int) -> dict[str, Tensor]:
    """transformers' maps laid out as ours: looks flat, and the encoder's maps once an image."""
    seen["look"] = seen["look"].flatten(-2)
    for name in (f"mask.skips.{step}" for step in range(3)):
        seen[name] = seen[name][::queries]
    return seen


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50 dilated"])
def test_equals_transformers(encoder: str) -> None:
    from transformers import DetrConfig, DetrForSegmentation

    name, dilated = encoder.split()[0], encoder.endswith("dilated")
    config = replace(
        RECORDED, encoder=name, width=64, output_stride=16 if dilated else 32, encoder_layers=2, queries=4
    )
    reference = DetrForSegmentation(
        DetrConfig(
            backbone=name,
            dilation=dilated,
            d_model=64,
            num_queries=4,
            encoder_layers=2,
            decoder_layers=3,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            num_labels=KINDS,
            auxiliary_loss=False,  # with it, the next layer would build on the normalised answer
        )
    ).eval()
    network = DETR(config).eval()
    randomise(reference)
    source = read_card("detr").sources["transformers"]
    network.load_state_dict(translated(reference.state_dict(), source))
    for dtype, tolerance in TOLERANCE.items():
        image = image_by_rule(SHAPE, SEED).to(dtype)
        reference, network = reference.to(dtype), network.to(dtype)
        seen, own_answer = watched(network, {own: own for own in THEIRS}, image)
        expected, their_answer = watched(reference, THEIRS, image)
        with torch.no_grad():
            maps = network.encoder(image)[-4:]
            their_maps = [m for m, _ in reference.detr.model.backbone(image, torch.ones(2, *SHAPE[2:]))]
        for stride, (own, their) in enumerate(zip(maps, their_maps, strict=True), 2):
            assert_near({f"C{stride}": own}, {f"C{stride}": their}, tolerance)
        assert_near(seen, like_ours(expected, 4), tolerance)
        named = {
            "last.classes": their_answer.logits,
            "last.boxes": their_answer.pred_boxes,
            "masks": their_answer.pred_masks,
        }
        assert_near({part: answers(own_answer)[part] for part in named}, named, tolerance)


def test_files_that_transformers_writes_fit(tmp_path: Path) -> None:
    from transformers import DetrConfig, DetrForSegmentation

    small = {"d_model": 64, "num_queries": 4, "encoder_layers": 1, "decoder_layers": 1, "num_labels": KINDS}
    reference = DetrForSegmentation(
        DetrConfig(backbone="resnet18", encoder_ffn_dim=64, decoder_ffn_dim=64, **small)
    )
    reference.save_pretrained(tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    network = DETR(replace(RECORDED, width=64, queries=4, encoder_layers=1, decoder_layers=1))
    network.load_state_dict(translated(written, read_card("detr").sources["transformers"]))
    assert torch.equal(network.queries.weight, reference.detr.model.query_position_embeddings.weight)


def test_dilation_is_torchvisions() -> None:
    torchvision = pytest.importorskip("torchvision")
    trunk = torchvision.models.resnet50(replace_stride_with_dilation=[False, False, True]).eval()
    encoder = DETR(replace(RECORDED, encoder="resnet50", output_stride=16)).encoder.eval()
    randomise(trunk)
    own = encoder.body.state_dict()
    encoder.body.load_state_dict({name: trunk.state_dict()[name] for name in own})
    image = image_by_rule((1, 3, 70, 93), SEED).float()
    stages = {name: name for name in ("layer1", "layer2", "layer3", "layer4")}
    expected, _ = watched(trunk, stages, image)
    with torch.no_grad():
        seen = dict(zip(stages, encoder(image)[-4:], strict=True))
    assert_near(seen, expected, TOLERANCE[torch.float32])


def test_counts_of_the_authors() -> None:
    def count(network: nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    with torch.device("meta"):
        network = DETR(VARIANTS["r50_panoptic"])
        detector = DETR(replace(VARIANTS["r50_panoptic"], classes=91))
    assert round(count(network) / 1e6, 2) == 42.90
    assert count(detector) - count(detector.look) - count(detector.mask) == 41_524_768  # 41.52 million


# the authors' program ---------------------------------------------------------------------------------------


def recorded_network() -> DETR:
    return DETR(RECORDED).eval()


def thinned(maps: Tensor) -> Tensor:
    """What is recorded of a map: at most every fifth value."""
    return maps.detach().flatten()[:: 5 if maps.numel() > 4000 else 1].contiguous()


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(Path(__file__).with_name("detr.safetensors"))


def test_network_recorded_from_the_authors(recorded: dict[str, Tensor]) -> None:
    expected = {
        name.removeprefix("network."): t for name, t in recorded.items() if name.startswith("network.")
    }
    for dtype, tolerance in TOLERANCE.items():
        network = recorded_network().to(dtype)
        fill(network, SEED)
        image = image_by_rule(SHAPE, SEED).to(dtype)
        seen, answer = watched(network, {own: own for own in STAGES}, image)
        seen |= answers(answer)
        assert_near({name: thinned(seen[name]) for name in expected}, expected, tolerance)


def scene(dtype: torch.dtype, counts: tuple[int, ...] = (4, 0, 3)) -> tuple[Queries, list[Truth]]:
    """Answers of three layers and the truths they are held against, by the rule."""
    images = len(counts)

    def layer(index: int, *, masks: bool) -> Queries:
        shapes = ((images, 5, KINDS + 1), (images, 5, 4), (images, 5, 10, 12) if masks else (images, 5, 0, 0))
        values = [
            torch.from_numpy(uniform(shape, SEED, index + i)).to(dtype) for i, shape in enumerate(shapes)
        ]
        classes, boxes, pixels = (value.requires_grad_() for value in values)
        return Queries(8 * classes - 4, 12 * pixels - 6, boxes=0.05 + 0.9 * boxes)

    aux = (layer(10, masks=False), layer(20, masks=False))
    truths = []
    for image, count in enumerate(counts):
        corner = torch.from_numpy(uniform((count, 4), SEED, 100 + image))
        rows, columns = torch.arange(SIDE[0])[:, None] / SIDE[0], torch.arange(SIDE[1]) / SIDE[1]
        low, high = corner[:, :2] * 0.6, corner[:, :2] * 0.6 + 0.1 + 0.3 * corner[:, 2:]
        masks = (rows >= low[:, 0, None, None]) & (rows < high[:, 0, None, None])
        masks = masks & (columns >= low[:, 1, None, None]) & (columns < high[:, 1, None, None])
        kinds = torch.arange(count) * 5 % KINDS
        truths.append(Truth(masks, kinds))
    return layer(0, masks=True)._replace(aux=aux), truths


def gradient(output: Queries, loss: Tensor) -> dict[str, Tensor]:
    """Of the loss in all that ``output`` holds, aux included."""
    parts = {name: part for name, part in answers(output).items() if part is not None}
    slopes = torch.autograd.grad(loss, list(parts.values()), allow_unused=True)
    return {name: slope for name, slope in zip(parts, slopes, strict=True) if slope is not None}


TERMS = {
    "class": "loss_ce",
    "box": "loss_bbox",
    "giou": "loss_giou",
    "mask": "loss_mask",
    "dice": "loss_dice",
}
WEIGHTS = {"class": 1, "box": 5, "giou": 2, "mask": 1, "dice": 1}


def their_name(term: str) -> str:
    name, _, layer = term.partition("_")
    return TERMS[name] + (f"_{layer}" if layer else "")


@pytest.mark.parametrize("counts", [(4, 0, 3), (1, 5, 2), (2, 7, 1)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_loss_equals_transformers(dtype: torch.dtype, counts: tuple[int, ...]) -> None:
    from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

    output, truths = scene(dtype, counts)
    matcher = HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2)
    criterion = ImageLoss(matcher, KINDS, 0.1, ["labels", "boxes", "masks"]).to(dtype)
    targets = [
        {"class_labels": t.classes, "masks": t.masks, "boxes": objects_of(t, like=output.boxes).boxes}
        for t in truths
    ]
    aux = [{"logits": layer.class_logits, "pred_boxes": layer.boxes} for layer in output.aux]
    said = {"logits": output.class_logits, "pred_boxes": output.boxes, "pred_masks": output.mask_logits}
    expected = criterion(said | {"auxiliary_outputs": aux}, targets)
    terms = DetrLoss()(output, truths)
    assert set(terms) - {"loss"} == {n for n in terms if n != "loss" and their_name(n) in expected}
    for name in set(terms) - {"loss"}:
        torch.testing.assert_close(
            terms[name], expected[their_name(name)], rtol=TOLERANCE[dtype], atol=0, msg=name
        )
    total = sum(WEIGHTS[name.split("_")[0]] * expected[their_name(name)] for name in terms if name != "loss")
    torch.testing.assert_close(terms["loss"], total, rtol=TOLERANCE[dtype], atol=0)
    assert_near(gradient(output, terms["loss"]), gradient(output, total), TOLERANCE[dtype])
    objects = [objects_of(truth, like=output.boxes) for truth in truths]
    for own, their in zip(match(output, objects, SETTINGS["detr"]), matcher(said, targets), strict=True):
        assert torch.equal(own.queries, their[0])
        assert torch.equal(own.truths, their[1])


def test_loss_recorded_from_the_authors(recorded: dict[str, Tensor]) -> None:
    expected = {name.removeprefix("loss."): t for name, t in recorded.items() if name.startswith("loss.")}
    pairs = [recorded[f"match.{layer}"] for layer in range(3)]
    for dtype, tolerance in TOLERANCE.items():
        output, truths = scene(dtype)
        terms = DetrLoss()(output, truths)
        assert len(expected) == len(terms)
        for name, value in expected.items():
            torch.testing.assert_close(terms[name].double(), value, rtol=tolerance, atol=0, msg=name)
        objects = [objects_of(truth, like=output.boxes) for truth in truths]
        for layer, pair in zip((output, *output.aux), pairs, strict=True):
            found = match(layer, objects, SETTINGS["detr"])
            own = [torch.stack([torch.full_like(m.queries, i), *m]) for i, m in enumerate(found)]
            assert torch.equal(torch.cat(own, dim=1), pair)
