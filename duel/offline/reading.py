"""English to charts: a keyword parser for the attributes a text specifies; a random generator decides the others."""

from __future__ import annotations

import dataclasses
import random
import re

from duel.offline.charts import BACKGROUNDS, COLOURS, HIGHEST, KINDS, MOST_VALUES, Chart, sample_chart, settle
from duel.offline.language import CLAUSE_STARTS

PROMPT_LIMIT = 64  # words and punctuation marks read; no more than the embedded VLM's tokens of the same text

KIND_WORDS = {kind: kind for kind in KINDS} | {
    "bars": "bar", "column": "bar", "columns": "bar", "histogram": "bar", "lines": "line", "curve": "line",
    "scatterplot": "scatter", "points": "scatter", "donut": "pie", "steps": "step", "staircase": "step",
    "lollipop": "stem", "stems": "stem", "barh": "horizontal",
}  # fmt: skip
COLOUR_WORDS = {colour: colour for colour in COLOURS} | {"violet": "purple", "cyan": "teal", "turquoise": "teal"}
BACKGROUND_WORDS = {name: name for name in BACKGROUNDS} | {
    "gray": "grey", "yellow": "cream", "beige": "cream", "ivory": "cream", "green": "mint", "blue": "sky",
    "black": "dark", "navy": "dark", "silver": "grey",
}  # fmt: skip
TEXTURE_WORDS = {
    **dict.fromkeys(("leafy", "foliage", "ivy", "leaves", "leaf", "vines", "plants", "jungle"), "leaves"),
    **dict.fromkeys(("speckles", "speckled", "speckle", "noise", "noisy", "grain", "confetti", "spots"), "speckles"),
    **dict.fromkeys(("cloud", "clouds", "scattered", "swarm"), "cloud"),
    **dict.fromkeys(("sketch", "sketched", "sketchy", "hand", "handdrawn", "wobbly", "freehand"), "sketch"),
}
NUMBERS = {
    word: number
    for number, word in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], 1)
}

NEGATIONS = frozenset(["no", "without", "not", "lacks", "lacking", "omits", "omit", "hide", "hidden", "never", "non"])
BETWEEN = frozenset(
    [
        "a",
        "an",
        "any",
        "the",
        "visible",
        "or",
        "nor",
        "and",
        "grid",
        "gridlines",
        "legend",
        "title",
        "titles",
        "lines",
        "label",
        "labels",
        "background",
        "second",
        "series",
        "of",
        "in",
        "foliage",
        "leafy",
        "leaves",
        "ivy",
        "speckles",
        "speckled",
        "noise",
        "cloud",
    ]
)
TITLE_LEADS = frozenset(["titled", "entitled", "title", "headed", "called"])
AXIS_LEADS = frozenset(
    [
        "is",
        "label",
        "labelled",
        "labeled",
        "shows",
        "showing",
        "named",
        "called",
        "titled",
        "title",
        "as",
        "of",
        "for",
        "with",
    ]
)
TOKEN = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


def read(text: str, rng: random.Random) -> Chart:
    """Return the chart that `text` describes; `rng` decides what it leaves open.

    Any text is accepted, including an empty or non-English one: unknown words specify nothing. What is left open gets
    common content only.
    """
    asked = asked_for(text)
    chart = dataclasses.replace(sample_chart(rng, texture_rate=0.0, hard_rate=0.0), texture_seed=rng.getrandbits(32))
    return settle(dataclasses.replace(chart, **asked))  # type: ignore[arg-type]


def asked_for(text: str) -> dict[str, object]:
    """Return the attributes that a text specifies, by name of the Chart field."""
    matches = list(TOKEN.finditer(text.lower()))[:PROMPT_LIMIT]
    tokens = [match.group() for match in matches]
    # Lower-casing may change a text's length (dotted capital I); offsets then do not align, and case is dropped.
    raw = text if len(text) == len(text.lower()) else text.lower()
    raw = raw[: matches[-1].end()] if matches else ""
    found: dict[str, object] = {
        "kind": read_kind(tokens),
        "colour": read_colour(tokens),
        "values": read_values(tokens),
        "title": read_title(raw, tokens),
        "x_label": read_label(tokens, "x"),
        "y_label": read_label(tokens, "y"),
        "grid": read_switch(tokens, ("grid", "gridlines", "grids")),
        "legend": read_switch(tokens, ("legend", "legends", "key")),
        "background": read_background(tokens),
        "texture": read_texture(tokens),
    }
    found = {name: value for name, value in found.items() if value is not None}
    second_colour, second_values = read_second(tokens)
    if second_colour or "values" in found:  # a text with values specifies the number of series too
        found |= {"second_colour": second_colour, "second_values": second_values}
    return found


def is_negated(tokens: list[str], index: int) -> bool:
    """Whether a negation applies to the word at `index`: at most six words before, with only fillers between."""
    for word in reversed(tokens[max(0, index - 6) : index]):
        if word in NEGATIONS:
            return True
        if word not in BETWEEN:
            return False
    return False


def read_switch(tokens: list[str], words: tuple[str, ...]) -> bool | None:
    """Return whether the first mention of one of `words` is affirmative; None if there is none."""
    for index, word in enumerate(tokens):
        if word in words:
            return not is_negated(tokens, index)
    return None


def read_kind(tokens: list[str]) -> str | None:
    """Return the first kind of chart named, or None."""
    if "horizontal" in tokens and {"bar", "bars", "chart"} & set(tokens):
        return "horizontal"
    for index, word in enumerate(tokens):
        texture_points = word == "points" and "cloud" in tokens[max(0, index - 3) : index]
        if word in KIND_WORDS and not texture_points and not is_negated(tokens, index):
            return KIND_WORDS[word]
    return None


def read_colour(tokens: list[str]) -> str | None:
    """Return the first colour named, other than the background's or a second series', or None."""
    for index, word in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        if word in COLOUR_WORDS and following not in ("background", "backdrop", "series"):
            return COLOUR_WORDS[word]
    return None


def read_second(tokens: list[str]) -> tuple[str, tuple[int, ...]]:
    """Return colour and values of a second series (`blue series 3 5 4`, `red and blue`); ("", ()) if there is none."""
    for index, word in enumerate(tokens[:-1]):
        colour = COLOUR_WORDS.get(word, "")
        if colour and tokens[index + 1] == "series" and not is_negated(tokens, index):
            return colour, numbers_from(tokens, index + 2)
        pair = tokens[index + 1 : index + 3]
        if colour and len(pair) == 2 and pair[0] == "and" and pair[1] in COLOUR_WORDS:
            return COLOUR_WORDS[pair[1]], ()
    return "", ()


def numbers_from(tokens: list[str], start: int) -> tuple[int, ...]:
    """Return the consecutive numbers from `start` on, scaled and clipped to 1 … 9."""
    numbers: list[int] = []
    for word in tokens[start:]:
        if word.isascii() and word.isdigit():
            numbers.append(int(word[:9]))
        elif word in NUMBERS:
            numbers.append(NUMBERS[word])
        elif word not in (",", "and", ":"):
            break
    numbers = numbers[:MOST_VALUES]
    largest = max(numbers, default=0)
    if largest > HIGHEST:  # in other units: keep the proportions
        numbers = [round(number * HIGHEST / largest) for number in numbers]
    return tuple(max(1, number) for number in numbers)


def read_values(tokens: list[str]) -> tuple[int, ...] | None:
    """Return the numbers after `values`, else the first run of two or more numbers outside a `series` clause."""
    for index, word in enumerate(tokens):
        if word in ("values", "value", "data", "heights") and numbers_from(tokens, index + 1):
            return numbers_from(tokens, index + 1)
    for index, word in enumerate(tokens):
        after_series = index > 0 and tokens[index - 1] == "series"
        if (word.isascii() and word.isdigit()) and not after_series and len(numbers_from(tokens, index)) > 1:
            return numbers_from(tokens, index)
    return None


def read_title(raw: str, tokens: list[str]) -> str | None:
    """Return the title: quoted after `titled`, else up to the next clause; "" if negated; None if not mentioned."""
    quoted = re.search(r"\b(?:titled?|entitled|headed|called)\b[\s:]*[\"“”'‘«]([^\"“”'’»]{1,80})", raw, re.IGNORECASE)
    if quoted:
        return " ".join("".join(c if c.isprintable() else " " for c in quoted.group(1)).split())
    if "untitled" in tokens:
        return ""
    for index, word in enumerate(tokens):
        if word not in TITLE_LEADS or tokens[max(0, index - 1)] in ("axis", "label"):
            continue
        if is_negated(tokens, index):
            return ""
        words: list[str] = []
        start = index + 2 if tokens[index + 1 : index + 2] in (["is"], [":"]) else index + 1
        for following in tokens[start : start + 8]:
            if not following.isalnum() or following in CLAUSE_STARTS:
                break
            words.append(following)
        if words:
            return " ".join(words)
    return None


def read_label(tokens: list[str], axis: str) -> str | None:
    """Return the word after `x axis` (or `y axis`); "" if the label is negated; None if it is not mentioned."""
    for index, word in enumerate(tokens):
        place = index + 2 if tokens[index + 1 : index + 2] == ["-"] else index + 1
        if word != axis or tokens[place : place + 1] != ["axis"]:
            continue
        if is_negated(tokens, index):
            return ""
        for following in tokens[place + 1 : place + 5]:
            if not following.isalpha():
                break
            if following not in AXIS_LEADS:
                return following[:14]
    return None


def read_background(tokens: list[str]) -> str | None:
    """Return the background named just before or after the word `background`, or None."""
    for index, word in enumerate(tokens):
        if word in ("background", "backdrop", "paper"):
            for candidate in [*reversed(tokens[max(0, index - 2) : index]), *tokens[index + 1 : index + 3]]:
                if candidate in BACKGROUND_WORDS:
                    return BACKGROUND_WORDS[candidate]
    return None


def read_texture(tokens: list[str]) -> str | None:
    """Return the texture asked for, one of TEXTURES, or None."""
    for index, word in enumerate(tokens):
        if word in TEXTURE_WORDS and not is_negated(tokens, index):
            return TEXTURE_WORDS[word]
    return None
