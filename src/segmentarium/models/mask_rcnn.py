"""Mask R-CNN: propose regions, then read class, box and mask off each of them.

Paper    He, Gkioxari, Dollar, Girshick 2017, arXiv:1703.06870, section 3 and figure 4; the pyramid by
         Lin et al. 2017, arXiv:1612.03144, sections 3 and 4
Origin   written from the papers; parity with torchvision, run beside ours, and with detectron2, recorded, in
         tests/parity/mask_rcnn.toml
Weights  weights/cards/mask_rcnn.toml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.errors import BadArgument
from segmentarium.losses.detection import detection_terms
from segmentarium.nn import Regions, Truth, require_channels
from segmentarium.nn.detection_trunk import DetectionTrunk
from segmentarium.nn.detector import Detector, Reading
from segmentarium.nn.proposals import Proposing
from segmentarium.nn.region_matching import countable
from segmentarium.nn.roi_pooling import Pooling


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a Mask R-CNN is made of; the default is the paper's on ResNet-50-FPN."""

    encoder: str = "resnet50"  # of timm
    frozen_norm: bool = True  # BatchNorm of the encoder as constants: for weights that were trained elsewhere
    stride_first: bool = True  # bottlenecks stride in their 1x1 convolution, as the first ResNets did
    width: int = 256  # channels of the pyramid
    groups: int = 0  # of GroupNorm in the pyramid; 0: none
    proposing: Proposing = field(default_factory=Proposing)
    reading: Reading = field(default_factory=Reading)
    readout: str = "detectron2"  # the rule by which masks are pasted into pictures
    in_channels: int = 3
    classes: int = 80


TORCHVISION = Config(
    stride_first=False,
    readout="torchvision",
    proposing=Proposing(rounded=True),
    reading=Reading(ground="first", beta=1 / 9, pooling=Pooling(level_epsilon=1e-6)),
    classes=90,  # COCO's numbers have gaps
)
DETECTRON = Config(
    proposing=Proposing(kept=(1000, 1000), beta=0.0, divisor="asked"),
    reading=Reading(beta=0.0, pooling=Pooling(samples=0, aligned=True, ratio_epsilon=1e-8)),
)
CELLS = Config(
    encoder="resnet18",
    frozen_norm=False,
    stride_first=False,
    width=64,
    groups=8,
    proposing=Proposing(sizes=((8,), (16,), (32,), (64,), (128,)), considered=(1000, 500), kept=(500, 300)),
    reading=Reading(box_widths=(256, 256), mask_widths=(64, 64), groups=8, sampled=128, kept=300, beta=1 / 9),
    classes=1,
)

VARIANTS = {
    "paper": Config(encoder="resnet101"),
    "paper_r50": Config(),
    "roi_pool": Config(reading=Reading(pooling=Pooling(kind="pool"))),
    "torchvision_r50": TORCHVISION,
    "detectron2_r50": DETECTRON,
    "detectron2_gn": replace(
        DETECTRON,
        encoder="resnet50_gn",
        frozen_norm=False,
        stride_first=False,
        groups=32,
        reading=replace(DETECTRON.reading, groups=32, box_convolutions=(256,) * 4, box_widths=(1024,)),
    ),
    "torchvision_keypoint": replace(
        TORCHVISION, reading=replace(TORCHVISION.reading, mask_widths=(), keypoints=17), classes=1
    ),
    "detectron2_keypoint": replace(
        DETECTRON,
        proposing=replace(DETECTRON.proposing, kept=(1500, 1000)),
        reading=replace(DETECTRON.reading, mask_widths=(), keypoints=17, beta=0.5),
        classes=1,
    ),
    "resnet18": CELLS,
    "tiny": replace(
        CELLS,
        encoder="lcnet_050",
        width=32,
        proposing=replace(CELLS.proposing, considered=(500, 300), kept=(300, 200)),
        reading=replace(CELLS.reading, box_widths=(64, 64), mask_widths=(32, 32), sampled=64, kept=150),
    ),
}


class MaskRCNN(nn.Module):
    """The network of ``config``.

    Returns the objects of all images of a batch, those of an image together and best first; masks are of
    twice ``reading.mask_side`` cells a side over the box, of none for networks without a mask head.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.readout = config, config.readout
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
            classes=config.classes,
            strides=self.trunk.strides,
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Regions:
        return self.detector(self._maps(image), image.shape[-2:])

    def terms(
        self,
        images: Float[Tensor, "b c h w"],
        truths: Sequence[Truth],
        *,
        draw: torch.Generator | None = None,
        keypoints: Sequence[Float[Tensor, "_ p 3"]] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of :func:`segmentarium.losses.detection.detection_terms` and their sum as ``loss``.

        Boxes are those around the masks. Pixels of void belong to no mask, and regions that lie mostly in
        void are not trained on; the cells of an object's own region that lie in void count as outside it.

        Args:
            truths: one an image.
            draw: which anchors and regions are trained on.
            keypoints: (x, y, visible) in pixels, of each object; for networks that have keypoints.

        Raises:
            BadArgument: there are not as many truths as images.
        """
        if len(truths) != len(images):
            raise BadArgument(f"{len(truths)} truths for {len(images)} images", allowed="one an image")
        config = self.config
        objects = [
            countable(truth, things=config.classes, keypoints=None if keypoints is None else keypoints[i])
            for i, truth in enumerate(truths)
        ]
        lesson = self.detector.lesson(self._maps(images), objects, images.shape[-2:], draw=draw)
        terms = detection_terms(lesson, objects, rpn_beta=config.proposing.beta, box_beta=config.reading.beta)
        return terms | {"loss": torch.stack(list(terms.values())).sum()}

    def _maps(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        require_channels(image, self.config.in_channels)
        return self.trunk(image)
