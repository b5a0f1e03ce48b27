"""Fonts of the PDFs: DejaVu Sans, which matplotlib brings, and fonts of the system for scripts that it lacks.

DejaVu Sans has Latin, Greek, Cyrillic, Hebrew and Arabic letters and many symbols. Chinese, Japanese and Korean ones
are taken from the first fonts of the system that have them, or of DUEL_FONTS (files, separated like those of PATH).
They must be TrueType: reportlab cannot embed the outlines of most `.otf` fonts.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
from fontTools.ttLib import TTFont as FontFile
from fontTools.ttLib import TTLibError
from matplotlib.font_manager import findSystemFonts
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont

REGULAR, BOLD = "DejaVuSans", "DejaVuSans-Bold"
SAMPLES = "\u4e2d\u3042\uac00"  # a letter each that a Chinese, a Japanese and a Korean font has
LIKELY = re.compile(  # file names of fonts that have them; reading every font of a system takes seconds
    r"cjk|han|gothic|mincho|ming|song|sung|hei|kai|wqy|wenquan|droid|fallback|unifont|arialuni|nanum|batang|gulim|dotum|malgun|"
    r"meiryo|msyh|simsun|pingfang|hiragino|ipa|takao|vl-|[-_](?:jp|kr|sc|tc|hk)\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=2)  # REGULAR and BOLD
def own_glyphs(font: str) -> frozenset[int]:
    """Register one of matplotlib's fonts with reportlab and return the code points it has."""
    face = TTFont(font, str(Path(mpl.get_data_path(), "fonts", "ttf", f"{font}.ttf")))
    pdfmetrics.registerFont(face)
    return frozenset(face.face.charToGlyph)


@lru_cache(maxsize=1)
def fallbacks() -> dict[str, frozenset[int]]:
    """Register the fonts for what REGULAR lacks; return the code points by reportlab's name of each, in their order."""
    found: dict[str, frozenset[int]] = {}
    wanted = set(SAMPLES)
    for path in _candidates():
        points = _points(path)
        if not wanted & points:
            continue
        name = f"Fallback{len(found)}"
        try:
            pdfmetrics.registerFont(TTFont(name, path))
        except (TTFError, OSError):  # reportlab cannot embed it
            continue
        found[name] = frozenset(map(ord, points))
        wanted -= points
        if not wanted:
            break
    return found


def _candidates() -> Iterator[str]:
    """Yield font files that may have the letters: those of DUEL_FONTS, then the system's, by name."""
    yield from filter(None, os.environ.get("DUEL_FONTS", "").split(os.pathsep))
    yield from sorted(path for path in findSystemFonts(fontext="ttf") if LIKELY.search(Path(path).name))


def _points(path: str) -> set[str]:
    """Return the characters of a TrueType font file; none where it cannot be read or has other outlines."""
    try:
        with Path(path).open("rb") as file, FontFile(file, fontNumber=0, lazy=True) as font:
            return set(map(chr, font.getBestCmap() or ())) if "glyf" in font else set()
    except (OSError, TTLibError):
        return set()


def glyphs(font: str) -> frozenset[int]:
    """Return the code points that text in a font can have: its own, and those of the fallbacks."""
    return own_glyphs(font).union(*fallbacks().values())


def runs(text: str, font: str) -> list[tuple[str, str]]:
    """Split a text into pieces of one font each, as (font, piece); what no font has stays in `font`."""
    return [(name, "".join(part)) for name, part in groupby(text, lambda character: _font_of(character, font))]


def _font_of(character: str, font: str) -> str:
    code = ord(character)
    if code in own_glyphs(font):
        return font
    return next((name for name, points in fallbacks().items() if code in points), font)


def text_width(text: str, font: str, size: float) -> float:
    """Return the width of a text in points."""
    return sum(run_width(name, piece, size) for name, piece in runs(text, font))


def run_width(name: str, piece: str, size: float) -> float:
    """Return the width in points of a text in one registered font."""
    return float(pdfmetrics.stringWidth(piece, name, size))


def missing_letters(text: str, font: str) -> set[str]:
    """Return the letters of a text that no font has, for which it shows boxes."""
    known = glyphs(font)
    return {
        character for character in text if ord(character) not in known and unicodedata.category(character)[0] == "L"
    }


def missing_note(letters: Iterable[str]) -> str:
    """Return a sentence about the letters that boxes stand for."""
    some = sorted(letters)
    scripts = sorted({unicodedata.name(letter, "other").split()[0] for letter in some})
    return (
        f"Boxes: {len(some)} letters ({', '.join(scripts)}) that no font here has. Install a TrueType font with them, "
        "or name its file in DUEL_FONTS, and write this file again; the HTML report shows them."
    )
