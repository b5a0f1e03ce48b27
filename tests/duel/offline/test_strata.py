"""Strata: what hard content is, who shows it how often, and the held-out charts that it is measured on."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest

from duel.data.dataset import first_of_strata, open_layout
from duel.offline.charts import RARE_BACKGROUNDS, RARE_COLOURS, RARE_KINDS
from duel.offline.dataset import sample_dataset, write_dataset
from duel.offline.language import invent
from duel.offline.questions import QUESTIONS
from duel.offline.reading import asked_for, read
from duel.offline.strata import HARD, STRATA, hard_content, sample_stratum


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "charts", seed=0)


@pytest.mark.parametrize("stratum", STRATA)
def test_a_stratum_holds_its_own_hard_content_alone_and_nothing_unpinnable(stratum):
    wanted = {"common": set(), "all": set(HARD)}.get(stratum, {stratum})
    for index in range(200):
        chart = sample_stratum(random.Random(index), stratum)
        assert hard_content(vars(chart)) == wanted
        assert not chart.texture
        assert chart.kind == "pie" or (chart.x_label and chart.y_label)


@pytest.mark.parametrize(
    ("text", "sorts"),
    [
        ("A chart.", set()),
        ("A red bar chart titled growth, values 1 2 3 4 5 6 7, white background.", set()),
        ("A stem chart.", {"kind"}),
        ("A chart, dark background.", {"colour"}),
        ("A gold chart.", {"colour"}),
        ("A chart, values 3 2 1, blue series 1 2 3.", {"series"}),
        ("A chart, values 1 2 3 4 5 6 7 8.", {"values"}),
        ("A chart titled growth error loss.", {"title"}),
    ],
)
def test_a_texts_hard_content_is_what_it_asks_for(text, sorts):
    assert hard_content(asked_for(text)) == sorts


def test_untrained_prompts_ask_for_each_sort_in_about_three_of_a_hundred():
    found = Counter(sort for index in range(4000) for sort in hard_content(asked_for(invent(random.Random(index)))))
    for sort in ("kind", "series", "values", "title"):
        assert 0.018 < found[sort] / 4000 < 0.04
    assert 0.04 < found["colour"] / 4000 < 0.075  # a rare colour, or a rare background


def test_chance_fills_in_common_content_only():
    for index in range(500):
        assert not hard_content(vars(read("A chart with a grid.", random.Random(index))))


def test_the_data_set_shows_four_sorts_twice_each_and_the_rest_never():
    sample = sample_dataset(0)
    for split, times in ((sample.train, 2), (sample.test, 1)):
        shown = Counter(sort for chart in split for sort in hard_content(vars(chart)))
        assert shown == dict.fromkeys(("kind", "colour", "series", "values"), times)
    charts = [*sample.train, *sample.test]
    assert {chart.kind for chart in charts} & set(RARE_KINDS) == {"step"}
    assert {chart.colour for chart in charts} & set(RARE_COLOURS) == {"brown"}
    assert {chart.background for chart in charts} & set(RARE_BACKGROUNDS) == {"sky"}


def test_no_two_files_are_equal(written):
    files = sorted(written.rglob("*.png"))
    assert len(files) == 100 + 100 * len(STRATA)
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == len(files)


def test_fewer_training_images_leave_the_held_out_ones_as_they_are(written):
    whole = open_layout(written, 75, 25)
    for count in (16, 4):
        few = open_layout(written, count, 25)
        assert few.train_images == whole.train_images[:count]
        assert (few.test_images, few.strata, few.questions) == (whole.test_images, whole.strata, whole.questions)


def test_each_stratum_has_a_hundred_charts_with_questions_about_its_content(written):
    data = open_layout(written, 75, 25)
    assert set(data.strata) == set(STRATA)
    charts = sample_dataset(0).strata
    about = {question.text: question for question in QUESTIONS}
    for stratum in STRATA:
        questions = [question for question in data.questions if question.stratum == stratum]
        assert len({question.figure_id for question in questions}) == len(data.strata[stratum]) == 100
        for question in questions:
            asked = about[question.question]
            assert asked.about == stratum or stratum in ("common", "all")
            chart = charts[stratum][int(question.figure_id[-3:])]
            assert asked.applies(chart)
            assert question.ground_truth == asked.answer(chart)
            assert (written / question.image_path) in data.strata[stratum]


def test_questions_are_chosen_by_chart_in_each_stratum(written):
    chosen = first_of_strata(open_layout(written, 75, 25).questions, 2)
    assert {question.figure_id for question in chosen} == {f"{s}-{index:03}" for s in STRATA for index in range(2)}
    assert first_of_strata(chosen, 0) == []
    assert first_of_strata(chosen, None) == chosen
