"""The report on paper: numbers, curves, evaluations, best and worst cases, settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm

from artifacts.gallery import Case
from artifacts.pdf import BOLD, FAINT, REGULAR, RULE, draw_empty, draw_image, draw_text, open_canvas
from artifacts.plots import SIZE
from artifacts.report_content import ReportContent
from artifacts.round_pdf import shown
from artifacts.text import decimals
from duel.statistics import Interval

MARGIN = 16 * mm
WIDTH, TOP, BOTTOM = A4[0] - 2 * MARGIN, A4[1] - 20 * mm, 18 * mm
PLOT_HEIGHT = WIDTH * SIZE[1] / SIZE[0]
SIDE = (WIDTH - 4 * mm) / 6  # of a case's images


def write_report_pdf(path: Path, content: ReportContent) -> None:
    """Write the report as PDF, A4."""
    pages = ReportPages(path, content)
    pages.add_head()
    pages.add_evaluations()
    pages.add_plots()
    pages.add_cases("Most similar, of all recorded rounds", content.gallery.best)
    pages.add_cases("Least similar, of all recorded rounds", content.gallery.worst)
    pages.add_settings()
    pages.canvas.save()


class ReportPages:
    """Fills pages from the top; what does not fit begins the next one."""

    def __init__(self, path: Path, content: ReportContent) -> None:
        self.content = content
        self.accents = [HexColor(colour) for colour in content.theme.colours]
        self.canvas = open_canvas(path, A4, f"{content.run.name}: Duel report")
        self.page = 0
        self.top = TOP
        self._begin_page()

    def add_head(self) -> None:
        """The run's name and its five numbers."""
        run = self.content.run
        kind = "a duel" if self.content.kind == "duel" else "no adversary"
        self.top -= draw_text(self.canvas, run.name, MARGIN, self.top, WIDTH, size=22, font=BOLD)
        about = f"Duel report  ·  {kind}  ·  seed {run.settings.seed}"
        self.top -= draw_text(self.canvas, about, MARGIN, self.top, WIDTH, size=9, colour=FAINT) + 6 * mm
        for place, headline in enumerate(self.content.headlines):
            self.canvas.setFillColor(self.accents[place % 2])
            self.canvas.rect(MARGIN, self.top - 8.5 * mm, 1 * mm, 8.5 * mm, stroke=0, fill=1)
            draw_text(self.canvas, headline.label, MARGIN + 4 * mm, self.top, 45 * mm, size=9, font=BOLD)
            draw_text(self.canvas, headline.note, MARGIN + 4 * mm, self.top - 4.6 * mm, 85 * mm, size=6.5, colour=FAINT)
            draw_text(self.canvas, headline.value, MARGIN + 92 * mm, self.top - 1 * mm, 44 * mm, size=13, font=BOLD)
            if self.content.compared:
                other = f"{self.content.compare_name}: {self.content.compared[place].value}"
                draw_text(
                    self.canvas, other, MARGIN + 136 * mm, self.top - 1.6 * mm, 42 * mm, lines=2, size=7, colour=FAINT
                )
            self.top -= 12 * mm

    def add_evaluations(self) -> None:
        """One row for each number of rounds at which anything was evaluated."""
        self._title("Evaluations: mean and 95 % interval", 30 * mm)
        columns = [(0.0, 30 * mm), (32 * mm, 46 * mm), (80 * mm, 46 * mm), (128 * mm, 46 * mm)]
        self._row(("rounds trained", "held-out similarity", "adversary's reward", "pass@1"), columns, font=BOLD)
        for row in self.content.evaluations:
            cells = (str(row.rounds_done), *map(_measured, (row.similarity, row.adversary_reward, row.pass_at_1)))
            self._row(cells, columns)

    def add_plots(self) -> None:
        """The curves, two on a page."""
        self.top -= 6 * mm
        for path in self.content.plots.values():
            self._make_room(PLOT_HEIGHT)
            draw_image(self.canvas, path, MARGIN, self.top - PLOT_HEIGHT, WIDTH, PLOT_HEIGHT)
            self.top -= PLOT_HEIGHT + 8 * mm

    def add_cases(self, title: str, cases: Sequence[Case]) -> None:
        """Drawings beside their reconstructions, three to a row."""
        height = SIDE + 27 * mm
        self._title(title, height if cases else 10 * mm)
        for place, case in enumerate(cases):
            column = place % 3
            if column == 0:
                self._make_room(height)
            self._case(case, MARGIN + column * (2 * SIDE + 2 * mm))
            if column == 2 or place == len(cases) - 1:
                self.top -= height

    def add_settings(self) -> None:
        """Versions and all settings, those that differ from the default in bold."""
        self._title("What was run (bold: differs from the default)", 30 * mm)
        versions = ", ".join(f"{library} {version}" for library, version in self.content.versions.items())
        self.top -= draw_text(self.canvas, versions, MARGIN, self.top, WIDTH, lines=3, size=7, colour=FAINT) + 2 * mm
        columns = [(0.0, 68 * mm), (70 * mm, WIDTH - 70 * mm)]
        for row in self.content.settings:
            self._row((row.name, row.value), columns, font=BOLD if row.changed else REGULAR)

    def _case(self, case: Case, x: float) -> None:
        for place, which in ((x, "drawing"), (x + SIDE, "reconstruction")):
            drawing = case.attempt[which]
            box = (place, self.top - SIDE, SIDE - 1 * mm, SIDE - 1 * mm)
            if drawing["file"] is None:
                draw_empty(self.canvas, f"refused: {drawing['refusal'] or 'no drawing'}", *box)
            else:
                draw_image(self.canvas, case.directory / drawing["file"], *box)
        width, top = 2 * SIDE - 1 * mm, self.top - SIDE - 1.5 * mm
        accent = self.accents[case.player == "adversary"]
        scores = f"similarity {decimals(case.attempt['similarity'])}   round {case.round}, {case.player}"
        top -= draw_text(self.canvas, scores, x, top, width, size=6, font=BOLD, colour=accent) + 0.5 * mm
        for label, text in (("Prompt", case.attempt["prompt"]), ("Description", case.attempt["description"])):
            top -= draw_text(self.canvas, f"{label}: {shown(text)}", x, top, width, lines=4, size=5.8) + 0.6 * mm

    def _row(self, cells: Sequence[str], columns: Sequence[tuple[float, float]], font: str = REGULAR) -> None:
        self._make_room(6 * mm)
        for cell, (left, width) in zip(cells, columns, strict=True):
            draw_text(self.canvas, cell, MARGIN + left, self.top, width, size=7, font=font)
        self.canvas.setStrokeColor(RULE)
        self.canvas.setLineWidth(0.3)
        self.canvas.line(MARGIN, self.top - 3.4 * mm, MARGIN + WIDTH, self.top - 3.4 * mm)
        self.top -= 4.3 * mm

    def _title(self, text: str, needed: float) -> None:
        self._make_room(needed + 14 * mm)
        self.top -= 6 * mm
        self.top -= draw_text(self.canvas, text, MARGIN, self.top, WIDTH, size=11, font=BOLD, colour=self.accents[0])
        self.top -= 2.5 * mm

    def _make_room(self, height: float) -> None:
        if self.top - height < BOTTOM:
            self._begin_page()

    def _begin_page(self) -> None:
        if self.page:
            self.canvas.showPage()
        self.page += 1
        self.top = TOP
        for place, accent in enumerate(self.accents):
            self.canvas.setFillColor(accent)
            self.canvas.rect(0, A4[1] - (2 + place) * 1.6 * mm + 1.6 * mm, A4[0], 1.6 * mm, stroke=0, fill=1)
        foot = f"{self.content.run.name}  ·  page {self.page}"
        draw_text(self.canvas, foot, MARGIN, 11 * mm, WIDTH, size=6.5, colour=FAINT)


def _measured(found: Interval | None) -> str:
    return "–" if found is None else f"{found.mean:.3f}   ({found.low:.3f} to {found.high:.3f})"
