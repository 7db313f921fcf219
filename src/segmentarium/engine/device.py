"""Where to compute, and why there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch

from segmentarium.errors import BadRecipe, UnknownName


@dataclass(frozen=True)
class Device:
    """A device by torch's name, and the reason for it in words."""

    name: str
    why: str

    @property
    def kind(self) -> str:
        """``cpu``, ``cuda`` or ``mps``."""
        return self.name.partition(":")[0]

    @property
    def index(self) -> int:
        return int(self.name.partition(":")[2] or 0)


def choose_device(request: str = "auto") -> Device:
    """The device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        UnknownName: the request is none of these.
        BadRecipe: it was asked for by name and cannot be used; the reason is told.
    """
    kind, _, index = request.partition(":")
    numbered = kind == "cuda" and index.isdecimal()
    if request not in ("auto", "cpu", "mps", "cuda") and not numbered:
        raise UnknownName.among("device", request, ("auto", "cpu", "cuda", "cuda:1", "mps"))
    if request == "auto":
        return _best()
    trouble = {"cpu": _no_trouble, "cuda": _cuda_trouble, "mps": _mps_trouble}[kind]()
    count = torch.cuda.device_count() if kind == "cuda" and not trouble else 1
    if not trouble and int(index or 0) >= count:
        trouble = f"there are {count} CUDA devices, counted from 0"
    if trouble:
        raise BadRecipe(f"device {request!r} cannot be used: {trouble}", cure="use device auto")
    return Device(request, "asked for by name")


def _best() -> Device:
    no_cuda, no_mps = _cuda_trouble(), _mps_trouble()
    if not no_cuda:
        return Device("cuda", torch.cuda.get_device_name(0))
    if not no_mps:
        return Device("mps", "Apple GPU")
    return Device("cpu", no_cuda)


def _no_trouble() -> str:
    return ""


def _cuda_trouble() -> str:
    """Why CUDA cannot be used, in words; empty if it can."""
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return "this torch has no CUDA build"
    with warnings.catch_warnings():  # an old driver is told by a warning, and by the answer
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            return (
                "the NVIDIA driver does not fit" if torch.cuda.device_count() else "no NVIDIA driver answers"
            )
    try:
        torch.zeros(1, device="cuda").add_(1).item()
    except RuntimeError as error:  # built for other chips, or the device is taken by another process
        return f"the GPU refuses work ({str(error).splitlines()[0]})"
    return ""


def _mps_trouble() -> str:
    return "" if torch.backends.mps.is_available() else "no Apple GPU"
