"""Questions about a chart, their answers known by construction."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from duel.offline.charts import Chart

TEXT_IN_CHART, TEXT_IN_GENERAL, NUMBER_IN_CHART, NUMBER_IN_GENERAL = 1, 2, 3, 4


def always(_: Chart) -> bool:
    """Whether the question makes sense: for every chart."""
    return True


@dataclass(frozen=True)
class ChartQuestion:
    """One kind of question: its words, CharXiv's answer category, its answer, and when it makes sense."""

    text: str
    category: int
    answer: Callable[[Chart], str]
    applies: Callable[[Chart], bool] = always
    about: str = ""  # the sort of hard content (strata.py) that it asks about


def has_axes(chart: Chart) -> bool:
    """Whether the chart has labelled axes."""
    return bool(chart.x_label and chart.y_label)


def has_title(chart: Chart) -> bool:
    """Whether the chart has a title."""
    return bool(chart.title)


def one_word_title(chart: Chart) -> bool:
    """Whether the title is a single word."""
    return bool(chart.title) and " " not in chart.title


def one_series(chart: Chart) -> bool:
    """Whether the chart shows one series of values only."""
    return not chart.second_colour


def yes(condition: bool) -> str:
    """Return `yes` or `no`."""
    return "yes" if condition else "no"


def spread(chart: Chart) -> int:
    """Return the largest value less the smallest."""
    return max(chart.values) - min(chart.values)


QUESTIONS = (
    ChartQuestion("What is the title of the chart?", TEXT_IN_CHART, lambda c: c.title, one_word_title),
    ChartQuestion("What is the label of the x axis?", TEXT_IN_CHART, lambda c: c.x_label, has_axes),
    ChartQuestion("What is the label of the y axis?", TEXT_IN_CHART, lambda c: c.y_label, has_axes),
    ChartQuestion(
        "What is the last word of the title?", TEXT_IN_CHART, lambda c: c.title.split()[-1], has_title, about="title"
    ),
    ChartQuestion("What kind of chart is this?", TEXT_IN_GENERAL, lambda c: c.kind, about="kind"),
    ChartQuestion("What colour is the first series?", TEXT_IN_GENERAL, lambda c: c.colour, about="colour"),
    ChartQuestion("What colour is the background?", TEXT_IN_GENERAL, lambda c: c.background, about="colour"),
    ChartQuestion("Does the chart have a grid?", TEXT_IN_GENERAL, lambda c: yes(c.grid), has_axes),
    ChartQuestion("Is there a legend?", TEXT_IN_GENERAL, lambda c: yes(c.legend)),
    ChartQuestion(
        "What colour is the second series?", TEXT_IN_GENERAL, lambda c: c.second_colour or "none", about="series"
    ),
    ChartQuestion(
        "How many series are shown?", NUMBER_IN_GENERAL, lambda c: "2" if c.second_colour else "1", about="series"
    ),
    ChartQuestion(
        "How many words has the title?", NUMBER_IN_GENERAL, lambda c: str(len(c.title.split())), about="title"
    ),
    ChartQuestion("What is the largest value?", NUMBER_IN_CHART, lambda c: str(max(c.values)), one_series),
    ChartQuestion("What is the smallest value?", NUMBER_IN_CHART, lambda c: str(min(c.values)), one_series),
    ChartQuestion("What is the first value?", NUMBER_IN_CHART, lambda c: str(c.values[0]), one_series),
    ChartQuestion("What is the last value?", NUMBER_IN_CHART, lambda c: str(c.values[-1]), one_series, about="values"),
    ChartQuestion(
        "How many values are shown?", NUMBER_IN_GENERAL, lambda c: str(len(c.values)), one_series, about="values"
    ),
    ChartQuestion(
        "What is the difference between the largest and the smallest value?",
        NUMBER_IN_GENERAL,
        lambda c: str(spread(c)),
        one_series,
    ),
    ChartQuestion(
        "How many values are greater than 5?",
        NUMBER_IN_GENERAL,
        lambda c: str(sum(value > 5 for value in c.values)),
        one_series,
    ),
)


# Asked in the data set but never in training: what the model answers right here it has worked out.
UNTRAINED = (
    ChartQuestion("What is the second value?", NUMBER_IN_CHART, lambda c: str(c.values[1]), one_series),
    ChartQuestion("What is the third value?", NUMBER_IN_CHART, lambda c: str(c.values[2]), one_series),
    ChartQuestion(
        "How many values are smaller than 5?",
        NUMBER_IN_GENERAL,
        lambda c: str(sum(value < 5 for value in c.values)),
        one_series,
    ),
    ChartQuestion(
        "What is the sum of the first and the last value?",
        NUMBER_IN_GENERAL,
        lambda c: str(c.values[0] + c.values[-1]),
        one_series,
    ),
)


def questions_about(stratum: str) -> tuple[ChartQuestion, ...]:
    """Return the questions about a stratum's hard content; for `common` and `all`: about every sort."""
    return tuple(q for q in QUESTIONS if q.about and stratum in (q.about, "common", "all"))


def ask(
    chart: Chart, count: int, rng: random.Random, questions: tuple[ChartQuestion, ...] = QUESTIONS
) -> list[ChartQuestion]:
    """Choose `count` different questions that make sense for the chart (at most as many as there are)."""
    fitting = [question for question in questions if question.applies(chart)]
    return rng.sample(fitting, min(count, len(fitting)))
