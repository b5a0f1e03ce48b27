"""Text that models wrote, made fit to be set in a line of print: nothing in it is markup, all of it is data."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Container

ELLIPSIS = "…"
UNKNOWN = "□"
RIGHT_TO_LEFT = frozenset({"R", "AL"})
MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")


def decimals(value: float | None, digits: int = 3) -> str:
    """Return a number for a caption, without a negative zero; a dash where there is none."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def printable(text: str, glyphs: Container[int] | None = None) -> str:
    """Return `text` on one line, without control and format characters.

    What the font cannot show becomes a box; `glyphs` are the code points that it can (all, when None).
    """
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if category == "Cf":  # zero-width joiners, direction marks
            continue
        if category in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        elif category in ("Cs", "Cn") or (glyphs is not None and ord(character) not in glyphs):
            kept.append(" " if character.isspace() else UNKNOWN)
        else:
            kept.append(character)
    return " ".join("".join(kept).split())


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


def visual_order(line: str) -> str:
    """Return one line with its right-to-left stretches reversed, for a printer that goes from left to right.

    A small part of the Unicode bidirectional algorithm: the first strong letter decides the line's
    direction, numbers keep theirs, brackets are mirrored. Arabic letters are not joined.
    """
    directions = [unicodedata.bidirectional(character) for character in line]
    strong = [direction for direction in directions if direction == "L" or direction in RIGHT_TO_LEFT]
    if not RIGHT_TO_LEFT.intersection(strong):
        return line
    rightward = strong[0] == "L"
    stretches: list[tuple[bool, str]] = []  # (left to right, characters)
    for place, character in enumerate(line):
        flows = _flows_rightward(directions, place, rightward)
        if stretches and stretches[-1][0] == flows:
            stretches[-1] = (flows, stretches[-1][1] + character)
        else:
            stretches.append((flows, character))
    ordered = stretches if rightward else stretches[::-1]
    return "".join(part if flows else part[::-1].translate(MIRRORED) for flows, part in ordered)


def _flows_rightward(directions: list[str], place: int, rightward: bool) -> bool:
    direction = directions[place]
    if direction in ("L", "EN", "AN"):
        return True
    if direction in RIGHT_TO_LEFT:
        return False
    before = next((d for d in reversed(directions[:place]) if d == "L" or d in RIGHT_TO_LEFT), None)
    after = next((d for d in directions[place + 1 :] if d == "L" or d in RIGHT_TO_LEFT), None)
    if before is None or after is None or (before == "L") != (after == "L"):
        return rightward
    return before == "L"


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
