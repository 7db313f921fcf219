"""Make ``docs/classical.md``: every classical method on pictures that it does well on and fails on.

    python docs/make_classical.py             # the page
    python docs/make_classical.py --pictures [NAME ...]

What is drawn and said stands in ``classical.toml``; names, settings and first lines come from the code.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

from PIL import Image as Pil

from segmentarium.engine.classic import picture_of
from segmentarium.engine.methods import Method, method, methods
from segmentarium.values import Image, LabelMap, as_image

DOCS = Path(__file__).parent
WIDTH = 420
"""Of a drawn picture on the page, in pixels; partitions are twice as wide."""

HEAD = """# Classical methods

Segmentation without learning, by `seg classic METHOD IMAGE` or `segmentarium.classical.METHOD(image)`. Each
method with a picture on which it does well, and one on which it fails; partitions are drawn by their borders
and their mean colours. This page is made by `python docs/make_classical.py`; do not edit it. The pictures are
scikit-image's `astronaut`, `camera`, `chelsea`, `coffee` and `coins`, which anyone may use.
"""


def told() -> dict[str, dict[str, dict[str, Any]]]:
    """What is drawn and said of each method."""
    return tomllib.loads((DOCS / "classical.toml").read_text(encoding="utf-8"))


def page() -> str:
    """The text of the page."""
    sections = told()
    parts = [HEAD]
    for family, names in methods().items():
        parts.append(f"## {family.capitalize()}\n")
        parts += [section(method(name), sections.get(name, {})) for name in names]
    return "\n".join(parts)


def section(one: Method, examples: dict[str, dict[str, Any]]) -> str:
    lines = [f"### {one.name}\n", f"{one.line}\n"]
    for kind, title in (("good", "Does well"), ("bad", "Fails")):
        if kind in examples:
            example = examples[kind]
            lines.append(f"**{title}.** {example['says']}\n")
            lines += [f"`{words}`\n" for words in commands(one.name, example)]
            lines.append(f"![{one.name} on {example['picture']}](classical/{one.name}_{kind}.jpg)\n")
    return "\n".join(lines)


def commands(name: str, example: dict[str, Any]) -> list[str]:
    """The example as a user types it; a method that needs a first guess comes after the one that makes it."""
    picture, first = example["picture"], example.get("first")
    if not first:
        return [command(name, picture, example["settings"])]
    guess = f"{command(first['method'], picture, first['settings'])} -o first"
    return [guess, f"{command(name, picture, example['settings'])} --seeds first/{picture}.png --unknown 255"]


def command(name: str, picture: str, settings: dict[str, Any]) -> str:
    words = [f"seg classic {name} {picture}.png"]
    for key, value in settings.items():
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list) and value and isinstance(value[0], list):
            words += [f"--{flag} {x},{y}" for x, y in value]
        else:
            words.append(f"--{flag} {','.join(map(str, value)) if isinstance(value, list) else value}")
    return " ".join(words)


def draw(name: str, kind: str, example: dict[str, Any]) -> None:
    from skimage import data

    image = as_image(getattr(data, example["picture"])())
    settings = {key: as_given(value) for key, value in example["settings"].items()}
    guess = first_guess(image, example["first"]) if "first" in example else None
    if guess is not None:
        settings |= {"seeds": guess.labels, "unknown": 255}
    drawn = picture_of(method(name).call(image, **settings), image)
    if guess is not None:
        drawn = beside(picture_of(guess, image), drawn)
    width = 2 * WIDTH if drawn.width > 1.5 * image.size[1] else WIDTH
    small = drawn.resize((width, round(drawn.height * width / drawn.width)), Pil.Resampling.LANCZOS)
    (DOCS / "classical").mkdir(exist_ok=True)
    small.convert("RGB").save(DOCS / "classical" / f"{name}_{kind}.jpg", quality=82)


def first_guess(image: Image, first: dict[str, Any]) -> LabelMap:
    return method(first["method"]).call(image, **{k: as_given(v) for k, v in first["settings"].items()})


def beside(left: Pil.Image, right: Pil.Image) -> Pil.Image:
    both = Pil.new("RGB", (left.width + right.width, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both


def as_given(value: Any) -> Any:
    """Lists of numbers are tuples, lists of lists are points."""
    if not isinstance(value, list):
        return value
    return [tuple(one) for one in value] if value and isinstance(value[0], list) else tuple(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pictures", nargs="*", metavar="NAME", help="draw those of all, or of these methods"
    )
    words = parser.parse_args()
    if words.pictures is not None:
        for name, examples in told().items():
            if not words.pictures or name in words.pictures:
                for kind, example in examples.items():
                    draw(name, kind, example)
                    print(name, kind, flush=True)
    (DOCS / "classical.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
