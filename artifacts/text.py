"""Sanitising and line-breaking of untrusted (model-written) text for plots, PDFs and web pages."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Container

from arabic_reshaper import ArabicReshaper
from bidi.algorithm import get_display

from duel.statistics import Interval

ELLIPSIS = "…"
UNKNOWN = "□"  # in place of a character that cannot be shown
RIGHT_TO_LEFT = frozenset({"R", "AL"})
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
SKIN_TONES = range(0x1F3FB, 0x1F400)
VARIATIONS = range(0xFE00, 0xFE10)  # selectors of the text or emoji form of the preceding character
ARABIC = ArabicReshaper({"delete_harakat": False, "support_ligatures": True})


def decimals(value: float | None, digits: int = 3) -> str:
    """Format a number for a caption, never as negative zero; a dash for None."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def bracketed(found: Interval, sign: str = "") -> str:
    """Format a mean and its 95 % interval in brackets, `0.512 [0.498, 0.526]`; `sign` is "" or "+"."""
    if not found.bounded:
        return f"{round(found.mean, 3) + 0.0:{sign}.3f} (one value)"
    mean, low, high = (f"{round(value, 3) + 0.0:{sign}.3f}" for value in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}]"


def printable(text: str, glyphs: Container[int] | None = None) -> str:
    """Return `text` on one line, without control and format characters.

    `glyphs` are the code points that the font has (None: all). A symbol that it lacks is replaced by its Unicode
    name in brackets, `[christmas tree]`; any other character by a box.
    """
    kept = []
    for character in text:
        category, code = unicodedata.category(character), ord(character)
        if category == "Cf" or code in VARIATIONS:  # zero-width joiners, direction marks
            continue
        if category in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        elif category in ("Cs", "Cn", "Co"):  # surrogates, unassigned and private code points: no font shows them
            kept.append(UNKNOWN)
        elif glyphs is not None and code not in glyphs:
            kept.append(_stand_in(character, category))
        else:
            kept.append(character)
    return " ".join("".join(kept).split())


def legible(text: str) -> str:
    """Return `text` for a web page: keeps line breaks, drops control characters and direction overrides."""
    if text.replace("\n", "").isprintable():  # the common case
        return text.strip()
    kept = []
    for character in text.replace("\r\n", "\n"):
        category = unicodedata.category(character)
        if character == "\n" or category not in ("Cc", "Cs", "Cn", "Zl", "Zp"):
            kept.append("" if character in DIRECTIONS else character)
        else:
            kept.append(UNKNOWN if category in ("Cs", "Cn") else " ")
    return "".join(kept).strip()


def shorten(text: str, characters: int) -> str:
    """Return `text`, truncated with an ellipsis if it is longer than `characters`."""
    return text if len(text) <= characters else text[: characters - 1] + ELLIPSIS


def wrap(text: str, width: float, lines: int, measure: Callable[[str], float]) -> list[str]:
    """Break printable `text` into at most `lines` lines no wider than `width`, in the unit of `measure`.

    Breaks at spaces, or inside a word wider than a line; text beyond the last line becomes an ellipsis.
    """
    broken: list[str] = []
    rest = text
    while rest and len(broken) < lines:
        last = len(broken) == lines - 1
        line = _fitting(rest, width, measure)
        if last and len(line) < len(rest):
            line = _fitting(rest, width - measure(ELLIPSIS), measure).rstrip() + ELLIPSIS
            rest = ""
        else:
            rest = rest[len(line) :].lstrip()
        broken.append(line.rstrip())
    return broken


def joined(text: str) -> str:
    """Return `text` with Arabic letters in their contextual (joined) forms."""
    return str(ARABIC.reshape(text)) if any(unicodedata.bidirectional(letter) == "AL" for letter in text) else text


def visual_order(line: str) -> str:
    """Return a line's characters in visual order, left to right (Unicode Bidirectional Algorithm, UAX 9)."""
    if not any(unicodedata.bidirectional(letter) in RIGHT_TO_LEFT for letter in line):
        return line
    return str(get_display(line))


def _stand_in(character: str, category: str) -> str:
    if character.isspace():
        return " "
    if ord(character) in SKIN_TONES:
        return ""
    return f"[{unicodedata.name(character, UNKNOWN).lower()}]" if category == "So" else UNKNOWN


def _fitting(text: str, width: float, measure: Callable[[str], float]) -> str:
    """Return the longest prefix of `text` no wider than `width`, cut at a space if it contains one."""
    low, high = 1, 1  # at least one character, so that the caller always advances
    while high < len(text) and measure(text[:high]) <= width:
        low, high = high, min(2 * high, len(text))
    if measure(text[:high]) <= width:
        return text
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if measure(text[:middle]) <= width else (low, middle)
    space = text.rfind(" ", 0, low + 1)
    return text[:space] if space > 0 else text[:low]
