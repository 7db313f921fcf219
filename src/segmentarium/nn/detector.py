"""From a feature pyramid to objects: proposals, and the heads that read each of them.

In prediction the heads answer for the best proposals, and what is left after suppression has its mask read.
In training they answer for proposals drawn by chance, beside the truth: a :class:`Lesson`, from which
:mod:`segmentarium.losses.detection` makes the terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.ops import batched_nms

from segmentarium.nn.box_coder import clip, decode, encode
from segmentarium.nn.outputs import Regions
from segmentarium.nn.proposals import ProposalLesson, ProposalNetwork, Proposing
from segmentarium.nn.region_matching import Objects, assign, choose
from segmentarium.nn.roi_heads import BoxHead, KeypointHead, MaskHead
from segmentarium.nn.roi_pooling import Pooling, RegionPooling

LEAST_SIDE = 1e-2  # narrower objects are dropped


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How regions are pooled, read, trained on and kept.

    Attributes:
        box_side, mask_side: cells of a region as the heads get it; masks have twice the side.
        box_convolutions, box_widths: channels of the box head's convolutions and linear layers.
        mask_widths: channels of the mask head's convolutions; none: there is no mask head.
        keypoints: how many an object has; 0: there is no keypoint head.
        groups: of GroupNorm in the box and mask heads; 0: none.
        ground: where the outputs for the ground stand, see :class:`BoxHead`.
        positive: share of the union from which a region belongs to an object.
        sampled: regions of an image that are trained on.
        share: of these, the most with an object.
        weights: of the four shifts.
        beta: error below which the box term is a square, in units of the weighted shifts; 0: nowhere.
        score: objects must reach more.
        suppression: share of the union above which the worse of two objects of a class is dropped.
        kept: the best objects of an image.
    """

    pooling: Pooling = field(default_factory=Pooling)
    box_side: int = 7
    mask_side: int = 14
    box_convolutions: tuple[int, ...] = ()
    box_widths: tuple[int, ...] = (1024, 1024)
    mask_widths: tuple[int, ...] = (256, 256, 256, 256)
    keypoints: int = 0
    keypoint_widths: tuple[int, ...] = (512,) * 8
    groups: int = 0
    ground: Literal["last", "first"] = "last"
    positive: float = 0.5
    sampled: int = 512
    share: float = 0.25
    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    beta: float = 1.0
    score: float = 0.05
    suppression: float = 0.5
    kept: int = 100


class Lesson(NamedTuple):
    """What was answered for the regions that were drawn, and the truth.

    ``classes`` count the ground last. The shifts, masks and keypoints are those of the regions with an
    object, the shifts those of its class; ``boxes`` and ``matched`` say for each image where these regions
    are, and which of its objects they belong to. Absent heads leave None.
    """

    proposals: ProposalLesson
    class_logits: Float[Tensor, "r k_and_ground"]
    classes: Int[Tensor, " r"]
    shifts: Float[Tensor, "q 4"]
    wanted: Float[Tensor, "q 4"]
    boxes: tuple[Float[Tensor, "_ 4"], ...]
    matched: tuple[Int[Tensor, " _"], ...]
    mask_logits: Float[Tensor, "q k m m"] | None
    keypoint_logits: Float[Tensor, "q p c c"] | None


class Detector(nn.Module):
    """Faster R-CNN's two stages and the heads that Mask R-CNN adds.

    Args:
        width: channels of the maps.
        strides: of the maps, finest first; proposals come from all, regions are read off all but the last.
    """

    def __init__(
        self, proposing: Proposing, reading: Reading, *, width: int, classes: int, strides: Sequence[int]
    ) -> None:
        super().__init__()
        self.reading, self.classes = reading, classes
        first, groups = reading.ground == "first", reading.groups
        self.proposals = ProposalNetwork(proposing, width=width, strides=strides)
        self.box_pooling = RegionPooling(reading.pooling, strides=strides[:-1], side=reading.box_side)
        self.mask_pooling = RegionPooling(reading.pooling, strides=strides[:-1], side=reading.mask_side)
        self.box = BoxHead(
            (width, reading.box_side),
            classes,
            convolutions=reading.box_convolutions,
            widths=reading.box_widths,
            groups=groups,
            ground_first=first,
        )
        self.mask = (
            MaskHead(width, classes, widths=reading.mask_widths, groups=groups, ground_first=first)
            if reading.mask_widths
            else None
        )
        self.keypoint = (
            KeypointHead(width, reading.keypoints, widths=reading.keypoint_widths)
            if reading.keypoints
            else None
        )

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]], size: Sequence[int]) -> Regions:
        """
        Args:
            maps: of the strides.
            size: height and width of the images in pixels; objects are cut to it.
        """
        proposals = self.proposals.propose(self.proposals(maps), size, training=False)
        counts = [len(own) for own in proposals]
        logits, shifts = self._classify(maps, proposals)
        answers = zip(proposals, logits.split(counts), shifts.split(counts), strict=True)
        found = [self._thin_out(*answer, size) for answer in answers]
        boxes = [own for own, _, _ in found]
        classes = torch.cat([own for _, _, own in found])
        image = torch.cat([torch.full_like(own, i) for i, (_, _, own) in enumerate(found)])
        masks, keypoints = self._outline(maps, boxes)
        every = torch.arange(len(classes), device=classes.device)
        own = maps[0].new_zeros(len(classes), 0, 0) if masks is None else masks[every, classes]
        scores = torch.cat([scores for _, scores, _ in found])
        return Regions(image, torch.cat(boxes), scores, classes, own, keypoints)

    def lesson(
        self,
        maps: Sequence[Float[Tensor, "b _ _ _"]],
        objects: Sequence[Objects],
        size: Sequence[int],
        *,
        draw: torch.Generator | None,
    ) -> Lesson:
        """Answer for anchors and proposals drawn by chance; the true boxes are among the proposals."""
        proposed = self.proposals(maps)
        lesson = self.proposals.lesson(proposed, objects, draw=draw)
        proposals = self.proposals.propose(proposed, size, training=True)
        drawn = [self._draw(*pair, draw) for pair in zip(proposals, objects, strict=True)]
        regions, matched = [own for own, _ in drawn], [own for _, own in drawn]
        logits, shifts = self._classify(maps, regions)
        held = [own >= 0 for own in matched]
        boxes = [own[which] for own, which in zip(regions, held, strict=True)]
        matched = [own[which] for own, which in zip(matched, held, strict=True)]
        pairs = list(zip(objects, matched, strict=True))
        kinds = torch.cat([own.classes[which] for own, which in pairs])
        true = torch.cat([own.boxes[which] for own, which in pairs])
        inside = torch.cat(held)
        classes = torch.full_like(inside, self.classes, dtype=torch.long).masked_scatter(inside, kinds)
        wanted = encode(true.to(logits), torch.cat(boxes), weights=self.reading.weights)
        masks, keypoints = self._outline(maps, boxes)
        return Lesson(
            proposals=lesson,
            class_logits=logits,
            classes=classes,
            shifts=shifts[inside, kinds],
            wanted=wanted,
            boxes=tuple(boxes),
            matched=tuple(matched),
            mask_logits=masks,
            keypoint_logits=keypoints,
        )

    def _draw(
        self, proposals: Float[Tensor, "n 4"], objects: Objects, draw: torch.Generator | None
    ) -> tuple[Float[Tensor, "m 4"], Int[Tensor, " m"]]:
        reading = self.reading
        boxes = torch.cat([proposals, objects.boxes.to(proposals)])
        matched = assign(boxes, objects, positive=reading.positive, negative=reading.positive)
        chosen = choose(matched, count=reading.sampled, share=reading.share, draw=draw)
        return boxes[chosen], matched[chosen]

    def _classify(
        self, maps: Sequence[Tensor], boxes: Sequence[Float[Tensor, "_ 4"]]
    ) -> tuple[Float[Tensor, "n k_and_ground"], Float[Tensor, "n k 4"]]:
        logits, shifts = self.box(self.box_pooling(maps, boxes))
        return logits.to(boxes[0].dtype), shifts.to(boxes[0].dtype)

    def _outline(
        self, maps: Sequence[Tensor], boxes: Sequence[Float[Tensor, "_ 4"]]
    ) -> tuple[Float[Tensor, "n k m m"] | None, Float[Tensor, "n p c c"] | None]:
        if self.mask is None and self.keypoint is None:
            return None, None
        regions = self.mask_pooling(maps, boxes)
        masks = None if self.mask is None else self.mask(regions)
        return masks, None if self.keypoint is None else self.keypoint(regions)

    def _thin_out(
        self,
        proposals: Float[Tensor, "n 4"],
        logits: Float[Tensor, "n k_and_ground"],
        shifts: Float[Tensor, "n k 4"],
        size: Sequence[int],
    ) -> tuple[Float[Tensor, "m 4"], Float[Tensor, " m"], Int[Tensor, " m"]]:
        """Boxes, scores and classes of the objects of one image, best first."""
        reading = self.reading
        scores = logits.softmax(1)[:, :-1]
        boxes = clip(decode(shifts, proposals[:, None], weights=reading.weights), size)
        wide = ((boxes[..., 2:] - boxes[..., :2]) >= LEAST_SIDE).all(-1)
        row, kind = torch.where((scores > reading.score) & wide)
        boxes, scores = boxes[row, kind], scores[row, kind]
        best = batched_nms(boxes, scores, kind, reading.suppression)[: reading.kept]
        return boxes[best], scores[best], kind[best]
