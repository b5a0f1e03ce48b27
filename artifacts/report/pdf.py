"""Writes the PDF report, in the order of the HTML page: result, curves, evaluations, cases, rounds, settings, cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reportlab.lib.units import mm

from artifacts.evaluation.comparison import Comparison
from artifacts.evaluation.strata import StratumComparison
from artifacts.evaluation.table import GroupResult
from artifacts.pdf.canvas import FAINT, draw_image, draw_text
from artifacts.pdf.fonts import BOLD
from artifacts.pdf.sheets import MARGIN, WIDTH, Sheets
from artifacts.plots.drawing import SIZE
from artifacts.report import wording
from artifacts.report.content import ReportContent, Rival
from artifacts.report.pdf_cases import add_cases, add_hardest, add_rounds
from artifacts.report.wording import changed, measured
from artifacts.text import decimals

PLOT = WIDTH * 0.78
PLOT_HEIGHT = PLOT * SIZE[1] / SIZE[0]


def write_report_pdf(path: Path, content: ReportContent) -> None:
    """Write the report as a PDF of A4 pages."""
    sheets = Sheets(path, f"{content.run.name}: Duel report", content.run.name, content.theme)
    add_head(sheets, content)
    add_curves(sheets, content)
    add_evaluations(sheets, content)
    if content.strata:
        sheets.title("Common and hard charts", 40 * mm)
        sheets.paragraph(wording.STRATA)
        add_strata(sheets, content.strata, "start", "now")
    if content.rival is not None:
        add_comparison(sheets, content, content.rival)
    add_hardest(sheets, content.hardest)
    add_cases(sheets, "Most similar, of all recorded rounds", content.gallery.best)
    add_cases(sheets, "Least similar, of all recorded rounds", content.gallery.worst)
    add_rounds(sheets, content.gallery)
    add_settings(sheets, content)
    add_cost(sheets, content)
    sheets.save()


def add_head(sheets: Sheets, content: ReportContent) -> None:
    """Draw the run's name, its result and the five headline numbers."""
    run, canvas = content.run, sheets.canvas
    kind = "with adversary" if content.kind == "duel" else "no adversary"
    sheets.top -= draw_text(canvas, run.name, MARGIN, sheets.top, WIDTH, lines=2, size=22, font=BOLD)
    about = (
        f"Duel report  ·  {kind}  ·  base {run.settings.models.base}, drawn by {run.settings.generator.service}, "
        f"data {run.settings.data.source}, seed {run.settings.seed}"
    )
    sheets.top -= draw_text(canvas, about, MARGIN, sheets.top, WIDTH, lines=2, size=9, colour=FAINT) + 5 * mm
    for place, (what, number) in enumerate(wording.result_lines(content)):
        size = 12 if place == 0 else 9
        draw_text(canvas, what, MARGIN, sheets.top, 98 * mm, size=size)
        sheets.top -= draw_text(canvas, number, MARGIN + 100 * mm, sheets.top, 78 * mm, size=size, font=BOLD) + 1.5 * mm
    sheets.paragraph(wording.result_note(content))
    if content.warning is not None:
        sheets.paragraph(f"Warning: {content.warning}", faint=False, font=BOLD)
    sheets.top -= 3 * mm
    for place, headline in enumerate(content.headlines):
        canvas.setFillColor(sheets.accents[place % 2])
        canvas.rect(MARGIN, sheets.top - 7.5 * mm, 1 * mm, 7.5 * mm, stroke=0, fill=1)
        draw_text(canvas, headline.label, MARGIN + 4 * mm, sheets.top, 88 * mm, size=9, font=BOLD)
        below = sheets.top - 4.4 * mm
        noted = draw_text(canvas, headline.note, MARGIN + 4 * mm, below, 92 * mm, lines=2, size=6.5, colour=FAINT)
        draw_text(canvas, headline.value, MARGIN + 100 * mm, sheets.top - 1 * mm, 78 * mm, size=12, font=BOLD)
        sheets.top -= 7 * mm + noted


def add_curves(sheets: Sheets, content: ReportContent) -> None:
    """Draw the plots of all curves, three per page."""
    sheets.title("Curves", PLOT_HEIGHT if content.plots else 10 * mm)
    if not content.plots:
        sheets.paragraph("Nothing was recorded yet.")
    for path in content.plots.values():
        sheets.make_room(PLOT_HEIGHT)
        draw_image(sheets.canvas, path, MARGIN + (WIDTH - PLOT) / 2, sheets.top - PLOT_HEIGHT, PLOT, PLOT_HEIGHT)
        sheets.top -= PLOT_HEIGHT + 3 * mm


def add_evaluations(sheets: Sheets, content: ReportContent) -> None:
    """Draw the table of evaluations, a row per number of rounds, then the reported checkpoint's groups of questions."""
    sheets.title("Evaluations", 40 * mm)
    sheets.paragraph(
        "Mean and 95 % interval over questions, held-out images, prompts or canary questions (a fixed few with short "
        "answers, graded by exact match). Second line: difference from the run's first evaluation, paired by question, "
        "image or prompt seed, and the p-value of a two-sided sign-flip test."
    )
    if not content.evaluations:
        sheets.paragraph("Nothing was evaluated yet.")
        return
    widths = [22 * mm, 39 * mm, 39 * mm, 39 * mm, 39 * mm]
    sheets.row(("rounds", "pass@1", "held-out similarity", "adversary's reward", "canary"), widths, bold=True)
    for row in content.evaluations:
        questions = row.questions
        means = (questions.pass_at_1 if questions else None, row.similarity, row.adversary_reward, row.canary)
        name = f"{row.rounds_done}{'  reported' if row.reported else ''}"
        sheets.row((name, *map(measured, means)), widths, bold=row.reported, size=7)
        answered = questions.against_first if questions else None
        changes = (answered, row.similarity_change, row.adversary_reward_change, row.canary_change)
        if any(changes):
            sheets.row(("", *(changed(change) if change else "" for change in changes)), widths, size=5.5)
    if content.reported is not None and content.result is not None and content.result.questions is not None:
        result = content.result
        add_groups(
            sheets, content.reported.test.checkpoint_name, [result.questions, *result.by_kind, *result.by_category]
        )


def add_groups(sheets: Sheets, name: str, groups: list[GroupResult | None]) -> None:
    """Draw a checkpoint's table of pass@1, a row per group of questions."""
    widths = [31 * mm, 40 * mm, 47 * mm, 14 * mm, 14 * mm, 15 * mm, 17 * mm]
    sheets.top -= 4 * mm
    sheets.paragraph(f"{name} by kind of question and answer category", size=8, faint=False, font=BOLD)
    head = ("questions", "pass@1", "against the first checkpoint", "number", "answers", "invalid", "ungraded")
    sheets.row(head, widths, bold=True, size=6.4)
    for group in groups:
        if group is not None:
            counts = (group.questions, group.answers, group.invalid, group.ungraded)
            cells = (group.group, measured(group.pass_at_1), changed(group.against_first), *map(str, counts))
            sheets.row(cells, widths, size=6.4)


def add_strata(sheets: Sheets, strata: Sequence[StratumComparison], before: str, after: str) -> None:
    """Draw a table with a row per stratum: similarity, then answers, of two evaluations."""
    widths = [18 * mm, 14 * mm, 14 * mm, 52 * mm, 14 * mm, 14 * mm, 52 * mm]
    head = ("charts", before, after, "similarity: difference", before, after, "answers: difference")
    sheets.row(head, widths, bold=True, size=6.4, lines=2)
    for stratum in strata:
        cells = [stratum.label]
        for found in (stratum.similarity, stratum.answers):
            cells += ["–"] * 3 if found is None else [*_means(found), changed(found)]
        sheets.row(cells, widths, bold=stratum.pooled, size=6.4)


def _means(found: Comparison) -> tuple[str, str]:
    return decimals(found.before_mean), decimals(found.after_mean)


def add_comparison(sheets: Sheets, content: ReportContent, rival: Rival) -> None:
    """Draw the comparison with another run, then both runs' headline numbers."""
    ours, theirs = content.run.name, rival.run.name
    sheets.title(f"Comparison with {theirs}", 40 * mm)
    for sentence in rival.verdict:
        sheets.paragraph(sentence, faint=False)
    widths = [36 * mm, 24 * mm, 24 * mm, 58 * mm, 36 * mm]
    if rival.comparisons:
        sheets.row(("", ours, theirs, "difference", "units"), widths, bold=True, lines=3)
    for found in rival.comparisons:
        units = f"{found.n} {found.units}" + (f", {found.left_out} without a pair left out" if found.left_out else "")
        means = decimals(found.after_mean), decimals(found.before_mean)
        sheets.row((found.measure, *means, changed(found), units), widths, lines=2)
    if rival.strata:
        sheets.top -= 3 * mm
        add_strata(sheets, rival.strata, theirs, ours)
    for reason in rival.not_compared:
        sheets.paragraph(f"Not compared: {reason}")
    sheets.top -= 3 * mm
    widths = [36 * mm, 60 * mm, 60 * mm]
    sheets.row(("", ours, theirs), widths, bold=True, lines=2)
    for headline, other in zip(content.headlines, rival.headlines, strict=True):
        sheets.row((headline.label, headline.value, other.value), widths)


def add_settings(sheets: Sheets, content: ReportContent) -> None:
    """Draw the table of all settings, those that differ from the default in bold, and the versions."""
    sheets.title("Settings and versions (bold: differs from the default)", 30 * mm)
    for row in content.settings:
        sheets.row((row.name, row.value), [64 * mm, WIDTH - 64 * mm], bold=row.changed, lines=3)
    sheets.top -= 3 * mm
    versions = ", ".join(f"{library} {version}" for library, version in content.versions.items())
    sheets.paragraph(f"Versions: {versions}")


def add_cost(sheets: Sheets, content: ReportContent) -> None:
    """Draw what images cost, and the mean seconds per round by stage."""
    sheets.title("Cost and time", 30 * mm)
    sheets.paragraph(f"{wording.cost_line(content)} {wording.judge_line(content)}", faint=False)
    if not content.seconds:
        return
    widths = [50 * mm, 30 * mm]
    sheets.row(("stage", "seconds per round"), widths, bold=True)
    for stage, seconds in content.seconds.items():
        sheets.row((stage, decimals(seconds, 2)), widths)
    sheets.row(("all stages", decimals(sum(content.seconds.values()), 2)), widths, bold=True)
