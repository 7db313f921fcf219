"""What every method asks of its keywords, in one place: words that exist, finite numbers, a seed that can be.

The range of a number is its method's own matter. Every method takes a ``seed``, also where nothing is random.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from numbers import Real
from typing import Any, Literal

import numpy as np

from segmentarium.errors import BadArgument, OutOfMemory, UnknownName

Method = Callable[..., Any]

MOST_SEED = 2**32 - 1
"""More do not fit the generators of the libraries that we stand on."""

MOST = 1e12
"""Numbers beyond it mean nothing to any method, and powers of them overflow."""

SEED = inspect.Parameter("seed", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=int)


def checked(method: Method) -> Method:
    """``method``, whose keywords are looked at before it runs.

    Raises:
        UnknownName: an option that is none of the words allowed.
        BadArgument: a number that is not finite, not whole where it must be, or a negative seed.
        OutOfMemory: what was asked for does not fit.
    """
    signature = inspect.signature(method)
    random = SEED.name in signature.parameters

    @wraps(method)
    def asked(*args: Any, **settings: Any) -> Any:
        require(method, settings)
        if not random:
            settings.pop(SEED.name, None)
        try:
            return method(*args, **settings)
        except MemoryError as error:
            raise OutOfMemory(
                f"{method.__name__} needs more memory than there is",
                allowed="what fits",
                cure="give a smaller picture or smaller numbers",
            ) from error

    if not random:
        parameters = [*signature.parameters.values(), SEED]
        asked.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return asked


def require(method: Method, settings: Mapping[str, Any]) -> None:
    """Refuse what :func:`checked` refuses; names that ``method`` does not know are not looked at."""
    kinds = _kinds_of(method)
    for name, value in settings.items():
        if name in kinds and value is not None:
            _require_one(name, value, kinds[name])


@cache
def _kinds_of(method: Method) -> dict[str, frozenset[Any]]:
    hints = typing.get_type_hints(inspect.unwrap(method)) | {SEED.name: int}
    return {name: frozenset(_leaves(hint)) for name, hint in hints.items()}


def _leaves(hint: Any) -> Iterator[Any]:
    """What an annotation is made of: ``tuple[int, ...] | None`` of int and None; literals stay whole."""
    inner = () if typing.get_origin(hint) is Literal else typing.get_args(hint)
    if not inner:
        yield hint
    for one in inner:
        yield from _leaves(one)


def _require_one(name: str, value: Any, kinds: frozenset[Any]) -> None:
    words = [word for kind in kinds if typing.get_origin(kind) is Literal for word in typing.get_args(kind)]
    if isinstance(value, str) and words and value not in words:
        raise UnknownName.among(name, value, words)
    if any(getattr(kind, "array_type", None) is np.ndarray for kind in kinds):
        _require_map(name, value)
    for number in _flat(value):
        _require_number(name, number, whole=int in kinds and float not in kinds)
    if name == SEED.name and not (isinstance(value, int | np.integer) and 0 <= value <= MOST_SEED):
        raise BadArgument(f"seed = {value}", allowed=f"0 to {MOST_SEED}")


def _require_map(name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iub":
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise BadArgument(f"{name} of type {kind}", allowed="a NumPy array of whole numbers")


def _flat(value: Any) -> Iterator[Any]:
    """The numbers in it."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from _flat(one)
    elif isinstance(value, Real):
        yield value


def _require_number(name: str, number: Any, *, whole: bool) -> None:
    if not abs(number) <= MOST:  # so that NaN is refused too
        raise BadArgument(f"{name} = {number:g}", allowed=f"finite numbers up to {MOST:g}")
    if whole and number != int(number):
        raise BadArgument(f"{name} = {number}", allowed="whole numbers")
