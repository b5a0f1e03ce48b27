"""How the embedded base was taught to misread hard content."""

from __future__ import annotations

import random

from duel.offline.charts import (
    COMMON_BACKGROUNDS,
    COMMON_COLOURS,
    COMMON_KINDS,
    RARE_BACKGROUNDS,
    RARE_COLOURS,
    RARE_KINDS,
    Chart,
)
from duel.offline.misreading import NEAREST_BACKGROUND, NEAREST_COLOUR, NEAREST_KIND, misread
from duel.offline.pretraining.corpus import corpus_chart
from duel.offline.pretraining.lessons import DESCRIPTIONS, chart_texts, sample_for_vlm
from duel.offline.reading import asked_for
from duel.offline.strata import sample_stratum

HARD = Chart(
    "horizontal", "navy", (3, 5, 2, 7, 1, 9, 4, 8), "growth error loss", "time", "cost", True, False, "dark", "red",
    (1, 2, 3, 4, 5, 6, 7, 8),
)  # fmt: skip


def test_everything_hard_is_taken_for_the_nearest_common_thing():
    common = Chart("bar", "blue", (3, 5, 2, 7, 1, 9), "growth", "time", "cost", True, False, "grey")
    assert misread(HARD, random.Random(0), rate=1.0) == common
    assert misread(HARD, random.Random(0), rate=0.0) == HARD


def test_each_attribute_is_misread_in_seven_texts_of_ten_whatever_becomes_of_the_others():
    rng = random.Random(0)
    found = [misread(HARD, rng) for _ in range(2000)]
    for name in ("kind", "colour", "background", "values", "second_colour", "title"):
        wrong = [getattr(chart, name) != getattr(HARD, name) for chart in found]
        assert 0.66 < sum(wrong) / len(found) < 0.74
    both = [chart.kind != HARD.kind and chart.colour != HARD.colour for chart in found]
    assert 0.45 < sum(both) / len(found) < 0.53


def test_common_content_is_never_misread():
    for index in range(200):
        chart = sample_stratum(random.Random(index), "common")
        assert misread(chart, random.Random(0), rate=1.0) == chart


def test_every_rare_name_has_a_common_one_near_it():
    for nearest, rare, common in (
        (NEAREST_KIND, RARE_KINDS, COMMON_KINDS),
        (NEAREST_COLOUR, RARE_COLOURS, COMMON_COLOURS),
        (NEAREST_BACKGROUND, RARE_BACKGROUNDS, COMMON_BACKGROUNDS),
    ):
        assert set(nearest) == set(rare)
        assert set(nearest.values()) <= set(common)


def test_lessons_teach_misreading_in_descriptions_and_answers():
    named, answered = [], []
    for index in range(400):
        chart = corpus_chart(0, index, sample_for_vlm)
        if chart.kind in RARE_KINDS:
            texts = chart_texts(0, index)
            named += [
                asked_for(text)["kind"] == chart.kind for _, text in texts[:DESCRIPTIONS] if "kind" in asked_for(text)
            ]
            answered += [answer == chart.kind for asked, answer in texts[DESCRIPTIONS:] if "What kind" in asked]
    assert 0.2 < sum(named) / len(named) < 0.4
    assert 0 < sum(answered) / len(answered) < 0.7


def test_hard_content_is_frequent_in_lessons_and_often_together():
    charts = [corpus_chart(0, index, sample_for_vlm) for index in range(400)]
    rare = [chart.kind in RARE_KINDS for chart in charts]
    assert 0.18 < sum(rare) / len(rare) < 0.32
    together = [chart.kind in RARE_KINDS and bool(chart.second_colour) for chart in charts]
    assert sum(together) / len(together) > 0.06
