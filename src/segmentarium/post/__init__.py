"""Finishers: raw outputs and sizes in, results out.

finish.py            finish, part: the one door for all outputs and tasks
semantic.py          class scores to a label map: resize, choose, crop, in one pass; volumes too
query_labels.py      queries to a label map
query_instances.py   queries to instances
panoptic_rules.py    queries to segments: one function a paper, by name in RULES
regions.py           boxes with masks to instances, and with a semantic branch to segments
pasting.py           masks from boxes into pictures, straight to run-length code
contest.py, slots.py   which query wins which pixel, for masks apart and for masks that share pixels
cells.py             resized pixels by the originals around them; strips
*kernels.py          the compiled loops behind them
"""

from __future__ import annotations

from segmentarium.post.finish import finish, part
from segmentarium.post.panoptic_rules import RULES
from segmentarium.post.pasting import PASTE, paste, paste_full
from segmentarium.post.query_instances import INSTANCES
from segmentarium.post.query_labels import SEMANTIC
from segmentarium.post.regions import MERGES
from segmentarium.post.semantic import argmax_resized, finish_semantic, probabilities

__all__ = [
    "INSTANCES",
    "MERGES",
    "PASTE",
    "RULES",
    "SEMANTIC",
    "argmax_resized",
    "finish",
    "finish_semantic",
    "part",
    "paste",
    "paste_full",
    "probabilities",
]
