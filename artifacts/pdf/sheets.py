"""Page layout of the PDF report: section titles, paragraphs and table rows, flowing from page to page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm

from artifacts.pdf.canvas import FAINT, INK, RULE, draw_text, open_canvas, text_lines
from artifacts.pdf.fonts import BOLD, REGULAR, missing_note
from artifacts.themes import Theme

MARGIN = 16 * mm
WIDTH, TOP, BOTTOM = A4[0] - 2 * MARGIN, A4[1] - 20 * mm, 18 * mm


class Sheets:
    """Lays out content from the top of a page; what does not fit starts a new one. Sizes in points, y upwards."""

    def __init__(self, path: Path, title: str, foot: str, theme: Theme) -> None:
        self.accents = [HexColor(colour) for colour in theme.colours]
        self.canvas = open_canvas(path, A4, title)
        self.foot = foot
        self.page = 0
        self.top = TOP
        self.begin_page()

    def title(self, text: str, needed: float) -> None:
        """Start a section, on this page if `needed` points fit, and add it to the PDF outline."""
        self.make_room(needed + 14 * mm)
        self.top -= 6 * mm
        key = f"{self.page} {self.top:.0f}"
        self.canvas.bookmarkHorizontal(key, 0, self.top + 4 * mm)
        self.canvas.addOutlineEntry(text, key)
        self.top -= draw_text(self.canvas, text, MARGIN, self.top, WIDTH, size=12, font=BOLD, colour=self.accents[0])
        self.top -= 2.5 * mm

    def paragraph(self, text: str, size: float = 7.5, lines: int = 8, faint: bool = True, font: str = REGULAR) -> None:
        """Draw a paragraph of at most `lines` lines over the full width."""
        self.make_room(len(text_lines(text, WIDTH, lines, size, font)) * size * 1.28)
        colour = FAINT if faint else INK
        self.top -= draw_text(self.canvas, text, MARGIN, self.top, WIDTH, lines, size, font, colour) + 1.6 * mm

    def row(
        self, cells: Sequence[str], widths: Sequence[float], bold: bool = False, lines: int = 1, size: float = 7
    ) -> None:
        """Draw a table row with a rule below it; each cell is truncated to `lines` lines."""
        font = BOLD if bold else REGULAR
        tallest = max(
            len(text_lines(cell, width - 6, lines, size, font)) for cell, width in zip(cells, widths, strict=True)
        )
        height = max(tallest, 1) * size * 1.28 + 3.4
        self.make_room(height)
        left = MARGIN
        for cell, width in zip(cells, widths, strict=True):
            draw_text(self.canvas, cell, left, self.top, width - 6, lines, size, font)
            left += width
        self.canvas.setStrokeColor(RULE)
        self.canvas.setLineWidth(0.3)
        self.canvas.line(MARGIN, self.top - height + 1.4, MARGIN + sum(widths), self.top - height + 1.4)
        self.top -= height

    def make_room(self, height: float) -> None:
        """Start a new page if less than `height` is left on this one."""
        if self.top - height < BOTTOM and self.top < TOP:
            self.begin_page()

    def begin_page(self) -> None:
        """Start a new page with coloured header and footer."""
        if self.page:
            self.canvas.showPage()
        self.page += 1
        self.top = TOP
        for place, accent in enumerate(self.accents):
            self.canvas.setFillColor(accent)
            self.canvas.rect(0, A4[1] - (1 + place) * 1.6 * mm, A4[0], 1.6 * mm, stroke=0, fill=1)
        draw_text(self.canvas, f"{self.foot}  ·  page {self.page}", MARGIN, 11 * mm, WIDTH, size=6.5, colour=FAINT)

    def save(self) -> None:
        """Write the file, with a note at its end about letters that no font has."""
        if self.canvas.missing:
            self.paragraph(missing_note(self.canvas.missing))
        self.canvas.save()
