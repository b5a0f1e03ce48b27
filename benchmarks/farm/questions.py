"""What the base is asked in evaluations, and what the anchor asks."""

from __future__ import annotations

from collections.abc import Callable

from duel.offline.charts import Chart
from duel.offline.questions import QUESTIONS

ANSWERS: dict[str, Callable[[Chart], str]] = {question.text: question.answer for question in QUESTIONS}
KIND = "What kind of chart is this?"
COLOUR, BACKGROUND = "What colour is the first series?", "What colour is the background?"
COUNT, LAST_VALUE = "How many values are shown?", "What is the last value?"
SERIES, SECOND = "How many series are shown?", "What colour is the second series?"
LAST_WORD, WORDS = "What is the last word of the title?", "How many words has the title?"
ASKED: dict[str, tuple[str, ...]] = {  # by stratum
    "common": (  # the canary: abilities that the base had from the start
        KIND,
        COLOUR,
        BACKGROUND,
        "Is there a legend?",
        "What is the title of the chart?",
        COUNT,
    ),
    "kind": (KIND,),
    "colour": (COLOUR, BACKGROUND),
    "values": (COUNT, LAST_VALUE),
    "series": (SERIES, SECOND),
    "title": (LAST_WORD, WORDS),
    "all": (KIND, COLOUR, COUNT, SERIES, LAST_WORD),
}
ANCHORS = (  # none of those that are measured
    "What is the label of the x axis?",
    "What is the largest value?",
    "What is the label of the y axis?",
    "What is the first value?",
)
