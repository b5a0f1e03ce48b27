"""The recorded rounds as the page's script reads them: one compact JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from artifacts.report.gallery import Case, Gallery, ShownRound
from artifacts.text import legible, shorten

CHARACTERS = 12_000_000  # of texts in one page, about; what is cut stands whole in record.json
LEAST, MOST = 240, 4000  # characters of one text
FIELDS = (
    "place", "prompt", "drawing", "drawingFile", "description", "reconstruction", "reconstructionFile",
    "similarity", "reward", "tokens", "finished", "refusal",
)  # fmt: skip


class Interned:
    """Values that stand once in the page and are spoken of by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, value: str | None) -> int:
        """Return the number of a value; -1 for None."""
        return -1 if value is None else self.numbers.setdefault(value, len(self.numbers))


def gallery_json(gallery: Gallery, thumbnails: Mapping[str, str], originals: bool) -> str:
    """Return the data of the page's gallery, safe to stand in a script element.

    `thumbnails` are addresses by store key. With `originals` the page may show images of the round directories.
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
    # In a script element only "</script" and "<!--" mean anything; without "<" neither can stand there.
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _group(
    shown: ShownRound,
    group: list[Case],
    texts: Interned,
    pictures: Interned,
    thumbnails: Mapping[str, str],
    most: int,
) -> list[Any]:
    """Return (round, player, number of the group, attempts)."""

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
