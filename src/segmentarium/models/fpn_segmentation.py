"""Semantic FPN: a pyramid in which every map knows what the coarser ones saw, and one light branch upon it.

Paper    Lin et al. 2017, arXiv:1612.03144, section 3, for the pyramid; Kirillov, Girshick, He, Dollar 2019,
         arXiv:1901.02446, section 3 and figure 3, for the branch
Origin   written from the papers; parity with segmentation-models-pytorch and mmsegmentation in
         tests/parity/context_heads.toml, of the branch with detectron2 in tests/parity/panoptic_fpn.toml
Weights  weights/cards/fpn_segmentation.toml

Pyramid and branch are those of Panoptic FPN without its boxes. An image whose sides are no multiple of the
last stride is completed with zeros to the right and below, as there, and the logits are cut. The papers begin
with a ResNet trained on ImageNet and leave the rest open: here the encoder begins as timm's, the pyramid with
evenly spread weights, the branch as ``nn.aspp.initialise_head`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import Encoder
from segmentarium.nn import ConvNormAct, Semantic, require_channels
from segmentarium.nn.aspp import initialise_head
from segmentarium.nn.fpn import ConvGroupNorm, FeaturePyramid
from segmentarium.nn.semantic_branch import SemanticBranch


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a Semantic FPN is made of; the default is the paper's for Cityscapes."""

    encoder: str = "resnet101"
    width: int = 256  # channels of the pyramid
    smooth: bool = True  # a 3x3 convolution on each map of the pyramid
    branch_width: int = 128  # channels of the branch
    groups: int = 32  # of its GroupNorm; 0: BatchNorm
    align_corners: bool = False  # where the branch enlarges maps
    dropout: float = 0.0  # of whole channels, ahead of the classifier
    in_channels: int = 3
    classes: int = 19


VARIANTS = {
    "paper": Config(),
    "paper_r50": Config(encoder="resnet50"),
    "smp_r34": Config(encoder="resnet34", smooth=False, align_corners=True, dropout=0.2),
    "mmseg_r101": Config(encoder="resnet101c", groups=0, dropout=0.1),
    "small": Config(encoder="resnet18", width=128, branch_width=64),
    "tiny": Config(encoder="lcnet_050", width=32, branch_width=32, groups=8),
}


def from_encoder(name: str) -> Config:
    """The paper's pyramid and branch on a timm encoder."""
    return Config(encoder=name)


class FPNSegmentation(nn.Module):
    """The network of ``config``; logits at stride 4."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder, in_channels=config.in_channels)
        strides = [stride for stride in self.encoder.strides if stride >= 4]
        self.pyramid = FeaturePyramid(self.encoder.channels[-len(strides) :], config.width)
        if not config.smooth:
            self.pyramid.output = nn.ModuleList(nn.Identity() for _ in strides)
        self.semantic = SemanticBranch(
            config.width,
            config.branch_width,
            config.classes,
            strides=strides,
            layer=partial(ConvGroupNorm, groups=config.groups) if config.groups else ConvNormAct,
            align_corners=config.align_corners,
            dropout=config.dropout,
        )
        self.semantic.apply(initialise_head)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        unit = self.encoder.strides[-1]
        below, right = (-side % unit for side in image.shape[-2:])
        maps = self.encoder(functional.pad(image, (0, right, 0, below)) if below or right else image)
        logits = self.semantic(self.pyramid(maps[-len(self.pyramid.lateral) :]))
        height, width = (-(-side // 4) for side in image.shape[-2:])
        return Semantic(logits[..., :height, :width])
