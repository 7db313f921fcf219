"""Record the region mutual information loss of NVIDIA/semantic-segmentation: ``record_rmi.py CLONE``.

Nothing of the clone is kept but numbers. Its calls to CUDA's double type and to the former name of Cholesky's
decomposition are led to what torch has on a CPU; its configuration and apex are replaced by empty modules.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from safetensors.torch import save_file
from test_rmi import CASES, RECORD, scene
from torch import Tensor


def reference(clone: Path) -> type:
    sys.path.insert(0, str(clone))
    for name, content in (
        ("config", {"cfg": SimpleNamespace(TRAIN=SimpleNamespace(FP16=False))}),
        ("apex", {"amp": None}),
    ):
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(content)
    torch.cuda.DoubleTensor = torch.DoubleTensor
    torch.cholesky = torch.linalg.cholesky
    return import_module("loss.rmi").RMILoss


def record(loss: type) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, case in CASES.items():
        logits, labels = scene(case)
        logits.requires_grad_()
        told = labels.masked_fill(labels < 0, 255)
        value = loss(num_classes=case.classes)(logits, told)
        found[f"{name}.loss"] = value.detach()
        found[f"{name}.entropy"] = loss(num_classes=case.classes)(logits, told, do_rmi=False).detach()
        value.backward()
        assert logits.grad is not None
        found[f"{name}.gradient"] = logits.grad[:, :, ::3, ::4].contiguous()
    return found


if __name__ == "__main__":
    save_file(record(reference(Path(sys.argv[1]))), RECORD)
