"""Record the authors' numbers: ``record_mask2former.py MASK2FORMER DETECTRON2 [PACKAGES]``, two checkouts.

Needs no file of theirs in this tree; writes mask2former.safetensors beside itself. Of Mask2Former only the
modules of the two decoders are imported, their own entry asks for all of detectron2's data sets; without the
compiled kernel the authors' code falls back to its own version in PyTorch. PACKAGES: a folder with fvcore and
what else detectron2 needs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import torch
from rule import image_by_rule
from safetensors.torch import save_file
from test_mask2former import R50, RECORD, RECORDED_SHAPE, SEED, Look, recorded_part, watched, weights_by_rule
from torch import Tensor, nn

from segmentarium.models.mask2former import Mask2Former
from segmentarium.weights import read_card
from segmentarium.weights.foreign import translated

MODELING = "mask2former.modeling"


class Authors(nn.Module):
    """maskformer2_R50_bs16_50ep, without what happens before and after the network."""

    def __init__(self) -> None:
        super().__init__()
        resnet = import_module("detectron2.modeling.backbone.resnet")
        pixels = import_module(f"{MODELING}.pixel_decoder.msdeformattn")
        masked = import_module(f"{MODELING}.transformer_decoder.mask2former_transformer_decoder")
        self.backbone = resnet.ResNet(
            resnet.BasicStem(3, 64, norm="BN"),
            resnet.ResNet.make_default_stages(50, norm="BN", stride_in_1x1=False),
            out_features=["res2", "res3", "res4", "res5"],
        )
        self.sem_seg_head = nn.Module()
        self.sem_seg_head.pixel_decoder = pixels.MSDeformAttnPixelDecoder(
            self.backbone.output_shape(),
            transformer_dropout=0.0,
            transformer_nheads=8,
            transformer_dim_feedforward=1024,
            transformer_enc_layers=6,
            conv_dim=256,
            mask_dim=256,
            norm="GN",
            transformer_in_features=["res3", "res4", "res5"],
            common_stride=4,
        )
        self.sem_seg_head.predictor = masked.MultiScaleMaskedTransformerDecoder(
            256,
            True,
            num_classes=133,
            hidden_dim=256,
            num_queries=100,
            nheads=8,
            dim_feedforward=2048,
            dec_layers=9,
            pre_norm=False,
            mask_dim=256,
            enforce_input_project=False,
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        head = self.sem_seg_head
        masks, _, levels = head.pixel_decoder.forward_features(self.backbone(image))
        return head.predictor(levels, masks)


def watch() -> dict[str, tuple[str, Look]]:
    pixels, masked = "sem_seg_head.pixel_decoder", "sem_seg_head.predictor"
    paths: dict[str, tuple[str, Look]] = {}
    for stage in (2, 3, 4, 5):
        paths[f"encoder stride {2**stage}"] = (f"backbone.res{stage}", lambda i, k, o: o)
    for layer in range(R50.pixel_layers):
        paths[f"pixel layer {layer}"] = (f"{pixels}.transformer.encoder.layers.{layer}", lambda i, k, o: o)
    paths["mask features"] = (f"{pixels}.mask_features", lambda i, k, o: o)
    for layer in range(R50.layers):
        cross = f"{masked}.transformer_cross_attention_layers.{layer}"
        paths[f"attention mask {layer}"] = (
            cross,
            lambda i, k, o: (~k["memory_mask"]).unflatten(0, (-1, 8))[:, 0],
        )
        last = f"{masked}.transformer_ffn_layers.{layer}"
        paths[f"layer {layer}"] = (last, lambda i, k, o: o.transpose(0, 1))
    for layer in range(R50.layers + 1):
        paths[f"classes {layer}"] = (masked, lambda i, k, o, n=layer: answers(o)[n]["pred_logits"])
        paths[f"masks {layer}"] = (masked, lambda i, k, o, n=layer: answers(o)[n]["pred_masks"])
    return paths


def answers(output: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    return [*output["aux_outputs"], output]


def in_double_precision(network: nn.Module) -> nn.Module:
    """The authors' maps and places are in single precision whatever comes; here that may not cut digits."""
    torch.set_default_dtype(torch.float64)
    Tensor.float = Tensor.double  # type: ignore[method-assign]
    torch.float32 = torch.float64  # type: ignore[misc]
    return network.double()


if __name__ == "__main__":
    sys.path[:0] = sys.argv[1:]
    for package in ("mask2former", MODELING):
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [f"{sys.argv[1]}/{package.replace('.', '/')}"]
    sys.modules["MultiScaleDeformableAttention"] = ModuleType("absent")
    reference = Authors().eval()
    ours = weights_by_rule(Mask2Former(R50).double()).state_dict()
    image = image_by_rule(RECORDED_SHAPE, SEED)
    reference = in_double_precision(reference)
    source = read_card("mask2former").sources["detectron2"]
    for name, tensor in translated(reference.state_dict(), source).items():
        tensor.copy_(ours[name])
    held = {name: recorded_part(tensor) for name, tensor in watched(reference, image, watch()).items()}
    save_file(held, RECORD)
    print(f"{len(held)} taps, {RECORD.stat().st_size:,} bytes")
