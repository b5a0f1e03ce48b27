"""Between charts and English: `write` says what a chart shows, `read` decides what a text asks for."""

from __future__ import annotations

import dataclasses
import random
import re

from duel.offline.charts import (
    BACKGROUNDS,
    COLOURS,
    HIGHEST,
    KINDS,
    MOST_VALUES,
    TEXTURES,
    Chart,
    sample_chart,
    settle,
)

PROMPT_LIMIT = 64  # words and marks that are read; as many as the embedded VLM's tokens, or fewer

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
TEXTURE_PHRASES = {
    "leaves": "leafy foliage",
    "speckles": "speckles",
    "cloud": "a cloud of points",
    "sketch": "drawn by hand",
}
NUMBERS = {word: number for number, word in enumerate("one two three four five six seven eight nine".split(), 1)}

NEGATIONS = frozenset("no without not lacks lacking omits omit hide hidden never non".split())
BETWEEN = frozenset(
    "a an any the visible or nor and grid gridlines legend title titles lines label labels background second series "
    "of in foliage leafy leaves ivy speckles speckled noise cloud".split()
)
TITLE_LEADS = frozenset("titled entitled title headed called".split())
AXIS_LEADS = frozenset("is label labelled labeled shows showing named called titled title as of for with".split())
# A title without quotation marks ends before one of these.
CLAUSE_STARTS = frozenset("with without no and values on in over x y has having showing drawn grid legend where".split())
TOKEN = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


def write(chart: Chart, rng: random.Random, keep: float = 1.0) -> str:
    """Describe the chart in one English sentence; each clause is kept with probability `keep`.

    With `keep` 1 the text is complete: `read` makes the same chart of it with any generator, except for
    what no text can pin down.
    """

    def kept(clause: str) -> str:
        return clause if rng.random() < keep else ""

    words = [kept(chart.colour), kept(kind_phrase(chart.kind)), "chart", kept(title_phrase(chart.title))]
    subject = " ".join(word for word in words if word)
    clauses = [("An " if subject[0] in "aeiou" else "A ") + subject, kept(values_phrase(chart))]
    if chart.kind != "pie":
        clauses.append(kept(f"x axis {chart.x_label}" if chart.x_label else "no x axis label"))
        clauses.append(kept(f"y axis {chart.y_label}" if chart.y_label else "no y axis label"))
        clauses.append(kept("with grid" if chart.grid else "no grid"))
    clauses.append(kept("with legend" if chart.legend else "no legend"))
    clauses.append(kept(f"{chart.background} background"))
    clauses.append(kept(TEXTURE_PHRASES.get(chart.texture, "")))
    return ", ".join(clause for clause in clauses if clause) + "."


def kind_phrase(kind: str) -> str:
    """Return the words for a kind of chart, to stand before `chart`."""
    return "horizontal bar" if kind == "horizontal" else kind


def title_phrase(title: str) -> str:
    """Return the clause for a title, in quotation marks unless it is plain lower-case words."""
    if not title:
        return "without title"
    words = title.split(" ")
    plain = all(re.fullmatch("[a-z]+", word) for word in words) and not CLAUSE_STARTS.intersection(words)
    return f"titled {title}" if plain else f'titled "{title}"'


def values_phrase(chart: Chart) -> str:
    """Return the clause for the data; naming the first series' values says how many series there are."""
    clause = "values " + " ".join(map(str, chart.values))
    if chart.second_colour:
        clause += f", {chart.second_colour} series " + " ".join(map(str, chart.second_values))
    return clause


def read(text: str, rng: random.Random) -> Chart:
    """Return the chart that `text` asks for; what it leaves open, `rng` decides.

    Any text is read, also an empty one or none in English: what is not understood asks for nothing.
    """
    asked = asked_for(text)
    chart = dataclasses.replace(sample_chart(rng, texture_rate=0.0), texture_seed=rng.getrandbits(32))
    return settle(dataclasses.replace(chart, **asked))  # type: ignore[arg-type]


def asked_for(text: str) -> dict[str, object]:
    """Return the attributes that a text settles, by the name of the chart's field."""
    matches = list(TOKEN.finditer(text.lower()))[:PROMPT_LIMIT]
    tokens = [match.group() for match in matches]
    # Lower-casing may lengthen a text (a dotted capital I), then the two do not align and case is given up.
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
    if second_colour or "values" in found:  # naming the first series' values says how many series there are
        found |= {"second_colour": second_colour, "second_values": second_values}
    return found


def is_negated(tokens: list[str], index: int) -> bool:
    """Whether a negation governs the word at `index`: only fillers and other nouns stand between."""
    for word in reversed(tokens[max(0, index - 6) : index]):
        if word in NEGATIONS:
            return True
        if word not in BETWEEN:
            return False
    return False


def read_switch(tokens: list[str], words: tuple[str, ...]) -> bool | None:
    """Return whether the first mention of one of `words` wants or forbids it; None: not mentioned."""
    for index, word in enumerate(tokens):
        if word in words:
            return not is_negated(tokens, index)
    return None


def read_kind(tokens: list[str]) -> str | None:
    """Return the first kind of chart named."""
    if "horizontal" in tokens and {"bar", "bars", "chart"} & set(tokens):
        return "horizontal"
    for index, word in enumerate(tokens):
        texture_points = word == "points" and "cloud" in tokens[max(0, index - 3) : index]
        if word in KIND_WORDS and not texture_points and not is_negated(tokens, index):
            return KIND_WORDS[word]
    return None


def read_colour(tokens: list[str]) -> str | None:
    """Return the first colour named that is neither the background's nor a further series'."""
    for index, word in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        if word in COLOUR_WORDS and following not in ("background", "backdrop", "series"):
            return COLOUR_WORDS[word]
    return None


def read_second(tokens: list[str]) -> tuple[str, tuple[int, ...]]:
    """Return colour and values of a further series: `blue series 3 5 4`, or `red and blue`; ("", ()): none."""
    for index, word in enumerate(tokens[:-1]):
        colour = COLOUR_WORDS.get(word, "")
        if colour and tokens[index + 1] == "series" and not is_negated(tokens, index):
            return colour, numbers_from(tokens, index + 2)
        pair = tokens[index + 1 : index + 3]
        if colour and len(pair) == 2 and pair[0] == "and" and pair[1] in COLOUR_WORDS:
            return COLOUR_WORDS[pair[1]], ()
    return "", ()


def numbers_from(tokens: list[str], start: int) -> tuple[int, ...]:
    """Return the run of numbers that begins at `start`, brought into 1 to 9."""
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
    if largest > HIGHEST:  # other units: keep the proportions
        numbers = [round(number * HIGHEST / largest) for number in numbers]
    return tuple(max(1, number) for number in numbers)


def read_values(tokens: list[str]) -> tuple[int, ...] | None:
    """Return the numbers after `values`, else the first run of at least two numbers that stands alone."""
    for index, word in enumerate(tokens):
        if word in ("values", "value", "data", "heights") and numbers_from(tokens, index + 1):
            return numbers_from(tokens, index + 1)
    for index, word in enumerate(tokens):
        after_series = index > 0 and tokens[index - 1] == "series"
        if (word.isascii() and word.isdigit()) and not after_series and len(numbers_from(tokens, index)) > 1:
            return numbers_from(tokens, index)
    return None


def read_title(raw: str, tokens: list[str]) -> str | None:
    """Return the words after `titled`: those in quotation marks, else up to the next clause."""
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
    """Return the word after `x axis` (or `y axis`); "" where the label is declined."""
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
    """Return the background whose name stands before `background`, or after `background is`."""
    for index, word in enumerate(tokens):
        if word in ("background", "backdrop", "paper"):
            for candidate in [*reversed(tokens[max(0, index - 2) : index]), *tokens[index + 1 : index + 3]]:
                if candidate in BACKGROUND_WORDS:
                    return BACKGROUND_WORDS[candidate]
    return None


def read_texture(tokens: list[str]) -> str | None:
    """Return the unpinnable content asked for, one of TEXTURES; None: none is asked for."""
    for index, word in enumerate(tokens):
        if word in TEXTURE_WORDS and not is_negated(tokens, index):
            return TEXTURE_WORDS[word]
    return None


def invent(rng: random.Random) -> str:
    """Write a prompt as the adversary does before training: complete or vague, one in eleven unpinnable."""
    chart = sample_chart(rng, texture_rate=0.09)
    text = write(dataclasses.replace(chart, texture=""), rng, keep=rng.uniform(0.25, 1.0))
    if not chart.texture:
        return text
    phrases = {
        "leaves": ("leafy foliage", "ivy and leaves"),
        "speckles": ("speckles", "noise"),
        "cloud": ("a cloud of points", "scattered points"),
        "sketch": ("drawn by hand", "wobbly"),
    }
    return f"{text[:-1]}, {rng.choice(phrases[chart.texture])}."


assert set(TEXTURE_PHRASES) == set(TEXTURES)
