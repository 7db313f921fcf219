"""Compile networks whole and tell which of them answer as before: ``python compiling.py NAME...``.

A program of its own, for the type checks that tests switch on are no part of a graph.
"""

from __future__ import annotations

import json
import sys

import torch

import segmentarium.models as registry
from segmentarium.nn import geometry_of


def verdict(name: str) -> str:
    """Empty if ``name`` compiles without a break and then gives the same numbers."""
    torch.manual_seed(3)
    network = registry.build(name, classes=4).eval()
    flat = getattr(network, "dimensions", 2) == 2
    side = geometry_of(network).input_side
    image = torch.rand(1, 3, *(side(s) for s in ((33, 47) if flat else (32, 32, 32))))
    torch.compiler.reset()
    try:
        whole = torch.compile(network, fullgraph=True, backend="eager")
        with torch.no_grad():
            expected, found = network(image), whole(image)
    except torch._dynamo.exc.TorchDynamoException as error:
        return " ".join(str(error).split())[:400]
    close = torch.allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
    return "" if close else "the compiled network gives other numbers"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps({name: verdict(name)}), flush=True)
