"""PDF primitives on a reportlab canvas: fonts, text in boxes, images in boxes.

The font is DejaVu Sans from matplotlib: Latin, Greek, Cyrillic, Hebrew and Arabic letters and many symbols. An emoji
that it lacks is set as its name in brackets, any other character as a box; the HTML report shows them all.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import matplotlib as mpl
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from artifacts.pictures import encode, shrink
from artifacts.text import joined, printable, visual_order, wrap
from duel.errors import DataError

REGULAR, BOLD = "DejaVuSans", "DejaVuSans-Bold"
INK, FAINT, RULE, PAPER = HexColor("#1b1f1d"), HexColor("#66706b"), HexColor("#d5dbd7"), HexColor("#f3f5f3")
GREEN, RED = HexColor("#14532d"), HexColor("#a61b29")
PLAYER_COLOURS = {"base": GREEN, "adversary": RED}
DOTS_PER_POINT = 250 / 72  # embedded images have 250 dpi
JPEG_QUALITY = 88


@lru_cache(maxsize=2)  # REGULAR and BOLD
def glyphs(font: str) -> frozenset[int]:
    """Register one of matplotlib's fonts with reportlab and return the code points it has."""
    face = TTFont(font, str(Path(mpl.get_data_path(), "fonts", "ttf", f"{font}.ttf")))
    pdfmetrics.registerFont(face)
    return frozenset(face.face.charToGlyph)


def open_canvas(path: Path, size: tuple[float, float], title: str) -> Canvas:
    """Return a canvas whose file depends only on what is drawn on it (no timestamps)."""
    glyphs(REGULAR), glyphs(BOLD)
    canvas = Canvas(str(path), pagesize=size, pageCompression=1, invariant=1)
    canvas.setTitle(title)
    canvas.setCreator("Duel")
    return canvas


def text_lines(text: str, width: float, lines: int, size: float, font: str = REGULAR) -> list[str]:
    """Return the first `lines` lines of `text` broken to `width` points, ending in an ellipsis if text is left over."""
    # Bounds the work for very long texts: hardly any character is narrower than a tenth of the font size.
    visible = printable(joined(printable(text[: int(lines * width / size * 10) + 1])), glyphs(font))
    return wrap(visible, width, lines, lambda part: float(pdfmetrics.stringWidth(part, font, size)))


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
    canvas.setFont(font, size)
    canvas.setFillColor(colour)
    broken = text_lines(text, width, lines, size, font)
    for number, line in enumerate(broken):
        canvas.drawString(x, top - size - number * leading, visual_order(line))
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
