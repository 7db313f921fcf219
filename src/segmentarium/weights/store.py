"""Weight files: safetensors, written whole or not at all, read with suspicion."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from segmentarium.errors import WeightsMismatch
from segmentarium.values.files import atomic_write


def save_weights(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write ``tensors`` and ``metadata``; the file at ``path`` is the old or the new one, never half of it.

    Raises:
        CannotWrite: no permission or no space.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    atomic_write(Path(path), to_bytes(whole, metadata=dict(metadata)))


def load_weights(path: str | Path, *, sha256: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file.

    Args:
        path: a ``.safetensors`` file; ``.pt`` and ``.pth`` of other programs are read too, tensors only.
        sha256: the digest the file must have, or its first digits, if known.

    Raises:
        WeightsMismatch: the file is missing, damaged, no weight file, or not the one promised.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsMismatch(
            f"there is no weight file {path}", allowed="a .safetensors file", cure="check the path"
        )
    if sha256:
        _require_digest(path, sha256)
    if path.suffix in {".pt", ".pth"}:
        return _load_foreign(path), {}
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsMismatch(
            f"{path} cannot be read as weights ({str(error).splitlines()[0]})",
            allowed="a complete .safetensors file",
            cure="fetch or train it again",
        ) from error


def fit(network: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Give ``network`` exactly ``tensors``: each one it has, none it has not, all of its shapes.

    Args:
        network: stays as it was if the weights are refused.
        tensors: by the names of ``network.state_dict()``.
        where: the file or name the weights came from, for the message.

    Raises:
        WeightsMismatch: names the tensors that are missing, foreign or of another shape, three of each.
    """
    own = network.state_dict()
    faults = {
        "missing": [name for name in own if name not in tensors],
        "foreign": [name for name in tensors if name not in own],
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
            for name in own
            if name in tensors and tensors[name].shape != own[name].shape
        ],
    }
    told = [f"{len(names)} {kind} ({_first(names)})" for kind, names in faults.items() if names]
    if told:
        raise WeightsMismatch(
            f"{where} does not fit the network, of its tensors {', '.join(told)}",
            allowed=f"the {len(own)} tensors of the network",
            cure="build the network these weights were trained with, same variant, classes and channels",
        )
    network.load_state_dict(dict(tensors), strict=True)


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _require_digest(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(sha256.lower()):
        raise WeightsMismatch(
            f"{path} has the SHA-256 {digest[:12]}...",
            allowed=f"{sha256[:12]}..., as its card says",
            cure="it was changed or damaged on the way: delete it and fetch it again",
        )


def _load_foreign(path: Path) -> dict[str, Tensor]:
    """Tensors of a pickle, read without running it, perhaps kept under ``state_dict`` or ``model``."""
    import torch

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files it does not trust or understand
        raise WeightsMismatch(
            f"{path} holds more than tensors, or is damaged",
            allowed="a dictionary of tensors",
            cure="save its state_dict alone, best as .safetensors",
        ) from error
    for key in ("state_dict", "model"):
        held = held.get(key, held) if isinstance(held, dict) else held
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
        raise WeightsMismatch(
            f"{path} is no dictionary of tensors", allowed="a state_dict", cure="save that instead"
        )
    return held
