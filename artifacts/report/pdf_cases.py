"""PDF sections with images: cases (drawing and reconstruction), rounds, and the adversary's hardest prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reportlab.lib.units import mm

from artifacts.pdf.canvas import FAINT, RULE, draw_empty, draw_image, draw_text
from artifacts.pdf.fonts import BOLD
from artifacts.pdf.round import shown
from artifacts.pdf.sheets import MARGIN, WIDTH, Sheets
from artifacts.report.gallery import Case, Gallery
from artifacts.report.prompt_groups import PromptGroup
from artifacts.run.round_record import Image
from artifacts.text import decimals

COLUMNS = 4
GAP = 3 * mm
BLOCK = (WIDTH - (COLUMNS - 1) * GAP) / COLUMNS
SIDE = (BLOCK - 1 * mm) / 2  # of an image
SMALL = 7  # reconstructions in a row of a group
SMALL_SIDE = (WIDTH - SMALL * 1 * mm) / (SMALL + 1)


def add_cases(sheets: Sheets, title: str, cases: Sequence[Case]) -> None:
    """Draw a section of cases, each as two images with their texts."""
    height = SIDE + 27 * mm
    sheets.title(title, height if cases else 10 * mm)
    if not cases:
        sheets.paragraph("No round was recorded yet.")
    _in_columns(sheets, len(cases), height, lambda place, x: _case(sheets, cases[place], x))


def add_hardest(sheets: Sheets, groups: Sequence[PromptGroup]) -> None:
    """Draw the groups of prompts, highest mean reward first; nothing if there are none."""
    if not groups:
        return
    height = SIDE + 32 * mm
    sheets.title("Hardest prompts, grouped by similar wording", height + 10 * mm)
    sheets.paragraph(
        "The adversary's prompts, clustered by similar wording; groups in order of mean reward, highest first. Left: "
        "drawing of a typical prompt; right: drawing of the prompt with the highest reward. Bars: the group's share "
        "of all prompts in each tenth of the run."
    )
    _in_columns(sheets, len(groups), height, lambda place, x: _group(sheets, groups[place], x))


def add_rounds(sheets: Sheets, gallery: Gallery) -> None:
    """Draw the first and last rounds, for each group a row of its most similar attempts."""
    sheets.title("First and last rounds", SMALL_SIDE + 20 * mm)
    sheets.paragraph(
        "Most similar attempts first; of large groups not all are shown. Each round's round.pdf has all attempts, and "
        "report.html has every round."
    )
    for found in gallery.ends:
        for group in found.groups:
            sheets.make_room(SMALL_SIDE + 20 * mm)
            title = f"Round {found.round}, {found.player}, group {group[0].group + 1}"
            sheets.top -= draw_text(sheets.canvas, title, MARGIN, sheets.top, WIDTH, size=7, font=BOLD) + 1 * mm
            draw = _base_group if found.player == "base" else _adversary_group
            draw(sheets, group)


def _base_group(sheets: Sheets, group: Sequence[Case]) -> None:
    """Draw the drawing and its reconstructions in a row, then the prompt and the best description."""
    _image(sheets, group[0], "drawing", MARGIN, SMALL_SIDE)
    for place, case in enumerate(group[:SMALL], start=1):
        x = MARGIN + place * (SMALL_SIDE + 1 * mm)
        _image(sheets, case, "reconstruction", x, SMALL_SIDE)
        draw_text(sheets.canvas, _score(case), x, sheets.top - SMALL_SIDE - 0.5 * mm, SMALL_SIDE, size=6)
    sheets.top -= SMALL_SIDE + 3.4 * mm
    first = group[0].attempt
    for label, text in (("Prompt", first.prompt), ("Most similar description", first.description)):
        said = f"{label}: {shown(text)}"
        sheets.top -= draw_text(sheets.canvas, said, MARGIN, sheets.top, WIDTH, lines=2, size=5.8, colour=FAINT)
    sheets.top -= 3 * mm


def _adversary_group(sheets: Sheets, group: Sequence[Case]) -> None:
    """Draw pairs of drawing and reconstruction in a row, each with its prompt."""
    pair = 2 * (SMALL_SIDE + 1 * mm)
    for place, case in enumerate(group[: (SMALL + 1) // 2]):
        x = MARGIN + place * pair
        _image(sheets, case, "drawing", x, SMALL_SIDE)
        _image(sheets, case, "reconstruction", x + SMALL_SIDE + 1 * mm, SMALL_SIDE)
        top = sheets.top - SMALL_SIDE - 0.5 * mm
        top -= draw_text(sheets.canvas, f"similarity {_score(case)}", x, top, pair, size=6)
        prompt = shown(case.attempt.prompt)
        draw_text(sheets.canvas, prompt, x, top, pair - 2 * mm, lines=3, size=5.8, colour=FAINT)
    sheets.top -= SMALL_SIDE + 13 * mm


def _in_columns(sheets: Sheets, count: int, height: float, draw: Callable[[int, float], None]) -> None:
    for place in range(count):
        column = place % COLUMNS
        if column == 0:
            sheets.make_room(height)
        draw(place, MARGIN + column * (BLOCK + GAP))
        if column == COLUMNS - 1 or place == count - 1:
            sheets.top -= height


def _case(sheets: Sheets, case: Case, x: float) -> None:
    _image(sheets, case, "drawing", x, SIDE)
    _image(sheets, case, "reconstruction", x + SIDE + 1 * mm, SIDE)
    top = sheets.top - SIDE - 1.5 * mm
    where = f"similarity {_score(case)}   round {case.round}, {case.player}"
    top -= draw_text(sheets.canvas, where, x, top, BLOCK, size=5.6, font=BOLD) + 0.5 * mm
    for label, text in (("Prompt", case.attempt.prompt), ("Description", case.attempt.description)):
        top -= draw_text(sheets.canvas, f"{label}: {shown(text)}", x, top, BLOCK, lines=4, size=5.6) + 0.6 * mm


def _group(sheets: Sheets, group: PromptGroup, x: float) -> None:
    _image(sheets, group.typical, "drawing", x, SIDE)
    _image(sheets, group.hardest, "drawing", x + SIDE + 1 * mm, SIDE)
    canvas, top = sheets.canvas, sheets.top - SIDE - 1.5 * mm
    head = f"mean reward {decimals(group.mean_reward)}   {group.count} prompts"
    top -= draw_text(canvas, head, x, top, BLOCK, size=5.8, font=BOLD)
    top -= draw_text(canvas, ", ".join(group.words), x, top, BLOCK, size=5.6, colour=FAINT) + 0.5 * mm
    _trend(sheets, group.trend, x, top - 5 * mm)
    top -= 6.5 * mm
    top -= draw_text(canvas, f"Typical: {shown(group.typical.attempt.prompt)}", x, top, BLOCK, lines=4, size=5.6)
    hardest = f"Hardest ({decimals(group.hardest.attempt.reward)}): {shown(group.hardest.attempt.prompt)}"
    draw_text(canvas, hardest, x, top - 0.6 * mm, BLOCK, lines=4, size=5.6)


def _trend(sheets: Sheets, shares: Sequence[float], x: float, bottom: float) -> None:
    """Draw a bar chart of the shares, scaled to the largest."""
    width = BLOCK / len(shares)
    sheets.canvas.setFillColor(sheets.accents[1])
    for place, share in enumerate(shares):
        height = 4.6 * mm * share / max(max(shares), 1e-9)
        sheets.canvas.rect(x + place * width, bottom, width * 0.85, height, stroke=0, fill=1)
    sheets.canvas.setStrokeColor(RULE)
    sheets.canvas.line(x, bottom, x + BLOCK, bottom)


def _image(sheets: Sheets, case: Case, which: Image, x: float, side: float) -> None:
    path = case.file(which)
    if path is None:
        reason = case.attempt.image(which).refusal or "no drawing"
        draw_empty(sheets.canvas, f"refused: {reason}", x, sheets.top - side, side, side)
    else:
        draw_image(sheets.canvas, path, x, sheets.top - side, side, side)


def _score(case: Case) -> str:
    return decimals(case.attempt.similarity)
