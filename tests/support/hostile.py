"""Adversarial model outputs (markup, control characters, bidi overrides), and records and runs full of them."""

from __future__ import annotations

from pathlib import Path

from artifacts.pdf.round import write_round_pdf
from artifacts.run.directory import RunDirectory
from artifacts.run.rounds import write_round
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Attempt, Drawing, Group, RoundRecord
from tests.support.fake_run import Images, completion, picture, update

HOSTILE = [
    "",
    "<b>bold</b> & <script>alert(1)</script> </para> &amp; &#0;",
    "nul \x00, bell \x07, escape \x1b[31m, backspace \x08, form feed \x0c, next line \x85, \u2028 and \u2029",
    "x" * 10_000,
    "כותרת: גשם (2019) בערים",
    "مخطط شريطي يوضح هطول الأمطار 2019",
    "🎄🎅🏽👩‍👩‍👧 and 😀 \ufe0f",
    "lone surrogate \ud83d here",
    "柱状图显示六个城市的降雨量",
    "a\u0301" * 50 + " zalgo\u0336\u0337\u0338" * 30,
    "\u202ereversed by an override\u202c",
    "(unbalanced \\ (parentheses",
    "\n\n\t   \n",
]


def hostile_record(images: Images, player: str) -> RoundRecord:
    shared = Drawing(HOSTILE[1], 1, images.add(picture(1)))
    attempts = []
    for place, text in enumerate(HOSTILE):
        original = shared if player == "base" else Drawing(text, place, images.add(picture(place)))
        attempts.append(Attempt(original, Drawing(text, 2, images.add(picture(place + 50))), 0.5, 0.5))
    refused = Drawing("forbidden", 3, None, "NSFW <content> " + "y" * 5000)
    attempts.append(Attempt(shared if player == "base" else refused, refused, None, None))
    completions = [completion(text) for text in HOSTILE] + [completion("forbidden")]
    return RoundRecord(3, player, [Group(completions, attempts)], update(gradient_norm=None), 9)  # type: ignore[arg-type]


def write_hostile_run(state: Path) -> RunDirectory:
    with RunDirectory.open(StateDirectory(state), "hostile", Settings()) as run:
        images = Images()
        write_round(run, hostile_record(images, "adversary"), images.read, write_round_pdf)
    return run
