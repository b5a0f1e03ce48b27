"""Descriptions of charts parse back to the chart, and any text parses."""

from __future__ import annotations

import dataclasses
import random

import pytest

from duel.offline.charts import TEXTURES, Chart, sample_chart
from duel.offline.language import TEXTURE_PHRASES, write
from duel.offline.reading import asked_for, read

RED_BAR = Chart("bar", "red", (3, 5, 2, 7), "growth", "time", "cost", True, False, "cream")
RED_BAR_TEXT = (
    "A red bar chart titled growth, values 3 5 2 7, x axis time, y axis cost, with grid, no legend, cream background."
)


def test_a_complete_text_names_every_attribute():
    assert write(RED_BAR, random.Random(0)) == RED_BAR_TEXT


def test_a_clause_left_out_is_not_asked_for():
    assert write(RED_BAR, random.Random(0), keep=0.0) == "A chart."
    assert asked_for("A chart.") == {}


def test_complete_texts_are_read_back_whatever_the_seed():
    for index in range(1000):
        chart = sample_chart(random.Random(index), texture_rate=0)
        assert read(write(chart, random.Random(0)), random.Random(index + 1)) == chart


def test_unpinnable_content_is_read_back_but_not_where_it_lies():
    charts = [sample_chart(random.Random(index), texture_rate=1) for index in range(200)]
    for index, chart in enumerate(charts):
        again = read(write(chart, random.Random(0)), random.Random(index + 1))
        assert again.texture_seed != chart.texture_seed
        assert dataclasses.replace(again, texture_seed=chart.texture_seed) == chart
    assert {chart.texture for chart in charts} == set(TEXTURES)


def test_every_texture_has_a_phrase():
    assert set(TEXTURE_PHRASES) == set(TEXTURES)


@pytest.mark.parametrize(
    ("text", "attribute", "value"),
    [
        ("a chart without a grid", "grid", False),
        ("no visible grid lines please", "grid", False),
        ("without grid or legend", "legend", False),
        ("with legend and no grid", "legend", True),
        ("a bar chart without title", "title", ""),
        ('titled "Growth, with 3 pies!"', "title", "Growth, with 3 pies!"),
        ("titled growth of energy with grid", "title", "growth of energy"),
        ("values 10, 20 and 40", "values", (2, 4, 9)),
        ("heights: three, five and nine", "values", (3, 5, 9)),
        ("horizontal blue bars", "kind", "horizontal"),
        ("on a light blue background", "background", "sky"),
        ("x-axis labelled dose", "x_label", "dose"),
        ("no x axis", "x_label", ""),
        ("ivy in the background", "texture", "leaves"),
        ("red and blue lines", "second_colour", "blue"),
    ],
)
def test_free_english_is_understood(text, attribute, value):
    assert asked_for(text)[attribute] == value


def test_a_colour_of_the_background_is_not_the_series_colour():
    assert "colour" not in asked_for("black background")


def test_negated_foliage_is_not_drawn():
    assert "texture" not in asked_for("no leafy foliage")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "x" * 10_000,
        "values " * 2000,
        "values 99999999999999999999 1",
        "数据图表 红色",
        "İ titled 'İ'",
        'titled "\ud800\u0000"',
        'titled "" values , , ,',
        "values 0 0 0",
        "x axis",
        "titled",
    ],
)
def test_hostile_texts_are_read(text):
    chart = read(text, random.Random(0))
    assert 1 <= len(chart.values) <= 12
    assert all(1 <= value <= 9 for value in chart.values)


def test_no_more_is_read_than_the_prompt_limit():
    assert "grid" not in asked_for("so " * 64 + "with grid")
    assert "grid" in asked_for("so " * 62 + "with grid")
