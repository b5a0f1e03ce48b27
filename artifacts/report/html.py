"""Writes the report of a run: an HTML page without external resources, and a PDF."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from artifacts.evaluation.export import write_results
from artifacts.evaluation.read import read_evaluations
from artifacts.evaluation.table import evaluation_table
from artifacts.report import wording
from artifacts.report.content import BESIDE, ReportContent, gather
from artifacts.report.gallery_json import gallery_json
from artifacts.report.pdf import write_report_pdf
from artifacts.report.thumbnails import data_uri
from artifacts.run import files
from artifacts.run.directory import RunDirectory
from artifacts.text import decimals, legible, shorten
from artifacts.themes import DARK
from duel.data.provenance import locked
from duel.types import Spend

TEXT = 420  # limit of a text in characters, outside the gallery
SCRIPTS = ("gallery.js", "detail.js")


def write_report(run: RunDirectory, compare: RunDirectory | None = None, spend: Spend | None = None) -> Path:
    """Write plots, result tables, `report.html` and `report.pdf` to the run directory; return the HTML file.

    Each file of evaluations and logs is read once. Thumbnails are written to `report_files/`, and embedded in the page
    with `report.embed`. A report that another process is writing is waited for: they share these files.
    """
    with locked(run.path / "report.lock"):
        return _write_report(run, compare, spend)


def _write_report(run: RunDirectory, compare: RunDirectory | None, spend: Spend | None) -> Path:
    ours, theirs = read_evaluations(run), read_evaluations(compare) if compare else None
    rows = evaluation_table(ours)
    write_results(ours, rows)
    content = gather(ours, rows, theirs, spend)
    html, paper = run.path / "report.html", run.path / "report.pdf"
    files.write_bytes(html, render_html(content).encode())
    files.write_with(paper, lambda path: write_report_pdf(path, content))
    return html


def render_html(content: ReportContent) -> str:
    """Return the HTML page; it loads only files of the run directory, and all text of models is escaped."""
    embed = content.run.settings.report.embed
    pictures = {key: data_uri(path) if embed else f"{BESIDE}/{path.name}" for key, path in content.thumbnails.items()}
    script = "\n".join(_resource(name) for name in SCRIPTS)
    return (
        _environment()
        .get_template("report.html")
        .render(
            content=content,
            dark=DARK[content.theme.name],
            pictures=pictures,
            wording=wording,
            style=Markup(_resource("report.css")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            data=Markup(gallery_json(content.gallery, pictures, originals=not embed)),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("artifacts.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"png": data_uri, "shown": _shown, "decimals": decimals}
    return environment


def _resource(name: str) -> str:
    return resources.files("artifacts.report").joinpath("templates", name).read_text(encoding="utf-8")


def _shown(text: str) -> str:
    """Return a text on one line, without control characters and direction overrides, truncated to TEXT characters."""
    return shorten(" ".join(legible(text[: TEXT * 4]).split()), TEXT)
