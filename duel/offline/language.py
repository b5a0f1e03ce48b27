"""Charts to English: complete or partial descriptions of a chart, and prompts of an untrained adversary."""

from __future__ import annotations

import dataclasses
import random
import re

from duel.offline.charts import Chart, sample_chart

TEXTURE_PHRASES = {
    "leaves": "leafy foliage",
    "speckles": "speckles",
    "cloud": "a cloud of points",
    "sketch": "drawn by hand",
}
INVENTED_KEEP = (0.25, 1.0)  # fraction of clauses kept in a prompt of the untrained adversary
INVENTED_HARD_RATE = 0.03 / 0.625  # of each sort of hard content, before clauses are left out
# An unquoted title ends before one of these words.
CLAUSE_STARTS = frozenset(
    [
        "with",
        "without",
        "no",
        "and",
        "values",
        "on",
        "in",
        "over",
        "x",
        "y",
        "has",
        "having",
        "showing",
        "drawn",
        "grid",
        "legend",
        "where",
    ]
)


def write(chart: Chart, rng: random.Random, keep: float = 1.0) -> str:
    """Return one English sentence that describes the chart; each clause is kept with probability `keep`.

    With `keep` 1 the description is complete: `reading.read` makes the same chart of it under any generator, except
    for the layout of a texture, which no text can specify.
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
    """Return the words for a kind of chart, as they stand before `chart`."""
    return "horizontal bar" if kind == "horizontal" else kind


def title_phrase(title: str) -> str:
    """Return the clause for a title, quoted unless it consists of plain lower-case words."""
    if not title:
        return "without title"
    words = title.split(" ")
    plain = all(re.fullmatch("[a-z]+", word) for word in words) and not CLAUSE_STARTS.intersection(words)
    return f"titled {title}" if plain else f'titled "{title}"'


def values_phrase(chart: Chart) -> str:
    """Return the clause for the data. It names all series, so a text with values also fixes their number."""
    clause = "values " + " ".join(map(str, chart.values))
    if chart.second_colour:
        clause += f", {chart.second_colour} series " + " ".join(map(str, chart.second_values))
    return clause


def invent(rng: random.Random) -> str:
    """Return a prompt as the untrained adversary writes it: complete or vague; one in eleven asks for a texture.

    About 3 % of the prompts ask for each sort of hard content, so that it is as rare as in a data set.
    """
    chart = sample_chart(rng, texture_rate=0.09, hard_rate=INVENTED_HARD_RATE)
    text = write(dataclasses.replace(chart, texture=""), rng, keep=rng.uniform(*INVENTED_KEEP))
    if not chart.texture:
        return text
    phrases = {
        "leaves": ("leafy foliage", "ivy and leaves"),
        "speckles": ("speckles", "noise"),
        "cloud": ("a cloud of points", "scattered points"),
        "sketch": ("drawn by hand", "wobbly"),
    }
    return f"{text[:-1]}, {rng.choice(phrases[chart.texture])}."
