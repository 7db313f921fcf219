"""FCN-32s, FCN-16s and FCN-8s: a classifier made convolutional, its scores joined with those of finer maps.

Paper    Long, Shelhamer, Darrell 2015, arXiv:1411.4038, sections 3 and 4, figure 3, tables 2 and 3
Origin   written from the paper and its published network definitions; parity with wkentaro/pytorch-fcn in
         tests/parity/fcn.toml
Weights  weights/cards/fcn_32s.toml, fcn_16s.toml, fcn_8s.toml

The image gets a border of 100 zeros, for VGG's first fully connected layer, now a 7x7 convolution, has none;
scores are cropped to the image. An image of one pixel needs 97. Transposed convolutions take all
classes in, as in the authors' files; zero between classes at the start, they may stay so (``grouped``). The
paper learns all but the last of them, the authors' later files none ("at once", arXiv:1605.06211).

Networks are trained in stages. Tensors that two of them share have one name, so that the next begins by

    fcn_16s.load_state_dict(fcn_32s.state_dict(), strict=False)

and answers nearly as the one before, for the new score layer is zero. FCN-32s begins with a VGG-16 trained on
ImageNet: ``fcn_32s.begin_with(torchvision.models.vgg16(weights=...).state_dict())``. The paper finds training
from scratch not feasible and gives no start for it; ours is He's. "tiny" has three poolings in place of five,
and so strides 8, 4 and 2 in place of 32, 16 and 8: one score for 32 pixels a side draws no small picture.
"""

from __future__ import annotations

from dataclasses import replace

from segmentarium.backbones.fcn import FCN, Config
from segmentarium.backbones.vgg import DEPTHS

__all__ = ["PAPER", "SMALL", "TINY", "VARIANTS", "Config", "FCN8s", "FCN16s", "FCN32s"]

PAPER = Config()
SMALL = Config(
    depths=DEPTHS[11], widths=(32, 64, 128, 256, 256), fc_width=512, fc_kernel=5, padding=65, grouped=True
)
TINY = Config(depths=(1, 1, 2), widths=(16, 32, 48), fc_width=96, fc_kernel=5, padding=17, dropout=0.0)

VARIANTS = {
    "fcn_32s": {"paper": PAPER, "fixed": replace(PAPER, fixed=True), "small": SMALL, "tiny": TINY},
    "fcn_16s": {"paper": PAPER, "small": SMALL, "tiny": TINY},
    "fcn_8s": {
        "paper": PAPER,
        "at_once": replace(PAPER, scales=(0.01, 0.0001), learned=False),
        "small": SMALL,
        "tiny": TINY,
    },
}


class FCN32s(FCN):
    """The scores of the last layer alone, enlarged 32 times."""


class FCN16s(FCN):
    """Scores of ``pool4`` are added."""

    skips = 1


class FCN8s(FCN):
    """Scores of ``pool4`` and ``pool3`` are added."""

    skips = 2
