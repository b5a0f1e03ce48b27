"""The offline data set: CharXiv's layout, answers correct by construction."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from duel.errors import DataError
from duel.offline.charts import Chart
from duel.offline.dataset import sample_dataset, write_dataset
from duel.offline.questions import QUESTIONS, UNTRAINED

CHART = Chart("bar", "red", (3, 5, 2, 7), "growth", "time", "cost", True, False, "cream")


def test_the_layout_is_charxivs(tmp_path):
    directory = write_dataset(tmp_path / "charts", seed=3)
    assert directory == tmp_path / "charts"
    assert len(list((directory / "train_images").glob("*.png"))) == 75
    assert len(list((directory / "test_images").glob("*.png"))) == 25
    rows = json.loads((directory / "test_data" / "test_set.json").read_text())
    questions = [row for row in rows if "stratum" not in row]
    per_chart = [sum(question["figure_id"] == str(figure) for question in questions) for figure in range(75, 100)]
    assert set(per_chart) <= {2, 3, 4}
    assert sum(per_chart) == len(questions)
    for question in questions:
        assert set(question) == {"figure_id", "image_path", "question", "ground_truth", "answer_category"}
        assert question["answer_category"] in (1, 2, 3, 4)
        with Image.open(directory / question["image_path"]) as image:
            assert image.size == (224, 224)


def test_a_second_call_finds_the_data_set(tmp_path):
    directory = write_dataset(tmp_path / "charts", seed=3)
    before = (directory / "train_images" / "000.png").stat().st_mtime_ns
    assert write_dataset(tmp_path / "charts", seed=4) == directory
    assert (directory / "train_images" / "000.png").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["charts"]


def test_something_else_in_its_place_is_left_alone(tmp_path):
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "letter.txt").write_text("mine")
    with pytest.raises(DataError, match="charts exists and is no Duel data set"):
        write_dataset(tmp_path / "charts", seed=3)
    assert [path.name for path in (tmp_path / "charts").iterdir()] == ["letter.txt"]


def test_the_data_set_of_an_earlier_version_is_named(tmp_path):
    directory = write_dataset(tmp_path / "charts", seed=3)
    shutil.rmtree(directory / "strata_images")
    with pytest.raises(DataError, match="charts is a data set of an earlier version"):
        write_dataset(tmp_path / "charts", seed=3)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/charts"):
        write_dataset(tmp_path / "file" / "charts", seed=3)


def test_another_seed_gives_other_charts_and_no_chart_is_in_both_splits():
    one, other = sample_dataset(0), sample_dataset(1)
    assert one.train != other.train
    charts = [*one.train, *one.test, *(chart for stratum in one.strata.values() for chart in stratum)]
    assert len(set(charts)) == len(charts)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What is the title of the chart?", "growth"),
        ("What is the label of the x axis?", "time"),
        ("What is the label of the y axis?", "cost"),
        ("What is the last word of the title?", "growth"),
        ("What kind of chart is this?", "bar"),
        ("What colour is the second series?", "none"),
        ("How many series are shown?", "1"),
        ("How many words has the title?", "1"),
        ("What colour is the first series?", "red"),
        ("What colour is the background?", "cream"),
        ("Does the chart have a grid?", "yes"),
        ("Is there a legend?", "no"),
        ("What is the largest value?", "7"),
        ("What is the smallest value?", "2"),
        ("What is the first value?", "3"),
        ("What is the last value?", "7"),
        ("How many values are shown?", "4"),
        ("What is the difference between the largest and the smallest value?", "5"),
        ("How many values are greater than 5?", "1"),
        ("What is the second value?", "5"),
        ("What is the third value?", "2"),
        ("How many values are smaller than 5?", "2"),
        ("What is the sum of the first and the last value?", "10"),
    ],
)
def test_answers_of_a_chart_known_by_heart(text, answer):
    question = next(question for question in (*QUESTIONS, *UNTRAINED) if question.text == text)
    assert question.applies(CHART)
    assert question.answer(CHART) == answer
