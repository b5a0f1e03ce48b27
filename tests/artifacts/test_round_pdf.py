"""The PDF of a round: compact, reproducible, and robust against any model-written text."""

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from reportlab.pdfbase import pdfmetrics

from artifacts.pdf import canvas
from artifacts.pdf.round import write_round_pdf
from artifacts.pictures import shrink
from artifacts.run.directory import RunDirectory
from artifacts.run.rounds import read_round, write_round
from artifacts.text import decimals, joined, legible, printable, shorten, visual_order, wrap
from duel.errors import RunError
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Attempt, Drawing, Group, RoundRecord
from tests.support.fake_run import Images, completion, fake_record, picture, update
from tests.support.hostile import HOSTILE, hostile_record


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    opened = RunDirectory.open(StateDirectory(tmp_path), "run_1", Settings())
    opened.close()
    return opened


def pages_of(path: Path) -> int:
    return len(re.findall(rb"/Type /Page\b", path.read_bytes()))


@pytest.mark.parametrize("player", ["base", "adversary"])
def test_any_text_of_models_can_be_written(run: RunDirectory, player: str) -> None:
    images = Images()
    path = write_round(run, hostile_record(images, player), images.read, write_round_pdf)
    assert (path / "round.pdf").read_bytes().startswith(b"%PDF-")
    record = read_round(run, 3)
    written = [attempt.description for attempt in record.attempts]
    assert written == [*HOSTILE, "forbidden"]  # whole, to the last character


def test_images_are_written_with_the_generators_bytes(run: RunDirectory) -> None:
    images = Images()
    webp = io.BytesIO()
    Image.new("RGB", (64, 32), "red").save(webp, "WEBP")
    drawn = Drawing("red", 1, images.add(picture(1)))
    redrawn = Drawing("a red square", 2, images.add(webp.getvalue(), "image/webp"))
    group = Group([completion("a red square")] * 2, [Attempt(drawn, redrawn, 0.25, 0.25)] * 2)
    path = write_round(run, RoundRecord(7, "base", [group], update(), 2), images.read, write_round_pdf)
    assert path == run.training_logs / "round-0007"
    assert sorted(file.name for file in path.iterdir()) == [
        "group-0-drawing.png",
        "group-0-reconstruction-0.webp",
        "group-0-reconstruction-1.webp",
        "record.json",
        "round.pdf",
    ]
    assert (path / "group-0-drawing.png").read_bytes() == picture(1)
    assert (path / "group-0-reconstruction-1.webp").read_bytes() == webp.getvalue()
    record = json.loads((path / "record.json").read_text())
    assert (record["schema"], record["round"], record["player"]) == (5, 7, "base")
    assert record["groups"][0]["attempts"][1] == {
        "prompt": "red",
        "drawing": {"key": drawn.key, "seed": 1, "file": "group-0-drawing.png", "refusal": None},
        "description": "a red square",
        "reconstruction": {"key": redrawn.key, "seed": 2, "file": "group-0-reconstruction-1.webp", "refusal": None},
        "similarity": 0.25,
        "reward": 0.25,
        "tokens": 5,
        "finished": True,
        "ceiling": None,
        "parts": None,
    }


def test_an_adversary_round_names_its_player_and_keeps_every_drawing(run: RunDirectory) -> None:
    images = Images()
    path = write_round(run, fake_record(5, images, "adversary", size=3), images.read, write_round_pdf)
    record = read_round(run, 5)
    assert record.player == "adversary"
    files = [attempt.drawing.file for attempt in record.attempts]
    assert files == [f"group-0-drawing-{place}.png" for place in range(3)]
    assert all((path / (name or "")).is_file() for name in files)


def test_a_round_that_was_not_recorded_is_named(run: RunDirectory) -> None:
    with pytest.raises(RunError, match=r"cannot read .*round-0004/record\.json"):
        read_round(run, 4)


@pytest.mark.parametrize(("player", "groups", "pages"), [("base", 4, 2), ("adversary", 1, 1), ("base", 1, 1)])
def test_a_round_is_compact(run: RunDirectory, player: str, groups: int, pages: int) -> None:
    images = Images()
    path = write_round(run, fake_record(0, images, player, groups=groups), images.read, write_round_pdf)  # type: ignore[arg-type]
    assert pages_of(path / "round.pdf") == pages


def test_a_large_group_continues_on_further_pages(run: RunDirectory) -> None:
    images = Images()
    path = write_round(run, fake_record(0, images, "base", groups=2, size=40), images.read, write_round_pdf)
    assert 4 <= pages_of(path / "round.pdf") <= 6


def test_equal_rounds_are_equal_bytes(run: RunDirectory, tmp_path: Path) -> None:
    images = Images()
    path = write_round(run, fake_record(0, images, "base", groups=4), images.read, write_round_pdf)  # 36 images
    write_round_pdf(tmp_path / "again.pdf", read_round(run, 0), path)
    assert (tmp_path / "again.pdf").read_bytes() == (path / "round.pdf").read_bytes()


def test_an_unreadable_image_does_not_prevent_the_page(run: RunDirectory) -> None:
    images = Images()
    broken = Drawing("text", 1, images.add(b"<html>502</html>", "image/png"))
    group = Group([completion("a")] * 2, [Attempt(broken, broken, 0.5, 0.5)] * 2)
    path = write_round(run, RoundRecord(1, "base", [group], update(), 1), images.read, write_round_pdf)
    assert (path / "round.pdf").exists()


def test_transparent_images_are_blended_onto_white(tmp_path: Path) -> None:
    Image.new("RGBA", (400, 100), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    shrunk = shrink(tmp_path / "clear.png", 200)
    assert shrunk.size == (200, 50)
    assert shrunk.getpixel((100, 25)) == (255, 255, 255)


def width(text: str) -> float:
    return float(len(text))


def test_text_is_wrapped_at_spaces_and_cut_with_an_ellipsis() -> None:
    assert wrap("one two three", 7, 5, width) == ["one two", "three"]
    assert wrap("one two three four", 7, 2, width) == ["one two", "three…"]
    assert wrap("x" * 20, 8, 2, width) == ["xxxxxxxx", "xxxxxxx…"]
    assert wrap("", 8, 2, width) == []
    assert wrap("xyz", 0.5, 2, width) == ["x", "y…"]
    assert wrap("exactly", 7, 1, width) == ["exactly"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_is_wider_than_its_box(text: str) -> None:
    lines = canvas.text_lines(text, 80, 5, 5.6)
    assert len(lines) <= 5
    assert all(pdfmetrics.stringWidth(line, canvas.REGULAR, 5.6) <= 80 for line in lines)


def test_printable_text_is_one_line_of_characters_of_the_font() -> None:
    assert printable("a\x00b\n\tc\u200b \ud83d <i>") == "a b c □ <i>"
    glyphs = canvas.glyphs(canvas.REGULAR)
    for text in HOSTILE:
        assert all(ord(character) in glyphs for character in printable(text, glyphs))


def test_a_caption_has_no_negative_zero() -> None:
    assert [decimals(value) for value in (-1e-7, -0.0006, 0.12349, None)] == ["0.000", "-0.001", "0.123", "–"]


def test_right_to_left_text_reads_from_the_right() -> None:
    assert visual_order("plain (text) 12") == "plain (text) 12"
    assert visual_order("אבג") == "גבא"
    assert visual_order("אב 12 גד") == "דג 12 בא"
    assert visual_order("title אב גד end") == "title דג בא end"
    assert visual_order("אב (גד)") == "(דג) בא"


def test_arabic_letters_are_joined_and_read_from_the_right() -> None:
    # meem, teh: the initial form of meem, the final form of teh; set from the right
    assert visual_order(joined("\u0645\u062a")) == "\ufe96\ufee3"
    assert joined("plain text") == "plain text"


def test_characters_missing_in_the_font_become_names_or_boxes() -> None:
    glyphs = canvas.glyphs(canvas.REGULAR)
    assert printable("a 🎄 and 😀", glyphs) == "a [christmas tree] and 😀"
    assert printable("🎅🏽\ufe0f", glyphs) == "[father christmas]"
    assert printable("柱状", glyphs) == "□□"


def test_text_for_a_page_keeps_line_breaks_and_loses_direction_overrides() -> None:
    assert legible("a\x00b\r\nc\u202ed\ud83d👩‍👧 <b>") == "a b\ncd□👩‍👧 <b>"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"
