"""The report of a run: one HTML file that explains itself, made of nothing but the files of the run folder.

    report(Path("runs/train"))      # writes and returns runs/train/report.html

It needs no network, no other file and no script to be read; it prints; it follows the light or dark scheme of
the reader. A run that lacks files gets a report all the same, and the report says what is missing.

    folder.py    reads the run folder, patiently
    verdict.py   three sentences from the numbers
    origin.py    sections on where the run comes from: provenance, data, plan, cost, reproduction
    outcome.py   sections on what came of it: curves, scores, confusion
    pictures.py  the section of worst, typical and best images
    lines.py     line charts over steps; bars.py, heat.py: bars and the confusion matrix; all inline SVG
    markup.py    elements of HTML that escape what they are given
    page.py      the page around the sections
    plots.py     the charts as PNG beside the page; paint.py draws SVG with Pillow
    inline.py    pictures carried inside the page
"""

from __future__ import annotations

from pathlib import Path

from segmentarium.engine.gallery import write_contact_sheet
from segmentarium.engine.report.folder import RunFiles
from segmentarium.engine.report.page import page_of
from segmentarium.engine.report.plots import write_plots
from segmentarium.values.files import atomic_text

__all__ = ["report", "write_contact_sheet"]


def report(run: Path) -> Path:
    """Write ``report.html`` and ``plots/`` into a run folder and return the path of the page.

    Raises:
        BadRun: there is no such folder, or nothing in it comes from a run.
        CannotWrite: the folder cannot be written to.
    """
    files = RunFiles.read(Path(run))
    write_plots(files)
    return atomic_text(Path(run) / "report.html", str(page_of(files)))
