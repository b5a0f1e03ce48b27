"""Encodes the recorded rounds as compact JSON for the gallery script of the HTML report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from artifacts.report.gallery import Case, Gallery, ShownRound
from artifacts.text import legible, shorten

CHARACTERS = 12_000_000  # approximate limit of all texts in a page; record.json has them untruncated
LEAST, MOST = 240, 4000  # bounds of one text's limit, in characters
FIELDS = (
    "place", "prompt", "drawing", "drawingFile", "description", "reconstruction", "reconstructionFile",
    "similarity", "reward", "tokens", "finished", "refusal",
)  # fmt: skip


class Interned:
    """String interning: each distinct value is stored once and referred to by its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, value: str | None) -> int:
        """Return the number of a value, a new one for a new value; -1 for None."""
        return -1 if value is None else self.numbers.setdefault(value, len(self.numbers))


def gallery_json(gallery: Gallery, thumbnails: Mapping[str, str], originals: bool) -> str:
    """Return the gallery's data as JSON that is safe inside a script element.

    `thumbnails` are URLs by store key. With `originals`, the page may load full images from the round directories.
    """
    texts, pictures = Interned(), Interned()
    count = sum(1 for _ in gallery.cases())
    most = max(LEAST, min(MOST, CHARACTERS // max(2 * count, 1)))
    groups = [
        _group(shown, group, texts, pictures, thumbnails, most) for shown in gallery.rounds for group in shown.groups
    ]
    content = {
        "fields": FIELDS,
        "originals": originals,
        "groups": groups,
        "texts": list(texts.numbers),
        "pictures": list(pictures.numbers),
    }
    # Inside a script element only "</script" and "<!--" have a meaning; with "<" escaped, neither can occur.
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _group(
    shown: ShownRound,
    group: list[Case],
    texts: Interned,
    pictures: Interned,
    thumbnails: Mapping[str, str],
    most: int,
) -> list[Any]:
    """Return [round, player, number of the group, attempts], each attempt a list in the order of FIELDS."""

    def attempt(case: Case) -> list[Any]:
        drawing, redrawn = case.attempt.drawing, case.attempt.reconstruction
        return [
            case.place,
            texts.number(shorten(legible(case.attempt.prompt), most)),
            pictures.number(thumbnails.get(drawing.key or "")),
            texts.number(drawing.file),
            texts.number(shorten(legible(case.attempt.description), most)),
            pictures.number(thumbnails.get(redrawn.key or "")),
            texts.number(redrawn.file),
            _rounded(case.attempt.similarity),
            _rounded(case.attempt.reward),
            case.attempt.tokens,
            int(case.attempt.finished),
            texts.number(_refusal(drawing.refusal or redrawn.refusal, most)),
        ]

    return [shown.round, shown.player, group[0].group, [attempt(case) for case in group]]


def _refusal(reason: str | None, most: int) -> str | None:
    return None if reason is None else shorten(legible(reason), most)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4) + 0.0
