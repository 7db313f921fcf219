"""The report: complete, self-contained, harmless, and patient with runs that lack files."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from drawn_run import draw_run
from PIL import Image as Pil

from segmentarium.engine.report import report
from segmentarium.engine.report.heat import heat_map
from segmentarium.engine.report.lines import Line, line_chart, smoothed, thinned
from segmentarium.engine.report.markup import duration, element, number, percent
from segmentarium.engine.report.paint import painted, palette
from segmentarium.errors import BadRun

_VOID = {"br", "hr", "img", "meta", "link", "input"}


class Balance(HTMLParser):
    """Follows tags and remembers what would make a page broken or dependent."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_run(tmp_path_factory.mktemp("drawn"), images=4, size=(64, 64))


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return report(run).read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_needs_nothing_else(page: str) -> None:
    balance = Balance(page)
    assert not balance.open
    assert all(address.startswith(("#", "data:image/")) for address in balance.addresses)
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", page)


@pytest.mark.parametrize(
    "part",
    ["Scores", "Predictions", "Learning curves", "Data", "Plan and reasons", "Cost", "Provenance",
     "Do it again", "Confusion", "95% interval", "What each score means", "the median image is that large",
     "seg train", "torch 2.11.0", "near-duplicate", "reaches a mean IoU of", "(CC0", "1 min 52 s",
     "as the data set has it", "Shared by splits"],
)  # fmt: skip
def test_everything_that_was_promised_is_there(page: str, part: str) -> None:
    assert part in page


def test_a_finding_is_shown_with_its_picture(run: Path, page: str, tmp_path: Path) -> None:
    assert page.count('class="illustration"') == 1
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    shutil.rmtree(copy / "check")
    assert 'class="illustration"' not in report(copy).read_text(encoding="utf-8")


def test_a_run_without_leaks_says_so(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "check.json").write_text('{"findings": []}', encoding="utf-8")
    assert "no picture, compared pixel by pixel and by likeness" in report(copy).read_text(encoding="utf-8")


def test_plots_lie_beside_the_page(run: Path, page: str) -> None:
    assert page
    for name, colors in {"learning_curves": 20, "class_iou": 5, "confusion_matrix": 10}.items():
        with Pil.open(run / "plots" / f"{name}.png") as plot:
            assert min(plot.size) > 150
            assert len(plot.convert("RGB").getcolors(1 << 24) or ()) > colors


def test_a_painting_has_the_drawing_where_it_was_drawn() -> None:
    """A bar from 10 to 30 of 40, and a point; both twice as large."""
    drawn = element(
        "svg",
        element("rect", x=10, y=5, width=20, height=10, class_="fill"),
        element("g", element("circle", cx=36, cy=10, r=3, class_="dot series-1")),
        element("text", "a & b", x=0, y=0, class_="tick-y"),
        viewBox="0 0 40 20",
    )
    pixels = np.asarray(painted(drawn))
    assert pixels.shape == (40, 80, 3)
    assert (pixels[12:28, 22:58] == palette()["accent"]).all()
    assert (pixels[20, 72] == palette()["series-1"]).all()
    assert (pixels[30:, :60] == 255).all()


def test_scores_are_those_of_the_summary(run: Path, page: str) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert page.count(number(summary["mean"]["mean_iou"])) >= 3
    for name, entry in summary["per_class"].items():
        assert name in page
        assert number(entry["iou"]) in page


def test_names_from_files_are_text_never_markup(page: str) -> None:
    assert "<b>0003.png" not in page
    assert "&lt;b&gt;0003.png" in page


def test_the_same_run_gives_the_same_page(run: Path, page: str) -> None:
    assert report(run).read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    "file",
    ["recipe.toml", "plan.json", "env.json", "dataset_fingerprint.json", "splits.json", "check.json",
     "events.jsonl", "results.csv", "summary.json", "worst"],
)  # fmt: skip
def test_without_any_one_file_there_is_still_a_report(run: Path, tmp_path: Path, file: str) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    shutil.rmtree(copy / file) if (copy / file).is_dir() else (copy / file).unlink()
    page = report(copy).read_text(encoding="utf-8")
    assert not Balance(page).open
    assert file == "worst" or file in page


@pytest.mark.parametrize("file", ["summary.json", "events.jsonl"])
def test_one_file_is_enough(run: Path, tmp_path: Path, file: str) -> None:
    shutil.copy(run / file, tmp_path / file)
    assert "Not in the run folder" in report(tmp_path).read_text(encoding="utf-8")


def test_damage_is_said_and_does_no_harm(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "plan.json").write_text("{", encoding="utf-8")
    with (copy / "events.jsonl").open("a", encoding="utf-8") as events:
        events.write('{"kind": "step", "st')
    next((copy / "worst").glob("*.png")).write_bytes(b"nothing")
    page = report(copy).read_text(encoding="utf-8")
    assert "plan.json (damaged)" in page
    assert "cannot be read" in page


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRun, match="there is no run folder"):
        report(tmp_path / "nowhere")
    with pytest.raises(BadRun, match="comes from a run"):
        report(tmp_path)


def test_charts_bear_odd_series() -> None:
    assert "No values" in line_chart([], title="nothing")
    for points in (
        [(5.0, 0.0)],
        [(1.0, 2.0), (2.0, 2.0)],
        [(1.0, float("nan")), (2.0, 1.0)],
        [(1.0, 1e-6), (9.0, 1e3)],
    ):
        drawn = line_chart([Line(name="odd", points=points, dots=True)], title="odd", may_be_log=True)
        assert "nan" not in re.sub("odd nan at", "", drawn)


def test_smoothing_and_thinning() -> None:
    straight = [(float(i), 2.0 * i) for i in range(1000)]
    assert [y for _, y in smoothed(straight)] == pytest.approx([y for _, y in straight])
    few = thinned(straight, most=100)
    assert len(few) <= 101
    assert few[-1] == straight[-1]


def test_a_heat_map_of_many_classes_and_of_one() -> None:
    for count in (1, 4, 150):
        matrix = [[10 if i == j else 0 for j in range(count)] for i in range(count)]
        assert heat_map(matrix, [f"class {i}" for i in range(count)]).count("<rect") == count + 1


def test_words() -> None:
    assert element("p", "a & b", None, ["c"], class_="x", hidden=True) == '<p class="x" hidden>a &amp; bc</p>'
    assert [duration(s) for s in (0.84, 42, 200, 7500)] == ["0.8 s", "42 s", "3 min 20 s", "2 h 05 min"]
    assert [percent(s) for s in (0.0, 0.00012, 0.123, 1.0)] == ["0%", "0.012%", "12.3%", "100%"]
