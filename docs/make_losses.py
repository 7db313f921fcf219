"""Make ``docs/losses.md`` from the losses in the code.

    python docs/make_losses.py

A test makes the page again and compares.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path

from segmentarium.losses import TERMS, Sum
from segmentarium.losses.overlap import Overlap

HERE = Path(__file__).parent

HEAD = """# Losses

Every loss by the name that recipes use. This page is made from the code by `python docs/make_losses.py`; do
not edit it.

```toml
[train]
loss = { cross_entropy = 1.0, dice = 0.5, focal = { weight = 2.0, gamma = 3.0 } }
```

```python
from segmentarium.losses import CrossEntropy, Dice

loss = CrossEntropy() + 0.5 * Dice()
value = loss(logits, labels)          # also loss(logits, labels, weight=..., class_weights=...)
```

| task | logits | labels | probability |
|---|---|---|---|
| multi-class | `(b, k, *s)` | `(b, *s)`, class indices | softmax |
| binary | `(b, 1, *s)` | `(b, *s)`, 0 or 1 | sigmoid |
| multi-label | `(b, k, *s)` | `(b, k, *s)`, 0 or 1 | sigmoid |

Space may have any number of axes (losses that look at shapes want two or three). A label below zero is void:
whatever stands there, also in the logits, changes neither value nor gradient. Where everything is void the
loss is 0 and so is its gradient. However many losses are added, the softmax is computed once, and nothing of
the size of the logits is kept for the way back. Half precision is computed in single precision. Under DDP the
sums are those of all processes, except in `lovasz` and the losses that sort or look at shapes.
"""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for name, made in TERMS.items():
        lines += entry(name, made)
    lines += [
        "## Overlap losses",
        "",
        *_paragraphs(_told(inspect.getdoc(Overlap) or "").split("Attributes:")[0]),
        "",
    ]
    lines += _attributes(inspect.getdoc(Overlap) or "")
    return "\n".join(lines).rstrip() + "\n"


def entry(name: str, made: object) -> list[str]:
    """One loss."""
    whole = made.func if isinstance(made, partial) else made
    doc, _, source = _told(inspect.getdoc(whole) or "").partition("Source:")
    first = doc.split("Attributes:")[0]
    lines = [f"## `{name}`", "", *_paragraphs(first), ""]
    loss = made()  # type: ignore[operator]
    if isinstance(loss, Sum):
        lines += [
            "Parts: " + ", ".join(f"{weight:g} x {_shown(part)}" for weight, part in loss.parts) + ".",
            "",
        ]
    else:
        settings = ", ".join(f"`{f.name} = {getattr(loss, f.name)!r}`" for f in fields(loss))
        lines += [f"Settings: {settings}.", ""] if settings else []
        lines += _attributes(doc)
        if isinstance(loss, Overlap):
            lines += ["The other settings are those of [all overlap losses](#overlap-losses).", ""]
    if source:
        lines += [f"Source: {' '.join(source.split())}", ""]
    return lines


def _told(doc: str) -> str:
    """The docstring, or that of the function which it points at."""
    pointed = re.search(r"[Ss]ee :func:`([\w.]+)`", doc)
    if pointed:
        module, _, name = pointed[1].rpartition(".")
        doc = inspect.getdoc(getattr(import_module(module), name)) or doc
        doc = re.sub(r"(Args|Raises):\n(?:    .*\n|\n(?=    ))*", "", doc)
    return re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", doc)


def _paragraphs(text: str) -> list[str]:
    return [line.replace("``", "`") for line in text.strip().splitlines()]


def _attributes(doc: str) -> list[str]:
    """The lines below ``Attributes:`` as a list; continued lines are joined."""
    if "Attributes:" not in doc:
        return []
    entries: list[str] = []
    for line in doc.split("Attributes:")[1].splitlines():
        text = line.strip()
        if text and len(line) - len(line.lstrip()) <= 4:
            entries.append(text)
        elif text:
            entries[-1] += f" {text}"
    parts = [entry.replace("``", "`").partition(":") for entry in entries]
    return [f"- `{name}`: {words.strip()}" for name, _, words in parts] + [""]


def _shown(loss: object) -> str:
    plain = {f.name: f.default for f in fields(loss)}  # type: ignore[arg-type]
    told = [f"{key}={getattr(loss, key)!r}" for key, value in plain.items() if getattr(loss, key) != value]
    return f"`{type(loss).__name__}({', '.join(told)})`"


if __name__ == "__main__":
    (HERE / "losses.md").write_text(page(), encoding="utf-8")
