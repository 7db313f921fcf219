"""Record sadeepj/crfasrnn_pytorch's numbers: ``python record_crf_rnn.py CHECKOUT`` with its extension built.

Writes crf_rnn.safetensors beside itself. ``permuto_cpp`` must be importable, see the README of the reference.
Its network has its widths in the text of its class: convolutions are replaced by narrow ones, and its own
``forward`` runs them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from record_fcn import our_name
from rule import fill, image_by_rule
from safetensors.torch import save_file
from test_crf_rnn import CASES, SEED, SIZE, WHOLE, drawn_matrices, drawn_scene, narrow
from torch import Tensor, nn

from segmentarium.weights import read_card

FOLDER = Path(__file__).parent


def layer(name: str, image: Tensor, logits: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """The refined logits and, of each learned tensor, the gradient."""
    iterations, trained = CASES[name]
    reference: Any = import_module("crfasrnn.crfrnn").CrfRnn(logits.shape[1], iterations)
    learned = [
        reference.spatial_ker_weights, reference.bilateral_ker_weights, reference.compatibility_matrix
    ]  # fmt: skip
    with torch.no_grad():
        for mine, drawn in zip(learned, drawn_matrices(logits.shape[1]), strict=True):
            mine += drawn * trained
    scores = logits.clone().requires_grad_()
    refined = reference(image, scores)
    refined.backward(gradient)
    parts = zip(("logits", "spatial", "bilateral", "compatibility"), (scores, *learned), strict=True)
    return {"refined": refined.detach()} | {f"gradient.{part}": tensor.grad for part, tensor in parts}


def filters(image: Tensor, values: Tensor) -> dict[str, Tensor]:
    """One bilateral filter, and its backward pass."""
    features = import_module("crfasrnn.filters").BilateralFilter(image[0], 160.0, 3.0).features
    compiled: Any = import_module("permuto_cpp")
    return {
        "forward": compiled.forward(values[0], features)[0],
        "backward": compiled.backward(values[0], features)[0],
    }


def network() -> Tensor:
    """The whole network, narrow, with weights by the rule."""
    source = read_card("crf_rnn").sources["crfasrnn_pytorch"]
    ours = narrow()
    fill(ours, SEED)
    state = ours.state_dict()
    reference: Any = import_module("crfasrnn.crfasrnn_model").CrfRnnNet()
    for path, one in list(reference.named_children()):
        if not isinstance(one, nn.Conv2d | nn.ConvTranspose2d):
            continue
        weight = state[our_name(f"{path}.weight", source)]
        turned = isinstance(one, nn.ConvTranspose2d)
        inputs, outputs = weight.shape[:2] if turned else weight.shape[1::-1]
        where = {"stride": one.stride, "padding": one.padding, "bias": one.bias is not None}
        setattr(reference, path, type(one)(inputs, outputs, one.kernel_size, **where))
    crf = import_module("crfasrnn.crfrnn").CrfRnn(ours.config.classes, 10)
    reference.crfrnn = crf
    reference.load_state_dict({theirs: state[our_name(theirs, source)] for theirs in reference.state_dict()})
    with torch.no_grad():
        found: Tensor = reference.eval()(image_by_rule(WHOLE, SEED).float())
    return found


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    scene = drawn_scene(SIZE)
    held = {f"scene/{name}": tensor for name, tensor in scene.items()}
    image = scene["image"].float()
    held |= {f"filter/{k}": t for k, t in filters(image, scene["logits"].softmax(1)).items()}
    for name in CASES:
        found = layer(name, image, scene["logits"], scene["gradient"])
        held |= {f"{name}/{key}": tensor for key, tensor in found.items()}
    held["network/logits"] = network()
    save_file({k: t.contiguous() for k, t in held.items()}, FOLDER / "crf_rnn.safetensors")
    print(f"{len(held)} maps, {(FOLDER / 'crf_rnn.safetensors').stat().st_size:,} bytes")
