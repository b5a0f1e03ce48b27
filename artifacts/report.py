"""The report of a run: one self-contained HTML page, and the same as PDF."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from artifacts import files
from artifacts.report_content import ReportContent, gather
from artifacts.report_pdf import write_report_pdf
from artifacts.run import RunDirectory
from artifacts.summary import summary_lines
from artifacts.text import ELLIPSIS, decimals, printable

__all__ = ["render_html", "summary_lines", "write_report"]

THUMBNAIL = 200  # pixels
TEXT = 420  # characters of a text that are shown


def write_report(run: RunDirectory, compare: RunDirectory | None = None) -> Path:
    """Draw the plots, write `report.html` and `report.pdf` into the run's directory, and return the HTML file."""
    content = gather(run, compare)
    html, paper = run.path / "report.html", run.path / "report.pdf"
    files.write_bytes(html, render_html(content).encode())
    files.write_with(paper, lambda path: write_report_pdf(path, content))
    return html


def render_html(content: ReportContent) -> str:
    """Return the page; everything in it is embedded, and everything models wrote is escaped."""
    return _template().render(content=content)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("artifacts"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"thumbnail": _thumbnail, "png": _png, "shown": _shown, "decimals": decimals}
    return environment.get_template("report.html")


def _thumbnail(path: Path) -> str:
    """Return a small JPEG as data URI; empty when the bytes are no image."""
    try:
        data, _ = pdf.jpeg(path, THUMBNAIL, quality=82)
    except OSError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _png(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _shown(text: str) -> str:
    """Return what a page shows of a text: no control characters, and no more than fits."""
    clean = printable(text[: TEXT * 4])
    return clean if len(clean) <= TEXT else clean[: TEXT - 1] + ELLIPSIS
