"""Chinese, Japanese and Korean letters in PDFs: a font that has them where there is one, else a note."""

import subprocess

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from reportlab.lib.pagesizes import A4

from artifacts.pdf import fonts
from artifacts.pdf.canvas import draw_text, open_canvas
from artifacts.pdf.fonts import REGULAR, missing_letters, missing_note, runs, text_width

CHINESE, JAPANESE, KOREAN = "\u4e2d", "\u3042", "\uac00"


def save_font(path, letters):
    """Write a TrueType font whose letters are squares, as wide as the font is high."""
    pen = TTGlyphPen(None)
    for place in ((100, 100), (900, 100), (900, 900), (100, 900)):
        (pen.moveTo if place == (100, 100) else pen.lineTo)(place)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"uni{ord(letter):04X}" for letter in letters)]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names[1:], strict=True)})
    font.setupGlyf(dict.fromkeys(names, square))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": path.stem, "styleName": "Regular", "psName": path.stem})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return str(path)


@pytest.fixture
def named(monkeypatch):
    """A function that names font files in DUEL_FONTS."""

    def name(*files):
        monkeypatch.setenv("DUEL_FONTS", ":".join(files))
        fonts.fallbacks.cache_clear()

    yield name
    fonts.fallbacks.cache_clear()


def test_each_letter_is_set_in_a_font_that_has_it(named, tmp_path):
    named(
        str(tmp_path / "missing.ttf"),
        save_font(tmp_path / "a.ttf", CHINESE + JAPANESE),
        save_font(tmp_path / "b.ttf", KOREAN),
    )
    text = f"a {CHINESE}{JAPANESE} b{KOREAN}"
    first, second = fonts.fallbacks()
    assert runs(text, REGULAR) == [
        (REGULAR, "a "), (first, CHINESE + JAPANESE), (REGULAR, " b"), (second, KOREAN),
    ]  # fmt: skip
    assert text_width(CHINESE + KOREAN, REGULAR, 10) == pytest.approx(20)
    assert missing_letters(text, REGULAR) == set()


def test_a_font_that_is_none_is_passed_over(named, tmp_path):
    (tmp_path / "no.ttf").write_bytes(b"no font")
    named(str(tmp_path / "no.ttf"), save_font(tmp_path / "yes.ttf", CHINESE))
    assert missing_letters(CHINESE, REGULAR) == set()


def test_letters_that_no_font_has_are_named():
    assert missing_letters("a \u10a0\U00012000 \U0001f384", REGULAR) == {"\U00012000"}  # an emoji is named in its place
    note = missing_note({"\U00012000", KOREAN})
    assert note.startswith("Boxes: 2 letters (CUNEIFORM, HANGUL) that no font here has. Install a TrueType font")


def test_letters_are_found_again_in_the_pdf(named, tmp_path):
    named(save_font(tmp_path / "a.ttf", CHINESE))
    canvas = open_canvas(tmp_path / "x.pdf", A4, "x")
    draw_text(canvas, f"left {CHINESE}{CHINESE} right \U00012000", 50, 700, 400)
    canvas.save()
    assert canvas.missing == {"\U00012000"}
    text = subprocess.run(
        ["pdftotext", str(tmp_path / "x.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    assert f"left {CHINESE}{CHINESE} right" in text
