"""Sections on where a run comes from: provenance, data, plan, cost, and how to do it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segmentarium.engine.report.bars import share_bar
from segmentarium.engine.report.folder import RunFiles, Table
from segmentarium.engine.report.inline import inlined
from segmentarium.engine.report.markup import (
    Markup,
    Number,
    Part,
    duration,
    element,
    join,
    number,
    percent,
    thousands,
)


def provenance(run: RunFiles) -> Markup:
    """Command, seed, hashes, versions, hardware, licences."""
    env = {key: value for key, value in run.env.items() if key not in _TOLD_APART}
    model = run.summary.get("provenance", {}).get("model", {})
    known = {
        "Command": element("code", run.command) if run.command else None,
        "Seed": run.recipe.get("seed"),
        "Model": run.recipe.get("model") or model.get("name"),
        "Commit": run.env.get("commit"),
        "Hash of the data": _hashes(run.card),
        "Terms of the data": run.summary.get("provenance", {}).get("data", {}).get("terms"),
        "Licence of the weights": model.get("licence"),
    }
    shown = {key: "not recorded" if value in (None, "") else value for key, value in known.items()}
    packages = ", ".join(f"{name} {version}" for name, version in run.env.get("versions", {}).items())
    machine = {_WORDS.get(key, key): value for key, value in flat(env).items()}
    return facts({**shown, **machine, "Packages": packages or "not recorded"})


_TOLD_APART = ("command", "commit", "versions", "device", "why")
_WORDS = {
    "python": "Python",
    "system": "System",
    "processor": "Processor",
    "cores": "Cores",
    "memory_gb": "Memory (GB)",
    "torch_threads": "Threads",
}


def _hashes(card: Table) -> str:
    """SHA-256 over images, masks and classes, by split where that was recorded."""
    splits = card.get("splits") or ({"train": card["content"]} if card.get("content") else {})
    return ", ".join(f"{name} {str(digest)[:16]}…" for name, digest in splits.items())


def data_card(run: RunFiles) -> Markup:
    """Name, sizes, classes with their shares, and what the data set doctor found."""
    card = run.card
    if not card:
        return join(absent("dataset_fingerprint.json"), findings(run))
    rows = _card_rows(run, card)
    notes = [
        element("li", note) for note in run.summary.get("provenance", {}).get("data", {}).get("notes", [])
    ]
    return join(
        facts({key: value for key, value in rows.items() if value}),
        element("ul", notes) if notes else None,
        _shares(run, card),
        findings(run),
    )


def _card_rows(run: RunFiles, card: Table) -> dict[str, str]:
    images = card.get("images") or {split: len(stems) for split, stems in run.splits.items()}
    sizes = {which: " × ".join(map(str, size[::-1])) for which, size in card.get("sizes", {}).items()}
    flat = all(len(size) == 2 for size in card.get("sizes", {}).values())
    axes = " (width × height)" if flat else " (width × height × depth)"
    rows = {
        "Name": card.get("name", ""),
        "Layout": card.get("layout", ""),
        "Images": ", ".join(f"{count} {split}" for split, count in images.items()),
        "Split": card.get("splitting", ""),
        "Shared by splits": _leakage(run.check),
        "Sizes": ", ".join(f"{which} {size}" for which, size in sizes.items()) + axes if sizes else "",
        "Channels": f"{card['channels']}, {card.get('dtype')}" if "channels" in card else "",
        "Void": f"{percent(card['void_share'])} of the pixels" if "void_share" in card else "",
    }
    return {key: value for key, value in rows.items() if value}


def _shares(run: RunFiles, card: Table) -> Markup | None:
    """Pixel share of each class as a bar, and in how many images it is."""
    shares: Mapping[str, float] = card.get("class_share", {})
    if not shares:
        return None
    images: Mapping[str, float] = card.get("class_images", {})
    colors = {entry["name"]: entry.get("color") for entry in run.classes}
    most = max(shares.values()) or 1.0
    rows = [
        element(
            "tr",
            element("th", swatch(colors.get(name)), name, scope="row"),
            element("td", share_bar(share / most), class_="wide"),
            element("td", percent(share)),
            element("td", percent(images.get(name))),
        )
        for name, share in shares.items()
    ]
    head = ("Class", "", "Pixels", "Images with it")
    return join(element("h3", "Classes in the training images"), table(head, rows, class_="shares"))


def _leakage(check: Table) -> str:
    """Whether pictures stand in two splits, as far as the doctor looked."""
    if not check:
        return ""
    leaks = [f["message"] for f in check.get("findings", []) if "across-splits" in f.get("fault", "")]
    return "; ".join(leaks) or "no picture, compared pixel by pixel and by likeness"


def findings(run: RunFiles) -> Markup:
    """What the data set doctor found, worst first, each with its picture."""
    if not run.check:
        return join(element("h3", "Check of the data"), absent("check.json"))
    found = sorted(run.check.get("findings", []), key=lambda finding: finding.get("severity") != "error")
    if not found:
        return join(element("h3", "Check of the data"), element("p", "No fault was found.", class_="good"))
    items = [
        element(
            "li",
            element("strong", finding.get("severity", "warning")),
            f" {finding.get('fault', '')}: {finding.get('message', '')}.",
            f" Cure: {finding['cure']}." if finding.get("cure") else None,
            _illustration(run, finding),
            class_=f"finding {finding.get('severity', 'warning')}",
        )
        for finding in found
    ]
    return join(element("h3", "Check of the data"), element("ul", items, class_="findings"))


def _illustration(run: RunFiles, finding: Table) -> Markup | None:
    """The doctor's picture of a finding, if it lies in the run folder."""
    path = run.path / "check" / Path(finding.get("picture") or "").name
    try:
        source = inlined(path)
    except (OSError, ValueError):
        return None
    what = f"{finding.get('fault', 'finding')}: image and mask"
    return element("img", src=source, alt=what, loading="lazy", class_="illustration")


def plan(run: RunFiles) -> Markup:
    """The recipe, with the reason of each choice where a plan was made."""
    reasons: Mapping[str, str] = run.plan.get("reasons", {})
    settings = flat(run.recipe)
    if not settings and not reasons:
        return absent("recipe.toml")
    rows = [
        element(
            "tr",
            element("th", element("code", key), scope="row"),
            element("td", _shown(value)),
            element("td", reason),
        )
        for key, value, reason in _choices(settings, reasons)
    ]
    forecast = _forecast(run.plan.get("forecast") or {})
    rest = [key for key in settings if not _reason(key, reasons)]
    others = [
        element("tr", element("th", element("code", k), scope="row"), element("td", _shown(settings[k])))
        for k in rest
    ]
    return join(
        table(("Setting", "Value", "Why"), rows, class_="plan")
        if rows
        else element("p", "No reasons were recorded."),
        element(
            "details",
            element("summary", f"{len(rest)} further settings" if rows else "The settings"),
            table(("Setting", "Value"), others),
            open=not rows,
        )
        if rest
        else None,
        element("p", forecast) if forecast else None,
    )


def _forecast(forecast: Table) -> str:
    """What the plan expected, to be compared with the cost."""
    expected = [duration(forecast["seconds"])] if forecast.get("seconds") else []
    expected += [f"{forecast['memory_mb'] / 1000:.1f} GB of memory"] if forecast.get("memory_mb") else []
    return f"Forecast before training: {', '.join(expected)}." if expected else ""


def _choices(settings: Mapping[str, Any], reasons: Mapping[str, str]) -> Iterable[tuple[str, Any, str]]:
    """Each reason beside the setting that it explains; a reason may explain a whole table of settings."""
    for key, reason in reasons.items():
        short = key.removeprefix("train.")
        value = settings.get(key, settings.get(f"train.{short}", ""))
        yield key, value, reason


def _reason(key: str, reasons: Mapping[str, str]) -> str:
    return reasons.get(key, "") or reasons.get(key.removeprefix("train."), "")


def cost(run: RunFiles) -> Markup:
    """Time, memory, speed and device."""
    started = next(iter(run.of_kind("started")), {})
    finished = next(iter(run.of_kind("finished")[::-1]), {})
    seconds, scored = finished.get("seconds"), run.summary.get("seconds")
    rows = {
        "Training": f"{duration(seconds)} for {thousands(finished.get('step', 0))} steps"
        if seconds
        else None,
        "Speed of training": _speed(run, seconds, finished.get("step", 0)),
        "Evaluation": f"{duration(scored)} for {run.summary.get('images')} images" if scored else None,
        "Speed of evaluation": f"{run.summary['images'] / scored:.1f} images/s" if scored else None,
        "Parameters": thousands(started["parameters"]) if started.get("parameters") else None,
        "Device": f"{started['device']} ({started.get('why', '')})"
        if started.get("device")
        else run.env.get("device"),
        "Peak memory": _memory(run.env, finished),
        "Weights": ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in run.weights)
        or None,
    }
    kept = {key: value for key, value in rows.items() if value}
    return facts(kept) if kept else absent("events.jsonl")


def _speed(run: RunFiles, seconds: Number | None, steps: int) -> str | None:
    batch = run.recipe.get("train", {}).get("batch")
    return f"{steps * batch / seconds:.1f} images/s" if seconds and steps and batch else None


def _memory(*tables: Table) -> str | None:
    for entries in tables:
        for key in ("peak_memory_mb", "peak_mb", "memory_mb"):
            if entries.get(key):
                return f"{number(entries[key], 0)} MB"
    return None


def reproduce(run: RunFiles) -> Markup:
    """One line that does it again."""
    recipe = run.path / "recipe.toml"
    lines = [f"seg train {recipe} -o {run.path}-again"] if run.recipe else []
    if run.command:
        lines.insert(0, run.command)
    if not lines:
        return absent("recipe.toml")
    words = "or, from the recipe that was resolved:" if len(lines) > 1 else None
    return join(
        element("pre", element("code", lines[0])),
        element("p", words) if words else None,
        element("pre", element("code", lines[1])) if len(lines) > 1 else None,
    )


def facts(rows: Mapping[str, Part]) -> Markup:
    """Names and values, one pair a line."""
    return element(
        "dl", [join(element("dt", name), element("dd", _shown(value))) for name, value in rows.items()]
    )


def table(head: Iterable[str], rows: list[Markup], *, class_: str = "") -> Markup:
    """A table that scrolls by itself where the screen is narrower."""
    names = element("thead", element("tr", [element("th", name, scope="col") for name in head]))
    return element(
        "div", element("table", names, element("tbody", rows), class_=class_ or None), class_="scroll"
    )


def swatch(color: Iterable[int] | None) -> Markup | None:
    """A small square in the colour that the class has in every picture."""
    if color is None:
        return None
    return element("span", class_="swatch", style=f"background:rgb({','.join(str(int(c)) for c in color)})")


def absent(file: str) -> Markup:
    """The sentence for a file that is not there."""
    return element("p", "Not known: the run folder has no ", element("code", file), ".", class_="empty")


def flat(entries: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, keys joined by dots."""
    result: dict[str, Any] = {}
    for key, value in entries.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + str(key): value}
    return result


def _shown(value: Any) -> Part:
    if isinstance(value, Markup):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(str(_shown(item)) for item in value) or "none"
    return "none" if value is None else str(value)
