"""HRNet: a fine map from the first layer to the last, and three coarser ones that talk to it.

Paper    Wang, Sun, Cheng, Jiang, Deng, Zhao, Liu, Mu, Tan, Wang, Liu, Xiao 2019, arXiv:1904.04514, sections 3
         and 4 (HRNetV2, HRNetV2p); Sun, Xiao, Liu, Wang 2019, arXiv:1902.09212, section 3 (HRNetV1)
Origin   written from the papers; parity with timm, HRNet-Semantic-Segmentation and mmsegmentation in
         tests/parity/hrnet.toml
Weights  weights/cards/hrnetv1.toml, hrnetv2.toml, hrnetv2p.toml

The three differ in what they read off the streams: V1 the finest alone, V2 all four enlarged to it, V2p that
same representation averaged into a pyramid for a detector, here Mask R-CNN's. Inside the body coarse streams
are enlarged bilinearly, as in the authors' code for segmentation; their code for ImageNet, and timm, copy
pixels (``HRNetConfig.up``).

The papers begin with weights from ImageNet; without them bodies begin as the authors began there, heads with
deviation 0.001 as in their code for segmentation. For V2p the second paper names the detector and no
numbers of it: they are Mask R-CNN's here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones.hrnet import TINY, W18, W18_SMALL, W32, W40, W48, HRNet, HRNetConfig, join
from segmentarium.errors import BadArgument
from segmentarium.losses.detection import detection_terms
from segmentarium.nn import Regions, Semantic, Truth, require_channels
from segmentarium.nn.detection_trunk import freeze_norms
from segmentarium.nn.detector import Detector, Reading
from segmentarium.nn.fpn import spread_evenly
from segmentarium.nn.proposals import Proposing
from segmentarium.nn.region_matching import countable


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an HRNetV1 or V2 is made of; the default is the larger network of the paper's tables."""

    body: HRNetConfig = W48
    bias: bool = True  # of V2's 1x1 convolution before BatchNorm; mmsegmentation leaves it out
    in_channels: int = 3
    classes: int = 19


@dataclass(frozen=True, kw_only=True)
class PyramidConfig:
    """What an HRNetV2p under Mask R-CNN is made of."""

    body: HRNetConfig = W48
    frozen_norm: bool = True  # BatchNorm of the body as constants: for weights that were trained elsewhere
    width: int = 256  # channels of the pyramid
    proposing: Proposing = field(default_factory=Proposing)
    reading: Reading = field(default_factory=Reading)
    readout: str = "detectron2"  # the rule by which masks are pasted into pictures
    in_channels: int = 3
    classes: int = 80


BODIES = {"w48": W48, "w40": W40, "w32": W32, "w18": W18, "small": W18_SMALL, "tiny": TINY}

VARIANTS = {
    "hrnetv1": {name: Config(body=body) for name, body in BODIES.items()},
    "hrnetv2": {name: Config(body=body) for name, body in BODIES.items()}
    | {"mmseg_w48": Config(bias=False), "mmseg_w18": Config(body=W18, bias=False)},
    "hrnetv2p": {name: PyramidConfig(body=BODIES[name]) for name in ("w48", "w40", "w32", "w18")}
    | {
        "tiny": PyramidConfig(
            body=TINY,
            frozen_norm=False,
            width=32,
            proposing=Proposing(
                sizes=((8,), (16,), (32,), (64,), (128,)), considered=(500, 300), kept=(300, 200)
            ),
            reading=Reading(
                box_widths=(64, 64), mask_widths=(32, 32), groups=8, sampled=64, kept=150, beta=1 / 9
            ),
            classes=1,
        )
    },
}


class HRNetV1(nn.Module):
    """The finest stream, classified; logits at stride 4."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.body = HRNet(replace(config.body, finest_only=True), in_channels=config.in_channels)
        self.classify = nn.Conv2d(config.body.width, config.classes, 1)
        self.classify.apply(begin_small)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        return Semantic(self.classify(self.body(image)[0]))


class HRNetV2(nn.Module):
    """All streams at the size of the finest, mixed and classified; logits at stride 4."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.body = HRNet(config.body, in_channels=config.in_channels)
        joined = sum(self.body.channels)
        self.mix = nn.Sequential(
            nn.Conv2d(joined, joined, 1, bias=config.bias), nn.BatchNorm2d(joined), nn.ReLU(inplace=True)
        )
        self.classify = nn.Conv2d(joined, config.classes, 1)
        for part in (self.mix, self.classify):
            part.apply(begin_small)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        joined = join(self.body(image), by=self.config.body.up)
        return Semantic(self.classify(self.mix(joined)))


class HRNetV2p(nn.Module):
    """Mask R-CNN on the pyramid of HRNetV2.

    Returns the objects of all images of a batch, those of an image together and best first; masks are of
    twice ``reading.mask_side`` cells a side over the box.
    """

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        self.config, self.readout = config, config.readout
        self.body = HRNet(config.body, in_channels=config.in_channels)
        if config.frozen_norm:
            freeze_norms(self.body)
        self.pyramid = HighResolutionPyramid(self.body.channels, config.width)
        self.detector = Detector(
            config.proposing,
            config.reading,
            width=config.width,
            classes=config.classes,
            strides=self.pyramid.strides,
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Regions:
        return self.detector(self._maps(image), image.shape[-2:])

    def terms(
        self,
        images: Float[Tensor, "b c h w"],
        truths: Sequence[Truth],
        *,
        draw: torch.Generator | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of :func:`segmentarium.losses.detection.detection_terms` and their sum as ``loss``.

        Args:
            truths: one an image; void is treated as in Mask R-CNN.
            draw: which anchors and regions are trained on.

        Raises:
            BadArgument: there are not as many truths as images.
        """
        if len(truths) != len(images):
            raise BadArgument(f"{len(truths)} truths for {len(images)} images", allowed="one an image")
        config = self.config
        objects = [countable(truth, things=config.classes) for truth in truths]
        lesson = self.detector.lesson(self._maps(images), objects, images.shape[-2:], draw=draw)
        terms = detection_terms(lesson, objects, rpn_beta=config.proposing.beta, box_beta=config.reading.beta)
        return terms | {"loss": torch.stack(list(terms.values())).sum()}

    def _maps(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The pyramid of ``image``, which zeros to the right and below complete to whole last strides."""
        require_channels(image, self.config.in_channels)
        below, right = (-side % self.pyramid.strides[-1] for side in image.shape[-2:])
        return self.pyramid(join(self.body(functional.pad(image, (0, right, 0, below))), by="bilinear"))


class HighResolutionPyramid(nn.Module):
    """HRNetV2's representation reduced, averaged over ever larger squares, and smoothed at each size.

    Source: Wang et al. 2019, arXiv:1904.04514, section 3 and figure 4 (c).
    """

    strides = (4, 8, 16, 32, 64)

    def __init__(self, inputs: Sequence[int], width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(sum(inputs), width, 1)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in self.strides)
        self.apply(spread_evenly)

    def forward(self, joined: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        reduced = self.reduce(joined)
        sides = (stride // self.strides[0] for stride in self.strides)
        return [
            smooth(functional.avg_pool2d(reduced, side))
            for smooth, side in zip(self.smooth, sides, strict=True)
        ]


def begin_small(module: nn.Module) -> None:
    """Normal weights of deviation 0.001 and no bias."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.001)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
