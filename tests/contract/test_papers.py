"""Rung 2: every paper keeps the contract of models/."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import segmentarium.models as registry
from segmentarium.errors import SegError
from segmentarium.nn import Semantic, geometry_of
from segmentarium.weights import fit, load_weights, read_card, save_weights

PAPERS = registry.architectures()
FOLDER = Path(registry.__file__).parent
NAMES = [f"{paper}-{variant}" for paper in PAPERS for variant in registry.variants(paper)]
COUNTED = [f"{paper}-{variant}" for paper in PAPERS for variant in read_card(paper).variants]
TINY = [f"{paper}-tiny" for paper in PAPERS]


def smallest(network: nn.Module, side: int) -> int:
    return geometry_of(network).input_side(side)


def picture(
    network: nn.Module, *, batch: int = 1, channels: int = 3, height: int = 33, width: int = 47
) -> torch.Tensor:
    draw = torch.Generator().manual_seed(7)
    return torch.rand(batch, channels, smallest(network, height), smallest(network, width), generator=draw)


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(params=TINY)
def tiny(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(3)
    return registry.build(request.param, classes=4).eval()


@pytest.mark.parametrize("paper", PAPERS)
def test_the_file_has_a_head_a_tiny_variant_and_a_measure(paper: str) -> None:
    text = (FOLDER / f"{paper}.py").read_text(encoding="utf-8")
    head = ast.get_docstring(ast.parse(text)) or ""
    assert all(f"\n{word} " in head for word in ("Paper", "Origin", "Weights"))
    assert text.count("\n") <= 400
    assert "tiny" in registry.variants(paper)
    assert set(registry.variants(paper)) <= set(read_card(paper).variants)


@pytest.mark.parametrize("name", COUNTED)
def test_has_as_many_parameters_as_its_card_says(name: str) -> None:
    paper, variant = name.split("-")
    assert registry.count_parameters(name) == read_card(paper).parameters(variant)


@pytest.mark.parametrize("name", TINY)
def test_tiny_is_tiny_and_quick(name: str) -> None:
    assert registry.count_parameters(name) < 1_000_000
    network = registry.build(name, classes=4).eval()
    image = picture(network, height=128, width=128)
    times = []
    with one_thread(), torch.inference_mode():
        for _ in range(4):
            begin = time.process_time()
            network(image)
            times.append(time.process_time() - begin)
    assert min(times) < 0.2


def test_learns(tiny: nn.Module) -> None:
    output = tiny.train()(picture(tiny, batch=2))
    output.logits.square().mean().backward()
    gradients = {name: p.grad for name, p in tiny.named_parameters()}
    assert not [name for name, g in gradients.items() if g is None or not g.isfinite().all()]


@pytest.mark.parametrize("size", [(33, 47), (64, 64), (1, 1), (1, 70), (130, 7)])
def test_takes_any_size(tiny: nn.Module, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        output = tiny(picture(tiny, height=size[0], width=size[1]))
    assert isinstance(output, Semantic)
    assert output.logits.shape[:2] == (1, 4)
    assert output.logits.isfinite().all()


def test_a_batch_is_its_images(tiny: nn.Module) -> None:
    images = picture(tiny, batch=2)
    with torch.inference_mode():
        together = tiny(images).logits
        apart = torch.cat([tiny(image[None]).logits for image in images])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_answers_the_same_twice(tiny: nn.Module) -> None:
    image = picture(tiny)
    with torch.inference_mode():
        assert torch.equal(tiny(image).logits, tiny(image).logits)


def test_is_saved_and_loaded(tiny: nn.Module, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", tiny.state_dict(), {"made": "here"})
    tensors, facts = load_weights(tmp_path / "w.safetensors")
    other = type(tiny)(tiny.config).eval()
    fit(other, tensors, where="w.safetensors")
    image = picture(tiny)
    with torch.inference_mode():
        assert torch.equal(tiny(image).logits, other(image).logits)
    assert facts == {"made": "here"}


@pytest.mark.parametrize("shape", [(1, 4, 64, 64), (1, 1, 64, 64), (2, 6, 64, 64)])
def test_says_what_it_cannot_take(tiny: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(SegError, match="3 channels"):
        tiny(torch.zeros(shape))


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_is_built_for_any_channels(channels: int) -> None:
    for name in TINY:
        network = registry.build(name, classes=3, in_channels=channels).eval()
        with torch.inference_mode():
            assert network(picture(network, channels=channels)).logits.shape[1] == 3


def test_takes_half_precision_and_channels_last(tiny: nn.Module) -> None:
    image = picture(tiny)
    with torch.inference_mode():
        full = tiny(image).logits
        last = tiny.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last)).logits
        half = tiny.bfloat16()(image.bfloat16()).logits
    torch.testing.assert_close(last, full, rtol=1e-3, atol=1e-4)
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()


@pytest.mark.filterwarnings("ignore")
def test_is_exported(tiny: nn.Module) -> None:
    image = picture(tiny)
    exported = torch.export.export(tiny, (image,)).module()
    with torch.inference_mode():
        torch.testing.assert_close(exported(image).logits, tiny(image).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_is_built_as_asked(name: str) -> None:
    with torch.device("meta"):
        network = registry.build(name, classes=7, in_channels=5)
        output = network(torch.zeros(1, 5, smallest(network, 64), smallest(network, 96)))
    assert output.logits.shape[:2] == (1, 7)
