"""The region proposal network: where there may be an object, of whatever class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchvision.ops import batched_nms

from segmentarium.nn.anchors import anchor_grid, cell_anchors
from segmentarium.nn.box_coder import clip, decode, encode
from segmentarium.nn.region_matching import Objects, assign, choose

LEAST_SIDE = 1e-3  # narrower proposals are dropped


@dataclass(frozen=True, kw_only=True)
class Proposing:
    """The numbers of a region proposal network.

    Attributes:
        sizes: of the anchors in pixels, those of a map together, finest map first; equally many each.
        ratios: height over width of the anchors.
        rounded: anchors have corners on whole pixels.
        positive, negative: shares of the union from which, and below which, an anchor is object or ground.
        sampled: anchors of an image that are trained on.
        share: of these, the most with an object.
        considered: the best of each map that are looked at, in training and in prediction.
        kept: the best of an image that are handed on, in training and in prediction.
        suppression: share of the union above which the worse of two proposals of one map is dropped.
        beta: error below which the box term is a square, in units of the shifts; 0: nowhere.
        divisor: the terms are sums over the chosen anchors, divided by how many were chosen, or asked for.
    """

    sizes: tuple[tuple[int, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    rounded: bool = False
    positive: float = 0.7
    negative: float = 0.3
    sampled: int = 256
    share: float = 0.5
    considered: tuple[int, int] = (2000, 1000)
    kept: tuple[int, int] = (2000, 1000)
    suppression: float = 0.7
    beta: float = 1 / 9
    divisor: Literal["chosen", "asked"] = "chosen"


class Proposed(NamedTuple):
    """What was answered at every anchor, map by map; the anchors of all images are the same."""

    logits: tuple[Float[Tensor, "b _"], ...]
    shifts: tuple[Float[Tensor, "b _ 4"], ...]
    anchors: tuple[Float[Tensor, "_ 4"], ...]


class ProposalLesson(NamedTuple):
    """The answers that are trained on, and the truth: for the objects among them the shifts too."""

    logits: Float[Tensor, " a"]
    is_object: Bool[Tensor, " a"]
    shifts: Float[Tensor, "p 4"]
    wanted: Float[Tensor, "p 4"]
    divisor: int


class ProposalNetwork(nn.Module):
    """One small network slid over all maps of a pyramid.

    Args:
        width: channels of the maps.
        strides: of the maps, finest first.

    Source: Ren et al. 2015, arXiv:1506.01497, section 3.1; over a pyramid as in Lin et al. 2017,
    arXiv:1612.03144, section 4.1.
    """

    def __init__(self, config: Proposing, *, width: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.config, self.strides = config, tuple(strides)
        anchors = len(config.sizes[0]) * len(config.ratios)
        self.convolve = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True))
        self.classify = nn.Conv2d(width, anchors, 1)
        self.shift = nn.Conv2d(width, 4 * anchors, 1)
        self.apply(_start)

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> Proposed:
        answers = [self._answer(own) for own in maps]
        anchors = [
            anchor_grid(
                cell_anchors(sizes, self.config.ratios, rounded=self.config.rounded),
                own.shape[-2:],
                stride=stride,
                like=shifts,
            )
            for sizes, own, stride, (_, shifts) in zip(
                self.config.sizes, maps, self.strides, answers, strict=True
            )
        ]
        logits, shifts = zip(*answers, strict=True)
        return Proposed(logits, shifts, tuple(anchors))

    def _answer(self, own: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n 4"]]:
        hidden = self.convolve(own)
        logits = self.classify(hidden).permute(0, 2, 3, 1).flatten(1)
        shifts = self.shift(hidden).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4))
        # half precision cannot place a box: 8 bits leave steps of 4 pixels beyond 512
        single = torch.promote_types(logits.dtype, torch.float32)
        return logits.to(single), shifts.to(single)

    @torch.no_grad()
    def propose(
        self, proposed: Proposed, size: Sequence[int], *, training: bool
    ) -> list[Float[Tensor, "_ 4"]]:
        """The best boxes of each image that do not overlap too much, best first, cut to ``size``."""
        config = self.config
        considered, kept = (pair[0 if training else 1] for pair in (config.considered, config.kept))
        scores, boxes, levels = [], [], []
        for level, (logits, shifts, anchors) in enumerate(zip(*proposed, strict=True)):
            best, place = logits.topk(min(considered, logits.shape[1]), dim=1)
            own = shifts.gather(1, place[..., None].expand(-1, -1, 4))
            scores.append(best)
            boxes.append(clip(decode(own, anchors[place]), size))
            levels.append(torch.full_like(place, level))
        together = [torch.cat(parts, dim=1) for parts in (scores, boxes, levels)]
        return [self._thin_out(*image, kept=kept) for image in zip(*together, strict=True)]

    def _thin_out(
        self,
        scores: Float[Tensor, " n"],
        boxes: Float[Tensor, "n 4"],
        levels: Int[Tensor, " n"],
        *,
        kept: int,
    ) -> Float[Tensor, "m 4"]:
        wide = ((boxes[:, 2:] - boxes[:, :2]) >= LEAST_SIDE).all(1)
        scores, boxes, levels = scores[wide], boxes[wide], levels[wide]
        return boxes[batched_nms(boxes, scores, levels, self.config.suppression)[:kept]]

    def lesson(
        self, proposed: Proposed, objects: Sequence[Objects], *, draw: torch.Generator | None
    ) -> ProposalLesson:
        """Choose anchors of each image in turn and say what they should have answered."""
        config, anchors = self.config, torch.cat(proposed.anchors)
        logits, shifts = torch.cat(proposed.logits, dim=1), torch.cat(proposed.shifts, dim=1)
        parts = []
        for image, own in enumerate(objects):
            matched = assign(anchors, own, positive=config.positive, negative=config.negative, rescue=True)
            chosen = choose(matched, count=config.sampled, share=config.share, draw=draw)
            held = chosen[matched[chosen] >= 0]
            wanted = encode(own.boxes[matched[held]].to(anchors), anchors[held])
            parts.append((logits[image, chosen], matched[chosen] >= 0, shifts[image, held], wanted))
        chosen_logits, is_object, own_shifts, wanted = (torch.cat(part) for part in zip(*parts, strict=True))
        divisor = len(is_object) if config.divisor == "chosen" else config.sampled * len(objects)
        return ProposalLesson(chosen_logits, is_object, own_shifts, wanted, divisor)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
