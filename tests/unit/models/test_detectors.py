"""Mask R-CNN and Panoptic FPN: training steps, void, nothing to find, tiny images."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch
from torch import Tensor, nn

import segmentarium.models as registry
from segmentarium.errors import BadArgument
from segmentarium.losses.detection import keypoint_branch, smooth_l1
from segmentarium.models import mask_rcnn, panoptic_fpn
from segmentarium.models.panoptic_fpn import semantic_labels, semantic_term
from segmentarium.nn import Truth
from segmentarium.nn.region_matching import Objects

NAMES = ("mask_rcnn", "panoptic_fpn")
TERMS = ["rpn_objectness", "rpn_box", "class", "box", "mask"]


@pytest.fixture(scope="module", params=NAMES)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(3)
    return registry.build(f"{request.param}-tiny", classes=3, things=2)


def image(batch: int = 2, size: tuple[int, int] = (65, 97)) -> Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(7))


def truth(size: tuple[int, int] = (65, 97), *, void: bool = False) -> Truth:
    masks = torch.zeros(3, *size, dtype=torch.bool)
    masks[0, 4:20, 4:20] = masks[1, 10:30, 24:44] = True
    masks[2] = ~masks[:2].any(0)
    hidden = torch.zeros(size, dtype=torch.bool)
    hidden[:, 40:] = True
    return Truth(masks, torch.tensor([0, 1, 2]), hidden if void else None)


def step(network: nn.Module, truths: list[Truth], images: Tensor, *, seed: int = 5) -> dict[str, Tensor]:
    return network.terms(images, truths, draw=torch.Generator().manual_seed(seed))  # type: ignore[operator]


def test_a_step_is_named_terms_that_depend_on_the_seed_alone(network: nn.Module) -> None:
    network.eval()
    once, twice, other = (step(network, [truth()] * 2, image(), seed=seed) for seed in (5, 5, 6))
    extra = ["semantic"] if hasattr(network, "semantic") else []
    assert list(once) == [*TERMS, *extra, "loss"]
    weights = {"semantic": network.config.semantic_weight} if extra else {}  # type: ignore[union-attr]
    total = sum(weights.get(name, 1.0) * once[name] for name in [*TERMS, *extra])
    torch.testing.assert_close(once["loss"], total)
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert not torch.equal(once["loss"], other["loss"])


@pytest.mark.parametrize("size", [(65, 97), (1, 1), (3, 40)])
def test_nothing_to_find_is_something_to_learn(network: nn.Module, size: tuple[int, int]) -> None:
    nothing = Truth(torch.zeros(0, *size, dtype=torch.bool), torch.zeros(0, dtype=torch.long))
    empty = Truth(torch.zeros(1, *size, dtype=torch.bool), torch.zeros(1, dtype=torch.long))
    network.eval().zero_grad()
    terms = step(network, [nothing, empty], image(size=size))
    assert all(value.isfinite() for value in terms.values())
    assert terms["mask"] == terms["box"] == terms["rpn_box"] == 0
    terms["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_nothing_is_learned_in_void(network: nn.Module) -> None:
    """What the masks say there has no part in a step."""
    network.eval()
    hidden = truth(void=True)
    painted = Truth(hidden.masks | hidden.void, hidden.classes, hidden.void)
    torch.testing.assert_close(
        step(network, [hidden] * 2, image())["loss"], step(network, [painted] * 2, image())["loss"]
    )
    everywhere = truth()._replace(void=torch.ones(65, 97, dtype=torch.bool))
    terms = step(network, [everywhere] * 2, image())
    assert all(value.isfinite() for value in terms.values())
    assert terms.get("semantic", torch.zeros(())) == 0


def test_objects_lie_in_the_image_best_first(network: nn.Module) -> None:
    with torch.inference_mode():
        found = network.eval()(image(size=(33, 47)))
    regions = getattr(found, "regions", found)
    assert regions.boxes.amin() >= 0
    assert (regions.boxes[:, 2:] <= torch.tensor([47, 33])).all()
    assert ((regions.boxes[:, 2:] - regions.boxes[:, :2]) > 0).all()
    for which in (0, 1):
        scores = regions.scores[regions.image == which]
        assert torch.equal(scores, scores.sort(descending=True).values)
    assert regions.classes.max() < 2 + (not hasattr(network, "semantic"))
    assert regions.mask_logits.shape == (len(regions.boxes), 28, 28)


def test_truths_are_one_an_image(network: nn.Module) -> None:
    with pytest.raises(BadArgument, match="1 truths for 2 images"):
        step(network, [truth()], image())


def test_keypoints_are_found_and_learned() -> None:
    config = mask_rcnn.VARIANTS["tiny"]
    reading = replace(config.reading, mask_widths=(), keypoints=3, keypoint_widths=(16, 16), kept=5)
    torch.manual_seed(3)
    network = mask_rcnn.MaskRCNN(replace(config, reading=reading)).eval()
    with torch.inference_mode():
        found = network(image(1))
    assert found.mask_logits.shape == (5, 0, 0)
    assert found.keypoint_logits.shape == (5, 3, 56, 56)
    points = torch.tensor([[[8.0, 9.0, 1.0]] * 3, [[30.0, 20.0, 1.0]] * 3, [[0.0, 0.0, 0.0]] * 3])
    with_points = network.terms(image(1), [truth()], keypoints=[points])
    assert with_points["keypoint"] > 0
    assert "mask" not in with_points
    assert network.terms(image(1), [truth()])["keypoint"] == 0


def test_keypoint_term_by_hand() -> None:
    """A box of 4 x 4 pixels and cells: the point on its far edge belongs to the last cell."""
    logits = torch.zeros(1, 2, 4, 4)
    logits[0, 0, 1, 3] = 2.0
    own = Objects(
        torch.ones(1, 9, 9, dtype=torch.bool),
        torch.tensor([0]),
        torch.tensor([[2.0, 2.0, 6.0, 6.0]]),
        keypoints=torch.tensor([[[6.0, 3.5, 1.0], [3.0, 3.0, 0.0]]]),
    )
    term = keypoint_branch(logits, [own.boxes], [own], [torch.tensor([0])])
    assert term.item() == pytest.approx(log(15 + 7.389056) - 2, rel=1e-5)


def test_smooth_l1_by_hand() -> None:
    errors = torch.tensor([[0.5, -0.5, 2.0, 0.0]])
    assert smooth_l1(errors, 1.0).tolist() == [[0.125, 0.125, 1.5, 0.0]]
    assert smooth_l1(errors, 0.0).tolist() == [[0.5, 0.5, 2.0, 0.0]]


def test_semantic_labels_by_hand() -> None:
    """Two things, two classes of stuff; a thing stands in front, the last column is void."""
    masks = torch.tensor([[[1, 0, 0, 1]], [[1, 1, 0, 1]], [[0, 0, 0, 1]]], dtype=torch.bool)
    void = torch.tensor([[False, False, False, True]])
    seen = semantic_labels(Truth(masks, torch.tensor([1, 2, 3]), void), things=2, classes=4)
    assert seen.tolist() == [[2, 0, -1, -1]]
    logits = torch.zeros(1, 3, 1, 4)
    assert semantic_term(logits, seen[None]).item() == pytest.approx(log(3))


def test_more_things_than_classes_are_refused() -> None:
    with pytest.raises(BadArgument, match="5 things"):
        panoptic_fpn.PanopticFPN(replace(panoptic_fpn.VARIANTS["tiny"], things=5, classes=4))
