"""Record pytorch-3dunet's numbers: ``python record_volume_networks.py CHECKOUT``.

Needs no file of theirs in this tree; writes volume_networks.safetensors beside itself.
"""

from __future__ import annotations

import sys
from importlib import import_module

import torch
from rule import fill, image_by_rule
from safetensors.torch import save_file
from test_volume_networks import RECORDED, SEED, UNET_TAPS, maps_of, part, small_unet

from segmentarium.models.unet_3d import UNet3D
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

if __name__ == "__main__":
    sys.path[:0] = sys.argv[1:]
    model = import_module("pytorch3dunet.unet3d.model")
    reference = model.UNet3D(1, 3, f_maps=8, layer_order="cbr", is_segmentation=False).double().eval()
    fill(reference, SEED)
    ours = UNet3D(small_unet()).double()
    ours.load_state_dict(translated(reference.state_dict(), read_card("unet_3d").sources["pytorch_3dunet"]))
    again = UNet3D(small_unet()).double()
    fill(again, SEED)  # the test fills ours by the same rule: the order of tensors has to be theirs
    assert all(
        torch.equal(a, b)
        for a, b in zip(ours.state_dict().values(), again.state_dict().values(), strict=True)
    )
    paths = [f"encoders.{i}" for i in range(4)] + [f"decoders.{i}" for i in range(3)] + ["final_conv"]
    seen = maps_of(
        reference, image_by_rule((2, 1, 19, 22, 25), SEED), dict(zip(paths, UNET_TAPS, strict=True))
    )
    save_file({name: part(maps) for name, maps in seen.items()}, RECORDED)
    print(f"{len(seen)} taps, {RECORDED.stat().st_size:,} bytes")
