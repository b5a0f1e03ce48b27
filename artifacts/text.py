"""Text that models wrote, made fit to be set in a line of print: nothing in it is markup, all of it is data."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Container

from arabic_reshaper import ArabicReshaper
from bidi.algorithm import get_display

ELLIPSIS = "…"
UNKNOWN = "□"
RIGHT_TO_LEFT = frozenset({"R", "AL"})
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
SKIN_TONES = range(0x1F3FB, 0x1F400)
VARIATIONS = range(0xFE00, 0xFE10)  # of the character before: as text, as emoji
ARABIC = ArabicReshaper({"delete_harakat": False, "support_ligatures": True})


def decimals(value: float | None, digits: int = 3) -> str:
    """Return a number for a caption, without a negative zero; a dash where there is none."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def printable(text: str, glyphs: Container[int] | None = None) -> str:
    """Return `text` on one line, without control and format characters.

    `glyphs` are the code points that the font can show (all, when None). A symbol that it cannot show becomes its
    Unicode name in brackets, `[christmas tree]`; anything else becomes a box.
    """
    kept = []
    for character in text:
        category, code = unicodedata.category(character), ord(character)
        if category == "Cf" or code in VARIATIONS:  # zero-width joiners, direction marks
            continue
        if category in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        elif category in ("Cs", "Cn"):
            kept.append(UNKNOWN)
        elif glyphs is not None and code not in glyphs:
            kept.append(_stand_in(character, category))
        else:
            kept.append(character)
    return " ".join("".join(kept).split())


def legible(text: str) -> str:
    """Return `text` for a page that knows every script: line breaks stay, what could break or turn the page goes."""
    if text.replace("\n", "").isprintable():  # nearly every text
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
    """Return `text`, cut with an ellipsis when it is longer than `characters`."""
    return text if len(text) <= characters else text[: characters - 1] + ELLIPSIS


def wrap(text: str, width: float, lines: int, measure: Callable[[str], float]) -> list[str]:
    """Break printable `text` into at most `lines` lines no wider than `width`, in the unit of `measure`.

    Breaks at spaces, and inside a word that is wider than a line; what is left over becomes an ellipsis.
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
    """Return printable `text` with Arabic letters in the forms they have beside their neighbours."""
    return str(ARABIC.reshape(text)) if any(unicodedata.bidirectional(letter) == "AL" for letter in text) else text


def visual_order(line: str) -> str:
    """Return one line in the order in which a printer that goes from left to right sets it (Unicode's UAX 9)."""
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
    """Return the longest beginning of `text` that is no wider than `width`, ended at a space if there is one."""
    low, high = 1, 1  # at least one character, else no line would ever get further
    while high < len(text) and measure(text[:high]) <= width:
        low, high = high, min(2 * high, len(text))
    if measure(text[:high]) <= width:
        return text
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if measure(text[:middle]) <= width else (low, middle)
    space = text.rfind(" ", 0, low + 1)
    return text[:space] if space > 0 else text[:low]
