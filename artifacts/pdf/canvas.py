"""PDF primitives on a reportlab canvas: text in boxes, images in boxes.

An emoji that the fonts lack is set as its name in brackets, any other character as a box; the HTML report shows them
all.
"""

from __future__ import annotations

import io
from pathlib import Path

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas as reportlab_canvas

from artifacts.pdf.fonts import BOLD, REGULAR, glyphs, missing_letters, own_glyphs, run_width, runs, text_width
from artifacts.pictures import encode, shrink
from artifacts.text import joined, printable, visual_order, wrap
from duel.errors import DataError

INK, FAINT, RULE, PAPER = HexColor("#1b1f1d"), HexColor("#66706b"), HexColor("#d5dbd7"), HexColor("#f3f5f3")
GREEN, RED = HexColor("#14532d"), HexColor("#a61b29")
PLAYER_COLOURS = {"base": GREEN, "adversary": RED}
DOTS_PER_POINT = 250 / 72  # embedded images have 250 dpi
JPEG_QUALITY = 88


class Canvas(reportlab_canvas.Canvas):
    """A reportlab canvas that notes the letters drawn as boxes, since no font has them."""

    def __init__(self, path: Path, size: tuple[float, float]) -> None:
        own_glyphs(REGULAR), own_glyphs(BOLD)
        super().__init__(str(path), pagesize=size, pageCompression=1, invariant=1)
        self.missing: set[str] = set()


def open_canvas(path: Path, size: tuple[float, float], title: str) -> Canvas:
    """Return a canvas whose file depends only on what is drawn on it (no timestamps)."""
    canvas = Canvas(path, size)
    canvas.setTitle(title)
    canvas.setCreator("Duel")
    return canvas


def text_lines(text: str, width: float, lines: int, size: float, font: str = REGULAR) -> list[str]:
    """Return the first `lines` lines of `text` broken to `width` points, ending in an ellipsis if text is left over."""
    visible = printable(joined(printable(text[: longest(width, lines, size)])), glyphs(font))
    return wrap(visible, width, lines, lambda part: text_width(part, font, size))


def longest(width: float, lines: int, size: float) -> int:
    """Return how many characters may fit, to bound the work: hardly any is narrower than a tenth of the font size."""
    return int(lines * width / size * 10) + 1


def draw_text(
    canvas: Canvas,
    text: str,
    x: float,
    top: float,
    width: float,
    lines: int = 1,
    size: float = 6.5,
    font: str = REGULAR,
    colour: Color = INK,
) -> float:
    """Draw `text` in a box with upper left corner (x, top) and return the height it used; all in points."""
    leading = size * 1.28
    canvas.setFillColor(colour)
    canvas.missing |= missing_letters(text[: longest(width, lines, size)], font)
    broken = text_lines(text, width, lines, size, font)
    for number, line in enumerate(broken):
        place = x
        for name, piece in runs(visual_order(line), font):
            canvas.setFont(name, size)
            canvas.drawString(place, top - size - number * leading, piece)
            place += run_width(name, piece, size)
    return leading * len(broken)


def draw_image(canvas: Canvas, path: Path, x: float, bottom: float, width: float, height: float) -> None:
    """Fit an image file into a box, centred, re-encoded as JPEG at the printed resolution.

    A file that is not an image is replaced by a box that says so.
    """
    try:
        picture = shrink(path, round(max(width, height) * DOTS_PER_POINT))
    except DataError:  # the file itself is beside the PDF for inspection
        draw_empty(canvas, "not a readable image", x, bottom, width, height)
        return
    scale = min(width / picture.width, height / picture.height)
    shown_x, shown_y = picture.width * scale, picture.height * scale
    place = (x + (width - shown_x) / 2, bottom + (height - shown_y) / 2)
    canvas.drawImage(ImageReader(io.BytesIO(encode(picture, "JPEG", JPEG_QUALITY))), *place, shown_x, shown_y)
    canvas.setStrokeColor(RULE)
    canvas.setLineWidth(0.4)
    canvas.rect(*place, shown_x, shown_y, fill=0)


def draw_empty(canvas: Canvas, reason: str, x: float, bottom: float, width: float, height: float) -> None:
    """Draw an empty box with the reason why there is no image."""
    canvas.setFillColor(PAPER)
    canvas.setStrokeColor(RULE)
    canvas.setLineWidth(0.4)
    canvas.rect(x, bottom, width, height, fill=1)
    draw_text(canvas, reason, x + 2 * mm, bottom + height / 2 + 10, width - 4 * mm, lines=3, size=6, colour=RED)
