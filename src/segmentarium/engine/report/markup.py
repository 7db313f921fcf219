"""Elements of HTML and SVG. Text is escaped unless it is markup already, so a file name can do no harm."""

from __future__ import annotations

from html import escape
from typing import Any, TypeAlias

Part: TypeAlias = str | int | float | list[Any] | tuple[Any, ...] | None

Number: TypeAlias = float | int
"""JSON writes 1.0 as 1, so figures from files may be either."""

_WITHOUT_END = frozenset({"br", "hr", "img", "meta", "link", "input"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *parts: Part, **attributes: str | int | float | bool | None) -> Markup:
    """One element; lists among ``parts`` are laid out flat, None is left out.

    ``class_`` and ``for_`` lose their underscore, other underscores become dashes. An attribute that is None
    or False is left out, one that is True stands alone.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _WITHOUT_END:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(*parts)}</{tag}>")


def join(*parts: Part) -> Markup:
    """Parts one after the other, escaped where they are not markup."""
    return Markup("".join(_text(part) for part in parts))


def number(value: Number | None, digits: int = 3) -> str:
    """A score for the eye: ``0.842``; a dash where it is undefined."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(share: Number | None) -> str:
    """``12.3%``, with more digits for small shares."""
    if share is None:
        return "–"
    scaled = 100 * share
    if scaled in (0, 100):
        return f"{scaled:.0f}%"
    return f"{scaled:.1f}%" if scaled >= 1 else f"{scaled:.2g}%"


def duration(seconds: Number) -> str:
    """``0.8 s``, ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def shortened(text: str, *, most: int = 18) -> str:
    """At most so many letters, the last an ellipsis where some are left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def thousands(count: Number) -> str:
    """``1 234 567`` with thin spaces."""
    return f"{round(count):,}".replace(",", "\u2009")


def _attribute(name: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{escape(shown)}"'


def _text(part: Part) -> str:
    if part is None:
        return ""
    if isinstance(part, Markup):
        return part
    if isinstance(part, list | tuple):
        return "".join(_text(inner) for inner in part)
    return escape(str(part))
