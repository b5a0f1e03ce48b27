"""The PDF report, read back with poppler: order of sections, and model-written text unchanged."""

import shutil
import subprocess
from pathlib import Path

import pytest

from artifacts.report.html import write_report
from tests.support.fake_run import fake_run
from tests.support.hostile import write_hostile_run

pytestmark = pytest.mark.slow

SECTIONS = (
    "pass@1 of ckpt-60", "Curves", "Evaluations", "Comparison with alone",
    "Hardest prompts, grouped by similar wording", "Most similar, of all recorded rounds",
    "Least similar, of all recorded rounds", "First and last rounds",
    "Settings and versions", "Cost and time",
)  # fmt: skip


def text_of(pdf: Path) -> str:
    if shutil.which("pdftotext") is None:
        pytest.fail("no pdftotext to read PDFs with. On Debian: apt-get install poppler-utils")
    done = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True)
    assert done.stderr == ""  # nothing in the file that poppler does not understand
    return done.stdout


def test_sections_of_the_pdf_are_in_the_order_of_the_page(tmp_path: Path) -> None:
    run = fake_run(tmp_path, "duel", 60, 10, recorded=6)
    write_report(run, fake_run(tmp_path, "alone", 60, 10, adversary=False, recorded=1))
    text = text_of(run.path / "report.pdf")
    places = [text.index(section) for section in SECTIONS]
    assert places == sorted(places)
    assert "reported" in text
    assert "Images: no cost, all were drawn on this machine" in text


def test_text_of_models_is_in_the_pdf_unchanged(tmp_path: Path) -> None:
    run = write_hostile_run(tmp_path)
    write_report(run)
    for pdf in (run.path / "report.pdf", run.round_directory(3) / "round.pdf"):
        text = text_of(pdf)
        assert "<b>bold</b> &" in text
        assert "alert(1)" in text
        assert "[christmas tree]" in text
        assert "(empty)" in text
        assert "xxxxxxxxxx" in text
