import pytest

from duel.judges.exact import ExactJudge, as_number, normalise
from duel.types import Question


def score(truth, answer):
    [grade] = ExactJudge().grade(Question("1", "1.png", "?", truth, 1), [answer])
    return grade.score


@pytest.mark.parametrize("answer", ["blue", "Blue", " blue. ", "the blue"])
def test_case_punctuation_and_articles_are_ignored(answer):
    assert score("blue", answer) == 1.0


@pytest.mark.parametrize("answer", ["", "dark blue", "red", "blue blue"])
def test_other_text_is_wrong(answer):
    assert score("blue", answer) == 0.0


@pytest.mark.parametrize("answer", ["7", "7.0", "seven", "7.05", " 7 "])
def test_numbers_within_one_percent_are_right(answer):
    assert score("7", answer) == 1.0


@pytest.mark.parametrize("answer", ["7.1", "-7", "8", "7 8", "seventy"])
def test_numbers_further_off_are_wrong(answer):
    assert score("7", answer) == 0.0


@pytest.mark.parametrize("answer", ["A red chart, values 3 4.\nAnswer: 7", "Answer: 6\nNo. ANSWER: seven.", "7"])
def test_what_follows_the_last_answer_is_graded(answer):
    assert score("7", answer) == 1.0


def test_an_answer_of_the_description_alone_is_wrong():
    assert score("7", "A red chart, values 7.") == 0.0
    assert score("7", "7\nAnswer:") == 0.0


def test_zero_has_no_tolerance():
    assert score("0", "0.001") == 0.0
    assert score("0", "zero") == 1.0


def test_numbers_are_parsed_with_separators_percent_signs_and_words():
    assert [as_number(text) for text in ("1,200", "12 %", "3.", "1e3", "x1", "")] == [1200, 12, 3, 1000, None, None]


def test_normalise_keeps_words_and_drops_articles():
    assert normalise("The  Error-Rate, a.") == "error-rate"
