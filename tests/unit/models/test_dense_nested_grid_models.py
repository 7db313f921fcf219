"""FC-DenseNet, UNet++, GridNet and FRRN: their equations written again, and what their papers promise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import segmentarium.models as registry
from segmentarium.errors import BadArgument
from segmentarium.losses import SemanticLoss
from segmentarium.models import fc_densenet, frrn, gridnet, unet_plus_plus
from segmentarium.models.fc_densenet import FCDenseNet
from segmentarium.models.frrn import FRRN
from segmentarium.models.gridnet import GridNet
from segmentarium.models.unet_plus_plus import UNetPlusPlus, mean_vote


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def channels_into(blocks: list[nn.Module]) -> list[int]:
    """Of the last layer of each block, and what it adds."""
    return [block[-1][2].in_channels + block[-1][2].out_channels for block in blocks]


def test_the_tiramisu_has_the_stacks_of_its_table() -> None:
    """Column m of table 2, with the correction beside the authors' program: 16 more from 896 on."""
    with torch.device("meta"):
        network = FCDenseNet(fc_densenet.VARIANTS["103"])
    assert channels_into(list(network.down)) == [112, 192, 304, 464, 656]
    assert channels_into([network.bottleneck]) == [896]
    assert channels_into(list(network.up)) == [1088, 816, 576, 384, 256]


@pytest.mark.parametrize(("name", "convolutions"), [("103", 103), ("67", 67), ("56", 56)])
def test_the_number_in_the_name_counts_convolutions(name: str, convolutions: int) -> None:
    with torch.device("meta"):
        network = FCDenseNet(fc_densenet.VARIANTS[name])
    kinds = nn.Conv2d | nn.ConvTranspose2d
    assert sum(isinstance(module, kinds) for module in network.modules()) == convolutions


def test_only_new_maps_climb() -> None:
    """What the bottleneck was given reaches the image through the bottleneck's layers alone."""
    network = FCDenseNet(replace(fc_densenet.VARIANTS["tiny"], classes=2)).eval()
    image = torch.rand(1, 3, 32, 32)
    before = network(image).logits
    for layer in network.bottleneck:
        nn.init.zeros_(layer[2].weight)
    silent = network(image).logits
    nn.init.normal_(network.shrink[-1][2].weight)
    assert not torch.equal(silent, before)
    assert torch.equal(network(image).logits, silent)


def supervised(**changes: object) -> UNetPlusPlus:
    return UNetPlusPlus(replace(unet_plus_plus.VARIANTS["tiny"], classes=3, **changes))


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (1, 1), (9, 70)])
def test_pruned_is_the_head_of_the_whole(size: tuple[int, int]) -> None:
    network, image = supervised().train(), torch.rand(2, 3, *size)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    output = network(image)
    heads = [*output.aux[::-1], output.logits]
    for level, expected in enumerate(heads, start=1):
        assert torch.equal(network.pruned(level).eval()(image).logits, expected)


def test_each_pruning_is_smaller_and_shares_its_tensors() -> None:
    network = supervised()
    sizes = [count(network.pruned(level)) for level in (1, 2, 3)]
    assert sizes == sorted(sizes)
    assert sizes[-1] < count(network)
    small = network.pruned(2)
    assert (
        small.nodes["0_1"].convolve[0].weight.data_ptr() == network.nodes["0_1"].convolve[0].weight.data_ptr()
    )
    assert set(small.nodes) == {"0_1", "1_1", "0_2"}


def test_says_where_it_cannot_be_pruned() -> None:
    with pytest.raises(BadArgument, match=r"level: 4; allowed: one with a head: 1, 2, 3"):
        supervised().pruned(4)
    with pytest.raises(BadArgument, match="with a head: 3"):
        supervised(supervised=False).pruned(1)
    with pytest.raises(BadArgument, match="stride 2"):
        supervised(encoder="resnet18", decoder=(16, 16, 16, 16, 16))


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_the_vote_is_the_mean_of_probabilities(classes: int) -> None:
    votes = [3 * torch.randn(2, classes, 4, 5, dtype=torch.float64) for _ in range(4)]
    likely = torch.sigmoid if classes == 1 else lambda logits: logits.softmax(1)
    expected = torch.stack([likely(vote) for vote in votes]).mean(0)
    torch.testing.assert_close(likely(mean_vote(votes)), expected)


def test_one_vote_is_itself() -> None:
    vote = torch.randn(1, 3, 2, 2)
    assert mean_vote([vote]) is vote


def test_all_heads_count_alike_in_the_loss() -> None:
    network = supervised().train()
    images, labels = torch.rand(2, 3, 32, 32), torch.randint(0, 3, (2, 32, 32))
    output = network(images)
    loss = SemanticLoss({"cross_entropy": 1.0}, aux=network.aux_weights)(output, labels)["loss"]
    each = [functional.cross_entropy(logits, labels) for logits in (output.logits, *output.aux)]
    torch.testing.assert_close(loss, torch.stack(each).mean())
    assert len(each) == 3


def by_the_equation(network: UNetPlusPlus, image: Tensor) -> Tensor:
    """X[0, depth] by recursion, straight from equation 1 of the paper."""

    def node(i: int, j: int) -> Tensor:
        if j == 0:
            below = image if i == 0 else functional.max_pool2d(node(i - 1, 0), 2)
            return network.encoder.rows[i](below)
        module = network.nodes[f"{i}_{j}"]
        return module.convolve(torch.cat([module.up(node(i + 1, j - 1)), *(node(i, k) for k in range(j))], 1))

    return network.heads[f"{network.depth}"](node(0, network.depth))


def test_nodes_are_those_of_the_equation() -> None:
    network, image = supervised(supervised=False).eval(), torch.rand(1, 3, 32, 48)
    torch.testing.assert_close(network(image).logits, by_the_equation(network, image))


def test_stands_on_any_encoder() -> None:
    with torch.device("meta"):
        network = registry.build("unet_plus_plus-convnext_atto", classes=3, in_channels=2).eval()
        assert network(torch.zeros(1, 2, 61, 75)).logits.shape == (1, 3, 61, 75)


class Cut(nn.Module):
    """An edge that is taken out of the grid."""

    def forward(self, maps: Tensor, size: object = None) -> Tensor:
        return torch.zeros_like(maps) if size is None else maps.new_zeros(1)


class Keep(nn.Module):
    """A stream that goes on as it is."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps


def grid() -> GridNet:
    return GridNet(gridnet.Config(widths=(4, 6, 8), columns=2, classes=3)).eval()


def cut_to_one_path(network: GridNet, upper: type[nn.Module]) -> None:
    """Down the first column, along the lowest stream, up the last column; upper streams become ``upper``."""
    lowest = len(network.config.widths) - 1
    for column in (*network.down, *network.up):
        for row in range(lowest):
            column.laterals[row] = upper()
    for column in (*network.down, *list(network.up)[:-1]):
        for n in range(len(column.verticals)):
            column.verticals[n] = Cut()


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_the_grid_without_upper_streams_is_a_conv_deconv_network(size: tuple[int, int]) -> None:
    network, image = grid(), torch.rand(1, 3, *size)
    cut_to_one_path(network, Cut)
    maps = [network.enter(network.norm(image))]
    for shrink in network.first:
        maps.append(shrink(maps[-1]))
    deep = maps[-1]
    for column in (*network.down, *network.up):
        deep = deep + column.laterals[-1].convolve(deep)
    for enlarge, skip in zip(network.up[-1].verticals, maps[-2::-1], strict=True):
        deep = enlarge(deep, skip.shape[2:])
    torch.testing.assert_close(network(image).logits, network.leave(deep))


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_the_grid_with_upper_streams_at_rest_is_a_u_net_that_adds(size: tuple[int, int]) -> None:
    network, image = grid(), torch.rand(1, 3, *size)
    cut_to_one_path(network, Keep)
    maps = [network.enter(network.norm(image))]
    for shrink in network.first:
        maps.append(shrink(maps[-1]))
    deep = maps[-1]
    for column in (*network.down, *network.up):
        deep = deep + column.laterals[-1].convolve(deep)
    for enlarge, skip in zip(network.up[-1].verticals, maps[-2::-1], strict=True):
        deep = skip + enlarge(deep, skip.shape[2:])
    torch.testing.assert_close(network(image).logits, network.leave(deep))


def test_the_grid_of_two_streams_has_the_finest_one_unpooled() -> None:
    """With the finest stream at rest it only ever gains what columns add: a residual stream at full size."""
    network = GridNet(gridnet.Config(widths=(4, 6), columns=2, classes=3)).eval()
    image = torch.rand(1, 3, 16, 24)
    for column in (*network.down, *network.up):
        column.laterals[0] = Keep()
    fine = network.enter(network.norm(image))
    coarse = network.first[0](fine)
    coarse = network.down[0].laterals[1](coarse) + network.down[0].verticals[0](fine)
    for column in network.up:
        coarse = column.laterals[1](coarse)
        fine = fine + column.verticals[0](coarse)
    torch.testing.assert_close(network(image).logits, network.leave(fine))


def test_a_stream_is_dropped_for_the_batch_and_never_made_larger() -> None:
    lateral = gridnet.Lateral(4, 0.5).train()
    maps = torch.rand(3, 4, 8, 8)
    branch = lateral.convolve(maps)
    seen = [lateral(maps) - maps for _ in range(40)]
    silent = [change.abs().max().item() == 0 for change in seen]
    assert 5 < sum(silent) < 35
    for change, nothing in zip(seen, silent, strict=True):
        torch.testing.assert_close(change, torch.zeros_like(maps) if nothing else branch)
    torch.testing.assert_close(lateral.eval()(maps), maps + lateral.convolve(maps))


def test_the_streams_of_a_grid_meet_in_any_size() -> None:
    network = grid()
    streams = [
        torch.rand(1, width, side, 2 * side) for width, side in zip((4, 6, 8), (19, 10, 5), strict=True)
    ]
    for column in (*network.down, *network.up):
        streams = column(streams)
    assert [tuple(maps.shape[2:]) for maps in streams] == [(19, 38), (10, 20), (5, 10)]


def small_frrn() -> FRRN:
    return FRRN(replace(frrn.VARIANTS["tiny"], classes=3)).eval()


def frrn_by_the_equations(network: FRRN, image: Tensor) -> Tensor:
    """Table 1 written out for the tiny variant: z is the residual stream, y the pooled one."""
    y = network.before(network.first(image))
    z = network.split(y)
    for group, pooled, stride in zip(
        network.groups, (True, True, True, False, False), (2, 4, 8, 4, 2), strict=True
    ):
        y = functional.max_pool2d(y, 2) if pooled else twice(y)
        for unit in group:
            y = unit.convolve(torch.cat([y, functional.max_pool2d(z, stride)], 1))
            z = z + unit.write(y).repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    return network.classify(network.after(torch.cat([twice(y), z], 1)))


def twice(maps: Tensor) -> Tensor:
    """Each pixel, then the mean of it and the next; the last one is its own next."""
    for axis in (2, 3):
        following = torch.cat([maps.narrow(axis, 1, maps.shape[axis] - 1), maps.narrow(axis, -1, 1)], axis)
        maps = torch.stack([maps, (maps + following) / 2], axis + 1).flatten(axis, axis + 1)
    return maps


def test_frrn_is_its_equations() -> None:
    network, image = small_frrn(), torch.rand(1, 3, 16, 24)
    torch.testing.assert_close(network(image).logits, frrn_by_the_equations(network, image))


def test_doubling_puts_each_pixel_in_a_corner() -> None:
    maps = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]])
    expected = [[0, 1, 2, 2], [2, 3, 4, 4], [4, 5, 6, 6], [4, 5, 6, 6]]
    assert frrn.double(maps)[0, 0].tolist() == expected


def test_what_is_filled_up_is_cut_again() -> None:
    network, image = small_frrn(), torch.rand(1, 3, 13, 21)
    filled = functional.pad(image, (0, 3, 0, 3))
    torch.testing.assert_close(network(image).logits, network(filled).logits[..., :13, :21])


def test_the_residual_stream_reaches_the_end_without_the_pooled_one() -> None:
    network, image = small_frrn(), torch.rand(1, 3, 16, 16, requires_grad=True)
    for group in network.groups:
        for unit in group:
            nn.init.zeros_(unit.write.weight)
    before = network(image).logits
    nn.init.normal_(network.groups[0][0].convolve[0][0].weight)  # the pooled stream still joins at the end
    assert not torch.equal(network(image).logits, before)
    with torch.no_grad():
        network.after[0].short.weight[:, : -network.config.lanes] = 0
        network.after[0].convolve[0][0].weight[:, : -network.config.lanes] = 0
    silent = network(image).logits
    nn.init.normal_(network.groups[0][0].convolve[0][0].weight)
    again = network(image).logits
    torch.testing.assert_close(again, silent)
    again.sum().backward()
    assert image.grad.abs().max() > 0
