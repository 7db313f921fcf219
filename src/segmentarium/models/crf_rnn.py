"""CRF-RNN: FCN-8s and the mean field of a fully connected field as its last layer, trained as one network.

Paper    Zheng et al. 2015, arXiv:1502.03240, sections 4 to 6
Origin   written from the paper; parity with sadeepj/crfasrnn_pytorch in tests/parity/crf_rnn.toml
Weights  weights/cards/crf_rnn.toml

Tensors that it shares with FCN-8s have the same names: the paper begins with the trained network,

    crf_rnn.load_state_dict(fcn_8s.state_dict(), strict=False)

The first transposed convolution has a bias, as in the authors' files; the other way round, the scores of
``pool4`` have one that does the same. The field looks at intensities from 0 to 255, see ``nn/crf_rnn.py``;
the authors give it those less the mean colour, which moves the lattice and changes little. "tiny" finds
colours alike more readily and iterates less, for speed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones.fcn import FCN
from segmentarium.backbones.fcn import Config as Unaries
from segmentarium.backbones.vgg import DEPTHS
from segmentarium.nn import Semantic
from segmentarium.nn.crf_rnn import CRFLayer


@dataclass(frozen=True, kw_only=True)
class Config(Unaries):
    """What a CRF-RNN is made of: FCN-8s, and the field; the default is the paper's."""

    iterations: tuple[int, int] = (5, 10)  # "T", in training and afterwards
    alpha: float = 160.0  # pixels of the bilateral filter
    beta: float = 3.0  # intensities of it
    gamma: float = 3.0  # pixels of the spatial filter


PAPER = Config()
VARIANTS = {
    "paper": PAPER,
    "small": replace(
        PAPER,
        depths=DEPTHS[11],
        widths=(32, 64, 128, 256, 256),
        fc_width=512,
        fc_kernel=5,
        padding=65,
        grouped=True,
    ),
    "tiny": replace(
        PAPER,
        depths=(1, 1, 2),
        widths=(16, 32, 48),
        fc_width=96,
        fc_kernel=5,
        padding=17,
        dropout=0.0,
        iterations=(3, 5),
        beta=20.0,
    ),
}


class CRFRNN(FCN):
    """The network of ``config``; logits at the size of the image, not normalised."""

    skips = 2

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        first = self.enlarge[f"{self.strides[0]}_to_{self.strides[1]}"]
        first.bias = nn.Parameter(torch.zeros(config.classes))
        self.refine = CRFLayer(
            config.classes,
            channels=config.in_channels,
            iterations=config.iterations,
            alpha=config.alpha,
            beta=config.beta,
            gamma=config.gamma,
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        return Semantic(self.refine(super().forward(image).logits, image))
