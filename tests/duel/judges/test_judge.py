import pytest

from duel.judges.exact import ExactJudge, normalise
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


@pytest.mark.parametrize("answer", ["7", "7.0", "seven", "7 bars", " 7 ", "7."])
def test_the_same_number_is_right_however_it_is_written(answer):
    assert score("7", answer) == 1.0


@pytest.mark.parametrize("answer", ["7.05", "7.1", "-7", "8", "7 8", "seventy"])
def test_another_number_is_wrong(answer):
    assert score("7", answer) == 0.0


@pytest.mark.parametrize("answer", ["A red chart, values 3 4.\nAnswer: 7", "Answer: 6\nNo. ANSWER: seven.", "7"])
def test_what_follows_the_last_answer_is_graded(answer):
    assert score("7", answer) == 1.0


def test_an_answer_of_the_description_alone_is_wrong():
    assert score("7", "A red chart, values 7.") == 0.0
    assert score("7", "7\nAnswer:") == 0.0


def test_zero_is_zero():
    assert score("0", "0.001") == 0.0
    assert score("0", "zero") == 1.0


def test_normalise_keeps_words_and_drops_articles():
    assert normalise("The  Error-Rate, a.") == "error-rate"


def test_typographic_minus_signs_are_hyphens_in_text():
    assert normalise("error\u2010rate \u2212a") == normalise("error-rate -a")
