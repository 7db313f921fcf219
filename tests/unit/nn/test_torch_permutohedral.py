"""The lattice in PyTorch: equal to its obvious twin, exact gradients, and what it refuses."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.nn import permutohedral
from segmentarium.nn.permutohedral import CompiledLattice, Lattice, lattice_of

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))

from permutohedral_twin import TwinLattice


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def largest_error(seen: Tensor, expected: Tensor) -> float:
    return ((seen - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.atlas("R10")
@pytest.mark.parametrize(("dimensions", "reverse"), list(product((1, 2, 3, 5, 8, 15), (False, True))))
def test_equals_the_twin(dimensions: int, reverse: bool) -> None:
    features, values = 2 * drawn(250, dimensions), drawn(250, 4, seed=1)
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-6)):
        held, given = features.to(dtype), values.to(dtype)
        twin = TwinLattice(held.numpy(), kind=held.numpy().dtype.type)
        lattice = Lattice(held[None])
        assert lattice.count == len(twin.keys)
        expected = torch.from_numpy(twin.filter(given.numpy(), reverse=reverse))
        assert largest_error(lattice.filter(given[None], reverse=reverse)[0], expected) < tolerance


@pytest.mark.atlas("R10")
def test_ties_go_to_the_even_multiple() -> None:
    grid = torch.cartesian_prod(*[torch.arange(-2, 3) / 2] * 3).float()
    expected = TwinLattice(grid.numpy()).filter(np.ones((len(grid), 1), np.float32))
    seen = Lattice(grid[None]).filter(torch.ones(1, len(grid), 1))
    assert largest_error(seen[0], torch.from_numpy(expected)) < 1e-6


@pytest.mark.atlas("R10")
def test_the_compiled_lattice_is_the_same() -> None:
    features, values = (
        3 * drawn(2, 400, 5, dtype=torch.float32),
        drawn(2, 400, 3, seed=1, dtype=torch.float32),
    )
    compiled = lattice_of(features)
    assert isinstance(compiled, CompiledLattice)
    for reverse in (False, True):
        expected = Lattice(features).filter(values, reverse=reverse)
        assert largest_error(compiled.filter(values, reverse=reverse), expected) < 1e-6


def test_more_dimensions_than_the_loops_know_are_left_to_the_plain_lattice() -> None:
    features = drawn(1, 40, 20, dtype=torch.float32)
    assert type(lattice_of(features)) is Lattice
    assert type(lattice_of(features.double())) is Lattice


def test_a_batch_is_its_pictures() -> None:
    features, values = 2 * drawn(3, 100, 3), drawn(3, 100, 2, seed=1)
    together = Lattice(features).filter(values)
    apart = [Lattice(one[None]).filter(some[None]) for one, some in zip(features, values, strict=True)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-12, atol=1e-12)


@pytest.mark.atlas("R11")
def test_the_adjoint_blurs_in_reverse() -> None:
    lattice = Lattice(1.5 * drawn(1, 300, 5))
    a, b = drawn(1, 300, 2, seed=1), drawn(1, 300, 2, seed=2)
    product_, adjoint = (b * lattice.filter(a)).sum(), (lattice.filter(b, reverse=True) * a).sum()
    assert abs(product_ - adjoint) < 1e-12 * abs(product_)
    forward = (lattice.filter(b) * a).sum()
    assert abs(product_ - forward) > 1e-4 * abs(product_), "here the direction must matter"


@pytest.mark.atlas("R11")
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_values_are_exact(reverse: bool) -> None:
    lattice = Lattice(drawn(1, 60, 5))
    values = drawn(1, 60, 1, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: lattice.filter(v, reverse=reverse), values)


@pytest.mark.atlas("R11")
def test_gradients_of_the_compiled_lattice() -> None:
    features = drawn(1, 200, 5, dtype=torch.float32)
    values = drawn(1, 200, 2, seed=1, dtype=torch.float32)
    gradients = []
    for lattice in (CompiledLattice(features), Lattice(features)):
        learned = values.clone().requires_grad_()
        (lattice.filter(learned) * values.flip(1)).sum().backward()
        gradients.append(learned.grad)
    assert largest_error(*gradients) < 1e-6


def test_features_get_no_gradient() -> None:
    features = drawn(1, 20, 2).requires_grad_()
    assert not Lattice(features).filter(torch.ones(1, 20, 1, dtype=torch.float64)).requires_grad


def test_equal_features_give_multiples_of_one() -> None:
    feature = drawn(1, 1, 3)
    one, three = (Lattice(feature.expand(1, n, 3)).filter(feature.new_ones(1, n, 1)) for n in (1, 3))
    torch.testing.assert_close(three, 3 * one.expand(1, 3, 1))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_refuses_what_is_nowhere(bad: float, dtype: torch.dtype) -> None:
    features = torch.zeros(1, 4, 2, dtype=dtype)
    features[0, 1, 1] = bad
    with pytest.raises(BadArgument, match="finite"):
        lattice_of(features)


def test_refuses_features_too_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    features = 50 * drawn(1, 20, 3)
    monkeypatch.setattr(permutohedral, "_ROOM", 2**20)  # words of few digits: numbered in several steps
    torch.testing.assert_close(Lattice(features).filter(features), whole(features), rtol=1e-12, atol=1e-12)
    with pytest.raises(BadArgument, match="apart"):
        Lattice(1000 * features)


def whole(features: Tensor) -> Tensor:
    """What the twin makes of features as values of their own."""
    return torch.from_numpy(TwinLattice(features[0].numpy(), kind=np.float64).filter(features[0].numpy()))[
        None
    ]
