"""Panoptic FPN: Mask R-CNN for what can be counted, one light branch of the same pyramid for everything else.

Paper    Kirillov, Girshick, He, Dollar 2019, arXiv:1901.02446, section 3 and figure 3
Origin   written from the paper; parity with detectron2, recorded, in tests/parity/panoptic_fpn.toml
Weights  weights/cards/panoptic_fpn.toml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import Encoder
from segmentarium.errors import BadArgument
from segmentarium.losses.detection import detection_terms
from segmentarium.nn import Semantic, SemanticRegions, Truth, require_channels, resize
from segmentarium.nn.detection_trunk import DetectionTrunk
from segmentarium.nn.detector import Detector, Reading
from segmentarium.nn.fpn import ConvGroupNorm
from segmentarium.nn.proposals import Proposing
from segmentarium.nn.region_matching import countable
from segmentarium.nn.roi_pooling import Pooling
from segmentarium.nn.semantic_branch import SemanticBranch


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a Panoptic FPN is made of; the default is the paper's on ResNet-50-FPN.

    ``classes`` are the things, then the stuff.
    """

    encoder: str = "resnet50"  # of timm
    frozen_norm: bool = True  # BatchNorm of the encoder as constants: for weights that were trained elsewhere
    stride_first: bool = True  # bottlenecks stride in their 1x1 convolution, as the first ResNets did
    width: int = 256  # channels of the pyramid
    groups: int = 0  # of GroupNorm in the pyramid; 0: none
    semantic_width: int = 128  # channels of the semantic branch
    semantic_groups: int = 32  # of its GroupNorm
    semantic_weight: float = 0.5  # of its term ("lambda_s"); 1 for Cityscapes
    proposing: Proposing = field(default_factory=Proposing)
    reading: Reading = field(default_factory=Reading)
    in_channels: int = 3
    things: int = 80  # classes that can be counted
    classes: int = 133


CELLS = Config(
    encoder="resnet18",
    frozen_norm=False,
    stride_first=False,
    width=64,
    groups=8,
    semantic_width=64,
    semantic_groups=8,
    semantic_weight=1.0,
    proposing=Proposing(sizes=((8,), (16,), (32,), (64,), (128,)), considered=(1000, 500), kept=(500, 300)),
    reading=Reading(box_widths=(256, 256), mask_widths=(64, 64), groups=8, sampled=128, kept=100, beta=1 / 9),
    things=1,
    classes=2,
)

VARIANTS = {
    "paper": Config(encoder="resnet101"),
    "paper_r50": Config(),
    "detectron2_r50": Config(
        proposing=Proposing(kept=(1000, 1000), beta=0.0, divisor="asked"),
        reading=Reading(beta=0.0, pooling=Pooling(samples=0, aligned=True, ratio_epsilon=1e-8)),
    ),
    "resnet18": CELLS,
    "tiny": replace(
        CELLS,
        encoder="lcnet_050",
        width=32,
        semantic_width=32,
        proposing=replace(CELLS.proposing, considered=(500, 300), kept=(300, 200)),
        reading=replace(CELLS.reading, box_widths=(64, 64), mask_widths=(32, 32), sampled=64),
    ),
}


class PanopticFPN(nn.Module):
    """The network of ``config``.

    ``semantic.logits``, at stride 4, have one channel for each class of stuff, in their order, and a last one
    that all things share: channel ``i`` is class ``things + i``. ``regions`` are things only, counted from 0,
    and so have the numbers of ``classes`` already.

    Raises:
        BadArgument: there are more things than classes.
    """

    readout: ClassVar[str] = "heuristic"

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not 1 <= config.things <= config.classes:
            raise BadArgument(f"{config.things} things", allowed=f"1 to the {config.classes} classes")
        self.config = config
        self.trunk = DetectionTrunk(
            Encoder(config.encoder, in_channels=config.in_channels),
            width=config.width,
            groups=config.groups,
            frozen_norm=config.frozen_norm,
            stride_first=config.stride_first,
        )
        self.detector = Detector(
            config.proposing,
            config.reading,
            width=config.width,
            classes=config.things,
            strides=self.trunk.strides,
        )
        self.semantic = SemanticBranch(
            config.width,
            config.semantic_width,
            config.classes - config.things + 1,
            strides=self.trunk.strides[:-1],
            layer=partial(ConvGroupNorm, groups=config.semantic_groups),
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> SemanticRegions:
        maps, size = self._maps(image), image.shape[-2:]
        return SemanticRegions(Semantic(self._semantic(maps, size)), self.detector(maps, size))

    def terms(
        self,
        images: Float[Tensor, "b c h w"],
        truths: Sequence[Truth],
        *,
        draw: torch.Generator | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of :func:`segmentarium.losses.detection.detection_terms`, ``semantic``, and ``loss``.

        ``semantic`` is the mean cross-entropy over the pixels that some mask covers, at the images' size, and
        counts ``semantic_weight`` in the sum; the others count 1. For void see ``MaskRCNN.terms``.

        Args:
            truths: one an image; masks of stuff among them.
            draw: which anchors and regions are trained on.

        Raises:
            BadArgument: there are not as many truths as images.
        """
        if len(truths) != len(images):
            raise BadArgument(f"{len(truths)} truths for {len(images)} images", allowed="one an image")
        config, size = self.config, images.shape[-2:]
        maps = self._maps(images)
        objects = [countable(truth, things=config.things) for truth in truths]
        lesson = self.detector.lesson(maps, objects, size, draw=draw)
        terms = detection_terms(lesson, objects, rpn_beta=config.proposing.beta, box_beta=config.reading.beta)
        labels = torch.stack(
            [semantic_labels(t, things=config.things, classes=config.classes) for t in truths]
        )
        semantic = semantic_term(self._semantic(maps, size), labels)
        loss = torch.stack([*terms.values(), config.semantic_weight * semantic]).sum()
        return terms | {"semantic": semantic, "loss": loss}

    def _maps(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        require_channels(image, self.config.in_channels)
        return self.trunk(image)

    def _semantic(self, maps: Sequence[Tensor], size: Sequence[int]) -> Float[Tensor, "b k _ _"]:
        height, width = (-(-side // 4) for side in size)
        return self.semantic(maps)[..., :height, :width]


def semantic_labels(truth: Truth, *, things: int, classes: int) -> Int[Tensor, "h w"]:
    """The channel of the semantic branch that each pixel belongs to; -1 for void and what no mask covers.

    Where masks overlap, things are in front of stuff, and later masks of a kind in front of earlier ones.
    """
    channels = torch.where(truth.classes < things, classes - things, truth.classes - things)
    labels = torch.full(truth.masks.shape[1:], -1, dtype=torch.long, device=truth.masks.device)
    for index in (truth.classes < things).long().argsort(stable=True).tolist():
        labels = torch.where(truth.masks[index], channels[index].long(), labels)
    return labels if truth.void is None else labels.masked_fill(truth.void, -1)


def semantic_term(logits: Float[Tensor, "b k _ _"], labels: Int[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Mean cross-entropy over the pixels with a label, logits resized to them; 0 if there are none."""
    single = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = functional.cross_entropy(
        resize(single, labels.shape[1:]), labels, ignore_index=-1, reduction="sum"
    )
    return losses / (labels >= 0).sum().clamp_min(1)
