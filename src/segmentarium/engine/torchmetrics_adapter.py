"""Our metrics as torchmetrics' ``Metric``: for Lightning, ``MetricCollection`` and training on several GPUs.

    metric = as_torchmetrics(Regions(19, ignore=255))
    metric.update(labels, truth)          # tensors (b, h, w), on any device
    metric.compute()["mean_iou"]          # over all processes

Any metric will do that has ``update``, ``merge``, ``compute`` and ``reset``. torchmetrics itself is needed
only here.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from segmentarium.errors import BadArgument

if TYPE_CHECKING:
    from torchmetrics import Metric


@runtime_checkable
class Additive(Protocol):
    """What every metric of ours is."""

    def update(self, *pair: Any, **more: Any) -> None: ...

    def merge(self, other: Any, /) -> None: ...

    def compute(self) -> Any: ...

    def reset(self) -> None: ...


def as_torchmetrics(metric: object, *, batched: bool = True) -> Metric:
    """Wrap a metric of ours; it is copied, so that the original stays as it is.

    ``compute`` hands out what of the result's ``as_dict`` is one number, as tensors; undefined is nan.
    ``compute_result`` hands out the result itself.

    Args:
        batched: ``update`` takes batches, and each item of them is one image.

    Raises:
        BadArgument: torchmetrics is not installed, or this is no metric of ours.
    """
    if not isinstance(metric, Additive):
        raise BadArgument(f"metric: {type(metric).__name__}", allowed="update, merge, compute and reset")
    wrapped: Metric = _adapter()(copy.deepcopy(metric), batched=batched)
    return wrapped


@cache
def _adapter() -> Any:
    """The class, made when it is first wanted: torchmetrics takes seconds to import."""
    try:
        from torchmetrics import Metric
    except ImportError as error:
        raise BadArgument(
            "torchmetrics cannot be imported", allowed="1.0 or later", cure="pip install torchmetrics"
        ) from error

    class Adapted(Metric):
        """State is one object, ``metric``, that is copied, merged and gathered as a whole."""

        full_state_update = True
        metric: Any

        def __init__(self, metric: Any, *, batched: bool, **settings: Any) -> None:
            super().__init__(**settings)
            self.metric, self.batched = metric, batched

        def update(self, *tensors: Any, **more: Any) -> None:
            arrays = [_array(each) for each in tensors]
            named = {name: _array(value) for name, value in more.items()}
            for item in zip(*arrays, strict=True) if self.batched else [arrays]:
                self.metric.update(*item, **named)

        def compute(self) -> dict[str, Tensor]:
            return _numbers(self.metric.compute(), self.device)

        def compute_result(self) -> Any:
            """The result itself, with classes, images and intervals, over all processes."""
            with self.sync_context(should_sync=self._to_sync, should_unsync=self._should_unsync):
                return self.metric.compute()

        def reset(self) -> None:
            super().reset()
            self.metric = copy.deepcopy(self.metric)  # others may hold on to it: a cache, a clone
            self.metric.reset()

        def merge_state(self, incoming_state: Any) -> None:
            other = incoming_state["metric"] if isinstance(incoming_state, dict) else incoming_state.metric
            self.metric.merge(other)
            self._computed = None

        def _copy_state_dict(self) -> dict[str, Any]:
            return {"metric": copy.deepcopy(self.metric)}

        def _sync_dist(self, dist_sync_fn: Any = None, process_group: Any = None) -> None:
            gathered = _gathered(self.metric, process_group or self.process_group)
            self.metric = copy.deepcopy(gathered[0])  # in the order of ranks, the same everywhere
            for other in gathered[1:]:
                self.metric.merge(other)

    return Adapted


def _gathered(metric: Any, group: Any) -> list[Any]:
    """The metric of each process, in the order of ranks."""
    metrics: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(metrics, metric, group=group)
    return metrics


def _array(value: Any) -> Any:
    """NumPy's view of a tensor; bfloat16, which NumPy lacks, becomes float32."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _numbers(result: Any, device: torch.device) -> dict[str, Tensor]:
    """What of a result is one number: None is nan, "inf" is infinite, words and tables are left out."""
    found = result.as_dict()
    return {
        name: torch.tensor(float("nan") if value is None else float(value), device=device)
        for name, value in found.items()
        if value is None or value == "inf" or (isinstance(value, float | int) and not isinstance(value, bool))
    }
