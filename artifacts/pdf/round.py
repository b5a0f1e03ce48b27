"""The PDF of one training round: each drawing with its reconstructions, most similar first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm

from artifacts.pdf.canvas import (
    FAINT,
    PLAYER_COLOURS,
    RULE,
    Canvas,
    draw_empty,
    draw_image,
    draw_text,
    open_canvas,
)
from artifacts.pdf.fonts import BOLD, missing_note
from artifacts.run.round_record import RecordedAttempt, RecordedDrawing, RecordedRound
from artifacts.text import decimals

MARGIN = 14 * mm
WIDTH, HEIGHT = A4[0] - 2 * MARGIN, A4[1]
TOP, BOTTOM = HEIGHT - 31 * mm, 14 * mm  # of the area between header and footer
GAP = 3 * mm

DRAWING = 50 * mm  # side of a base round's drawing
COLUMNS = 4
CELL = (WIDTH - DRAWING - 2 * GAP - (COLUMNS - 1) * GAP) / COLUMNS  # side of a reconstruction
CELL_HEIGHT = CELL + 24 * mm  # including its caption

PAIR = (WIDTH - 2 * GAP) / 2  # width of an adversary round's drawing and reconstruction
HALF = (PAIR - 1.5 * mm) / 2
PAIR_HEIGHT = HALF + 19 * mm


def write_round_pdf(path: Path, record: RecordedRound, images: Path) -> None:
    """Write a round's PDF from its record and the directory of its images.

    A base round shows each drawing beside the reconstructions of its group; an adversary round shows each
    prompt's drawing beside its one reconstruction. Long texts are truncated; record.json has them in full.
    """
    pages = RoundPages(open_canvas(path, A4, f"Round {record.round}"), record, images)
    for number, group in enumerate(record.groups):
        ordered = sorted(group.attempts, key=_by_similarity)
        if record.player == "base":
            pages.add_base_group(number, ordered)
        else:
            pages.add_adversary_group(number, ordered)
    pages.save()


class RoundPages:
    """Lays out groups from the top of a page; a block that does not fit starts a new page."""

    def __init__(self, canvas: Canvas, record: RecordedRound, images: Path) -> None:
        self.canvas = canvas
        self.record = record
        self.images = images
        self.colour = PLAYER_COLOURS[record.player]
        self.page = 0
        self.top = TOP
        self._begin_page()

    def add_base_group(self, number: int, attempts: Sequence[RecordedAttempt]) -> None:
        """Draw a drawing on the left and its reconstructions in rows on the right."""
        rows = [attempts[start : start + COLUMNS] for start in range(0, len(attempts), COLUMNS)]
        self._make_room(min(len(rows), 2) * CELL_HEIGHT + 4 * mm)
        self._group_title(number)
        self._drawing_column(attempts[0])
        for row in rows:
            if self.top - CELL_HEIGHT < BOTTOM:
                self._begin_page()
            for column, attempt in enumerate(row):
                self._reconstruction(attempt, MARGIN + DRAWING + 2 * GAP + column * (CELL + GAP))
            self.top -= CELL_HEIGHT
        self.top -= 4 * mm

    def add_adversary_group(self, number: int, attempts: Sequence[RecordedAttempt]) -> None:
        """Draw pairs of drawing and reconstruction, two per row."""
        self._make_room(PAIR_HEIGHT + 4 * mm)
        if len(self.record.groups) > 1:
            self._group_title(number)
        for place, attempt in enumerate(attempts):
            column = place % 2
            if column == 0 and self.top - PAIR_HEIGHT < BOTTOM:
                self._begin_page()
            self._pair(attempt, MARGIN + column * (PAIR + 2 * GAP))
            if column == 1 or place == len(attempts) - 1:
                self.top -= PAIR_HEIGHT
        self.top -= 2 * mm

    def save(self) -> None:
        """Write the file, with a note on its last page about letters that no font has."""
        if self.canvas.missing:
            note = missing_note(self.canvas.missing)
            draw_text(self.canvas, note, MARGIN, 13.5 * mm, WIDTH, size=5, colour=FAINT)
        self.canvas.save()

    def _drawing_column(self, attempt: RecordedAttempt) -> None:
        self._image(attempt.drawing, MARGIN, self.top, DRAWING)
        top = self.top - DRAWING - 1.6 * mm
        top -= draw_text(self.canvas, "Drawing", MARGIN, top, DRAWING, size=6, font=BOLD, colour=FAINT)
        draw_text(self.canvas, shown(attempt.prompt), MARGIN, top, DRAWING, lines=12, size=7)

    def _reconstruction(self, attempt: RecordedAttempt, x: float) -> None:
        self._image(attempt.reconstruction, x, self.top, CELL)
        top = self._scores(attempt, x, self.top - CELL - 1.2 * mm, CELL)
        draw_text(self.canvas, shown(attempt.description), x, top, CELL, lines=5, size=5.6)

    def _pair(self, attempt: RecordedAttempt, x: float) -> None:
        right = x + HALF + 1.5 * mm
        self._image(attempt.drawing, x, self.top, HALF)
        self._image(attempt.reconstruction, right, self.top, HALF)
        top = self._scores(attempt, x, self.top - HALF - 1.2 * mm, PAIR)
        for label, text, place in (("Prompt", attempt.prompt, x), ("Description", attempt.description, right)):
            taken = draw_text(self.canvas, label, place, top, HALF, size=5, font=BOLD, colour=FAINT)
            draw_text(self.canvas, shown(text), place, top - taken, HALF, lines=3, size=5.6)

    def _scores(self, attempt: RecordedAttempt, x: float, top: float, width: float) -> float:
        """Draw a bar proportional to the similarity, then similarity and reward; return the y below them."""
        similarity, reward = attempt.similarity, attempt.reward
        self.canvas.setFillColor(RULE)
        self.canvas.rect(x, top - 0.9 * mm, width, 0.9 * mm, stroke=0, fill=1)
        if similarity is not None:
            self.canvas.setFillColor(self.colour)
            self.canvas.rect(x, top - 0.9 * mm, width * min(max(similarity, 0.0), 1.0), 0.9 * mm, stroke=0, fill=1)
        top -= 1.7 * mm
        draw_text(self.canvas, f"similarity {decimals(similarity)}", x, top, width, size=5.6, font=BOLD)
        earned = f"reward {decimals(reward)}"
        if width > 35 * mm:
            draw_text(self.canvas, earned, x + 24 * mm, top, width, size=5.6, colour=FAINT)
            return top - 3.2 * mm
        draw_text(self.canvas, earned, x, top - 2.5 * mm, width, size=5.6, colour=FAINT)
        return top - 5.4 * mm

    def _image(self, drawing: RecordedDrawing, x: float, top: float, side: float) -> None:
        if drawing.file is None:
            draw_empty(self.canvas, f"refused: {drawing.refusal or 'no drawing'}", x, top - side, side, side)
        else:
            draw_image(self.canvas, self.images / drawing.file, x, top - side, side, side)

    def _group_title(self, number: int) -> None:
        draw_text(self.canvas, f"Group {number + 1}", MARGIN, self.top, WIDTH, size=6.5, font=BOLD, colour=self.colour)
        self.top -= 4 * mm

    def _make_room(self, height: float) -> None:
        if self.top - height < BOTTOM and self.top < TOP:
            self._begin_page()

    def _begin_page(self) -> None:
        if self.page:
            self.canvas.showPage()
        self.page += 1
        self.top = TOP
        canvas, title = self.canvas, f"Round {self.record.round}"
        canvas.setFillColor(self.colour)
        canvas.rect(0, HEIGHT - 3 * mm, A4[0], 3 * mm, stroke=0, fill=1)
        draw_text(canvas, title, MARGIN, HEIGHT - 10 * mm, WIDTH, size=15, font=BOLD)
        trained = f"trained the {self.record.player}"
        draw_text(canvas, trained, MARGIN, HEIGHT - 17.5 * mm, WIDTH, size=9, font=BOLD, colour=self.colour)
        draw_text(canvas, _facts(self.record), MARGIN, HEIGHT - 22.5 * mm, WIDTH, size=7, colour=FAINT)
        foot = f"most similar first  ·  texts are cut here, whole in record.json  ·  page {self.page}"
        draw_text(canvas, foot, MARGIN, 10 * mm, WIDTH, size=5.6, colour=FAINT)


def shown(text: str) -> str:
    """Return `text`, or a placeholder if it is blank."""
    return text if text.strip() else "(empty)"


def _by_similarity(attempt: RecordedAttempt) -> float:
    return float("inf") if attempt.similarity is None else -attempt.similarity


def _facts(record: RecordedRound) -> str:
    attempts, update = record.attempts, record.update
    facts = [
        f"similarity {decimals(_mean([attempt.similarity for attempt in attempts]))}",
        f"reward {decimals(_mean([attempt.reward for attempt in attempts]))}",
        f"loss {decimals(update.loss, 4)}",
        f"gradient norm {decimals(update.gradient_norm)}",
        f"optimizer steps {update.optimizer_steps}",
        f"groups skipped {update.skipped_groups} of {update.groups}",
        f"images requested {record.draws_asked}",
    ]
    return "   ·   ".join(facts)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
