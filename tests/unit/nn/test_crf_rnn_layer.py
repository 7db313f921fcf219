"""The CRF-RNN layer against mean field written out with explicit kernels, and as a part of networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segmentarium.errors import BadArgument
from segmentarium.nn.crf_rnn import CRFLayer, mean_field
from segmentarium.nn.permutohedral import Lattice

K = 3


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_with(iterations: int, **filters: float) -> CRFLayer:
    """Its matrices drawn, so that none is symmetric or hides another."""
    layer = CRFLayer(K, iterations=(iterations, iterations), **filters).double()
    with torch.no_grad():
        for seed, matrix in enumerate(layer.parameters(), 10):
            matrix += drawn(K, K, seed=seed) - 0.5
    return layer


def kernel(features: Tensor) -> Tensor:
    """The lattice as a matrix, a column at a time, its rows divided by their sums."""
    columns = Lattice(features[None]).filter(torch.eye(len(features), dtype=features.dtype)[None])[0]
    return columns / columns.sum(1, keepdim=True)


def written_out(layer: CRFLayer, logits: Tensor, image: Tensor, iterations: int) -> Tensor:
    """One picture (k, h, w) and (c, h, w): every sum over pixels and classes by itself."""
    height, width = image.shape[1:]
    pixels = [(x, y) for y in range(height) for x in range(width)]
    alpha, beta, gamma = layer.widths
    places = torch.tensor(pixels, dtype=torch.float64)
    near = kernel(places / gamma)
    alike = kernel(torch.cat([places / alpha, 255 * image.flatten(1).T / beta], dim=1))
    unary = logits.flatten(1)
    scores = unary
    for _ in range(iterations):
        probs = scores.softmax(0)
        message = layer.spatial @ (probs @ near.T) + layer.bilateral @ (probs @ alike.T)
        scores = unary + layer.compatibility @ message
    return scores.view_as(logits)


@pytest.mark.atlas("R16")
def test_is_mean_field_written_out() -> None:
    layer = layer_with(3, alpha=4.0, beta=60.0, gamma=2.0)
    logits, image = 4 * drawn(2, K, 5, 6), drawn(2, 3, 5, 6, seed=1)
    expected = torch.stack([written_out(layer, u, i, 3) for u, i in zip(logits, image, strict=True)])
    torch.testing.assert_close(layer(logits, image), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.atlas("R16")
def test_gradients_of_logits_and_matrices() -> None:
    layer = layer_with(2, alpha=4.0, beta=60.0, gamma=2.0)
    image, logits = drawn(1, 3, 2, 3, seed=1), (4 * drawn(1, K, 2, 3)).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def refine(scores: Tensor, *matrices: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, matrices, strict=True)), (scores, image))

    assert names == ["spatial", "bilateral", "compatibility"]
    assert torch.autograd.gradcheck(refine, (logits, *layer.parameters()))
    image.requires_grad_()
    layer(logits, image).sum().backward()
    assert image.grad is None


def test_begins_as_a_potts_model() -> None:
    layer = CRFLayer(K)
    for matrix, times in ((layer.spatial, 3), (layer.bilateral, 5), (layer.compatibility, 1)):
        assert torch.equal(matrix, times * torch.eye(K))


def test_iterates_less_in_training() -> None:
    logits, image = drawn(1, K, 6, 6).float(), drawn(1, 3, 6, 6, seed=1).float()
    layer = CRFLayer(K, iterations=(1, 4))
    for training, iterations in ((True, 1), (False, 4)):
        same = CRFLayer(K, iterations=(iterations, iterations))
        assert torch.equal(layer.train(training)(logits, image), same(logits, image))
    assert torch.equal(CRFLayer(K, iterations=(0, 0))(logits, image), logits)


def test_heals_a_spot_but_not_across_an_edge() -> None:
    image = torch.zeros(1, 3, 12, 12)
    image[..., 6:] = 0.8
    right = torch.zeros(1, 2, 12, 12)
    right[:, 0, :, :6] = right[:, 1, :, 6:] = 1.0
    logits = right.clone()
    logits[:, :, 3, 3], logits[:, :, 7, 5] = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])
    refined = CRFLayer(2).eval()(logits, image)
    assert torch.equal(refined.argmax(1), right.argmax(1))


@pytest.mark.parametrize("channels", [1, 3])
def test_normalised_images_are_brought_back(channels: int) -> None:
    mean, std = [0.4, 0.5, 0.3][:channels], [0.2, 0.25, 0.3][:channels]
    logits, image = 4 * drawn(1, K, 8, 8), drawn(1, channels, 8, 8, seed=1)
    plain, told = CRFLayer(K, channels=channels).double(), CRFLayer(K, channels=channels).double()
    told.sees(mean=mean, std=std)
    shape = (channels, 1, 1)
    seen = (image - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    torch.testing.assert_close(told(logits, seen), plain(logits, image), rtol=1e-3, atol=1e-3)
    assert set(told.state_dict()) == {"spatial", "bilateral", "compatibility"}


def test_a_volume_has_three_places() -> None:
    layer = CRFLayer(2, channels=1, iterations=(1, 1), alpha=2.0, gamma=1.0).double()
    logits, volume = drawn(2, 2, 3, 4, 5), drawn(2, 1, 3, 4, 5, seed=1)
    one = layer(logits, volume)
    turned = layer(logits.mT, volume.mT).mT  # lattices have preferred directions, the Gaussian has none
    assert one.shape == logits.shape
    assert (one - turned).abs().max() < 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2)])
def test_small_pictures(size: tuple[int, int]) -> None:
    refined = CRFLayer(K)(torch.zeros(1, K, *size), torch.ones(1, 3, *size))
    assert refined.isfinite().all()
    torch.testing.assert_close(refined, refined[:, :1].expand_as(refined))


def test_half_precision_is_refined_in_single() -> None:
    logits, image = 4 * drawn(1, K, 8, 8).bfloat16(), drawn(1, 3, 8, 8, seed=1).bfloat16()
    layer = CRFLayer(K)
    refined = layer.bfloat16()(logits, image)
    assert refined.dtype == torch.bfloat16
    expected = layer.float()(logits.float(), image.float())
    assert torch.equal(refined, expected.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(logits.float(), image.float()), expected, rtol=0, atol=0)


def test_no_numbers_are_needed_for_the_shape() -> None:
    with torch.device("meta"):
        refined = CRFLayer(K)(torch.zeros(2, K, 5, 7), torch.zeros(2, 3, 5, 7))
    assert (refined.is_meta, refined.shape) == (True, (2, K, 5, 7))


class Scored(nn.Module):
    """The smallest network with the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.refine = nn.Conv2d(3, K, 1), CRFLayer(K, iterations=(2, 3))

    def forward(self, image: Tensor) -> Tensor:
        refined: Tensor = self.refine(self.score(image), image)
        return refined


@pytest.mark.atlas("R16")
def test_the_operator_of_graphs_has_the_same_gradients() -> None:
    layer = layer_with(2, alpha=4.0, beta=60.0, gamma=2.0)
    levels, learned = 255 * drawn(2, 3, 5, 6, seed=1), list(layer.parameters())
    found = []
    for field in (mean_field, torch.ops.segmentarium.mean_field):
        logits = (4 * drawn(2, K, 5, 6)).requires_grad_()
        refined = field(logits, levels, *learned, 2, layer.widths)
        found.append([refined, *torch.autograd.grad(refined.square().sum(), [logits, *learned])])
    for eager, graph in zip(*found, strict=True):
        torch.testing.assert_close(graph, eager, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore")
def test_is_one_node_of_an_exported_graph() -> None:
    network, image = Scored().eval(), drawn(1, 3, 9, 8, seed=1).float()
    program = torch.export.export(network, (image,))
    nodes = [node for node in program.graph.nodes if "mean_field" in str(node.target)]
    assert len(nodes) == 1
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(image), network(image))


@pytest.mark.parametrize(
    ("logits", "image"),
    [
        ((1, K, 64, 64), (1, 3, 32, 32)),
        ((1, K, 8, 8), (1, 3, 9, 9)),
        ((1, K + 1, 8, 8), (1, 3, 8, 8)),
        ((1, K, 8, 8), (1, 1, 8, 8)),
    ],
)
def test_what_does_not_fit_is_refused(logits: tuple[int, ...], image: tuple[int, ...]) -> None:
    with pytest.raises(BadArgument, match="3 classes, 3 channels, and the same size"):
        CRFLayer(K)(torch.rand(logits), torch.rand(image))
