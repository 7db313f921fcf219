"""State dicts of other programs, as their users save them, give their programs' numbers here."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision

from segmentarium.backbones import VGG
from segmentarium.engine.encoder_weights import take_encoder
from segmentarium.engine.load import load
from segmentarium.engine.model import Model
from segmentarium.engine.volume_model import VolumeModel
from segmentarium.errors import BadRecipe, UnknownName, WeightsMismatch
from segmentarium.models import build


def unsettled(network: torch.nn.Module) -> torch.nn.Module:
    """With running statistics that hide nothing."""
    draw = torch.Generator().manual_seed(4)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.rand(module.running_mean.shape, generator=draw) - 0.5)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=draw) + 0.5)
    return network.eval()


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_torchvision(tmp_path: Path) -> None:
    from torchvision.models.segmentation import deeplabv3_resnet50

    torch.manual_seed(0)
    reference = unsettled(
        deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=5, aux_loss=True)
    )
    torch.save(reference.state_dict(), tmp_path / "theirs.pth")
    model = load(tmp_path / "theirs.pth", model="deeplabv3", device="cpu")
    assert isinstance(model, Model)
    assert (model.name, len(model.classes)) == ("deeplabv3-torchvision_r50", 5)
    assert model.normalise.mean == (0.485, 0.456, 0.406)
    assert "BSD" in str(model.facts["licence"])
    image = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        expected = reference(image)["out"]
        found = torch.nn.functional.interpolate(
            model.network(image).logits, size=(65, 97), mode="bilinear", align_corners=False
        )
    assert difference(found, expected) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_segmentation_models_pytorch(tmp_path: Path) -> None:
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    reference = unsettled(smp.DeepLabV3Plus("resnet34", encoder_weights=None, classes=3, in_channels=4))
    torch.save({"state_dict": reference.state_dict()}, tmp_path / "theirs.pt")
    model = load(tmp_path / "theirs.pt", model="deeplabv3plus-smp_r34", classes=["a", "b", "c"], device="cpu")
    assert isinstance(model, Model)
    assert model.classes.names == ("a", "b", "c")
    image = torch.randn(1, 4, 64, 96)
    with torch.inference_mode():
        found = torch.nn.functional.interpolate(
            model.network(image).logits, size=(64, 96), mode="bilinear", align_corners=True
        )
        assert difference(found, reference(image)) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_monai(tmp_path: Path) -> None:
    from monai.networks.nets import VNet
    from safetensors.torch import save_file

    torch.manual_seed(0)
    reference = VNet(out_channels=3).eval()
    save_file(
        {name: tensor.clone() for name, tensor in reference.state_dict().items()}, tmp_path / "v.safetensors"
    )
    model = load(tmp_path / "v.safetensors", model="vnet", source="monai", device="cpu")
    assert isinstance(model, VolumeModel)
    volume = torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        assert difference(model.network(volume).logits, reference(volume)) < 1e-4


def test_other_tensors_are_refused_and_the_nearest_is_told(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsMismatch, match=r"none of them; nearest is .* lacks"):
        load(tmp_path / "other.pth", model="vnet")
    with pytest.raises(UnknownName, match="monai"):
        load(tmp_path / "other.pth", model="vnet", source="monay")


def test_timm_weights_for_the_encoder_alone(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(1)
    theirs = timm.create_model("resnet10t", pretrained=False)
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    network = build("unet-resnet10t", classes=2)
    take_encoder(network, str(tmp_path / "resnet.pth"))
    for name, tensor in network.encoder.body.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name])
    with pytest.raises(WeightsMismatch, match=r"lacks .* of resnet18"):
        take_encoder(build("unet-resnet18", classes=2), str(tmp_path / "resnet.pth"))
    with pytest.raises(BadRecipe, match="no timm model"):
        take_encoder(build("unet-tiny", classes=2), "timm")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_transformers(tmp_path: Path) -> None:
    from transformers import DetrConfig, DetrForSegmentation

    torch.manual_seed(0)
    reference = DetrForSegmentation(
        DetrConfig(backbone="resnet50", num_labels=7, use_pretrained_backbone=False, auxiliary_loss=False)
    )
    unsettled(reference)
    reference.save_pretrained(tmp_path)
    model = load(tmp_path / "model.safetensors", model="detr", source="transformers", device="cpu")
    assert isinstance(model, Model)
    assert (model.task, len(model.classes)) == ("panoptic", 7)
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        expected, found = reference(image), model.network(image)
    assert difference(found.class_logits, expected.logits) < 1e-4
    assert difference(found.mask_logits, expected.pred_masks) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_torchvision_detector(tmp_path: Path) -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    reference = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4).eval()
    torch.save(reference.state_dict(), tmp_path / "theirs.pth")
    model = load(tmp_path / "theirs.pth", model="mask_rcnn-torchvision_r50", device="cpu")
    assert isinstance(model, Model)
    assert (len(model.classes), model.network.readout) == (3, "torchvision")
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        expected = reference.backbone(image)
        found = model.network.trunk(image)
    for theirs, ours in zip(expected.values(), found, strict=True):
        assert difference(ours, theirs) < 1e-4


@pytest.mark.parametrize(("name", "theirs"), [("segnet", "vgg16_bn"), ("ternausnet", "vgg11")])
def test_a_whole_vgg_begins_with_published_weights(name: str, theirs: str, tmp_path: Path) -> None:
    published = getattr(torchvision.models, theirs)(weights=None).features
    safetensors.torch.save_file(
        {f"features.{k}": v for k, v in published.state_dict().items()}, tmp_path / "vgg.safetensors"
    )
    network = build(name, classes=2)
    take_encoder(network, str(tmp_path / "vgg.safetensors"))
    mine = next(part for part in network.modules() if isinstance(part, VGG))
    own, known = (list(part.parameters()) for part in (mine, published))
    assert all(torch.equal(a, b) for a, b in zip(own, known, strict=True))
    with pytest.raises(BadRecipe, match="no timm model"):
        take_encoder(build(f"{name}-tiny", classes=2), str(tmp_path / "vgg.safetensors"))


def test_one_class_under_a_sigmoid_becomes_the_second_of_two(tmp_path: Path) -> None:
    import segmentation_models_pytorch as smp

    torch.manual_seed(8)
    reference = unsettled(smp.Unet("resnet34", encoder_weights=None, classes=1))
    torch.save(reference.state_dict(), tmp_path / "one.pth")
    model = load(tmp_path / "one.pth", model="unet-resnet34", classes=["polyp"])
    assert model.classes.names == ("background", "polyp")
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        share = model.network(image).logits.softmax(1)[:, 1]
        torch.testing.assert_close(share, reference(image)[:, 0].sigmoid(), rtol=1e-3, atol=1e-4)
    assert load(tmp_path / "one.pth", model="unet-resnet34").classes.names == ("class_0", "class_1")


def test_an_hrnet_begins_with_the_weights_of_timms(tmp_path: Path) -> None:
    import timm

    theirs = timm.create_model("hrnet_w18_small_v2", pretrained=False).state_dict()
    torch.save(theirs, tmp_path / "hrnet.pth")
    network = build("hrnetv2-small", classes=2)
    take_encoder(network, str(tmp_path / "hrnet.pth"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in network.body.state_dict().items())
