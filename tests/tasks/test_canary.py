"""Which questions the canary puts, and how answers to them are counted."""

from types import SimpleNamespace

import pytest

from duel.evaluations import CanaryResult
from duel.judges.exact import grades_by_text
from duel.settings import Settings
from duel.types import Completion, Question
from tasks.canary import ask_canary, canary_questions


def question(figure, text, truth, question_id=None):
    return Question(figure, f"test_images/{figure}.png", text, truth, 1, question_id, instruction="Think, then answer.")


@pytest.mark.parametrize(
    ("truth", "short"), [("12", True), ("1,200.5", True), ("the red line", True), ("a b c d", True), ("", False)]
)
def test_ground_truths_that_equal_text_grades_well(truth, short):
    assert grades_by_text(truth) == short
    assert not grades_by_text("it rises until May and falls")


def test_the_first_different_reasoning_questions_with_short_answers_are_put():
    colour, kind = question("7", "Which colour?", "red"), question("7", "Which kind?", "bar")
    long = question("7", "Why does it rise?", "because the summers of that decade were warm")
    described, count = question("7", "Title?", "Rain", question_id=1), question("8", "How many bars?", "4")
    asked = [long, described, colour, kind, colour, count]
    assert canary_questions(asked, 12) == [colour, kind, count]
    assert canary_questions(asked, 2) == [colour, kind]
    assert canary_questions(asked, 0) == []
    assert canary_questions(asked, 2, apart=["Which colour?"]) == [kind, count]


class Parrot:
    """A base that gives the answers it was given, and keeps what it was asked."""

    def __init__(self, answers):
        self.answers, self.asked, self.seeds = iter(answers), [], []

    def sample(self, inputs, seeds, *, temperature, max_new_tokens):
        self.asked += inputs
        self.seeds += [seed for row in seeds for seed in row]
        return [[next(self.answers) for _ in row] for row in seeds]


def asked_of(answers, questions, tmp_path, **evaluation):
    (tmp_path / "test_images").mkdir(exist_ok=True)
    for one in questions:
        (tmp_path / one.image_path).write_bytes(one.figure_id.encode())
    settings = Settings(evaluation=evaluation)
    dataset = SimpleNamespace(root=tmp_path, questions=questions)
    base = Parrot(answers)
    context = SimpleNamespace(settings=settings, dataset=dataset, players={"base": base})
    return ask_canary(context, settings.evaluation), base


def test_scores_and_cut_answers_are_shares_of_a_questions_two_answers(tmp_path):
    answers = [
        Completion("Red.", "1", True),
        Completion("red red red", "1", False),
        Completion("five", "1", True),
        Completion("4", "1", True),
    ]
    questions = [question("7", "Which colour?", "red"), question("8", "How many bars?", "4")]
    found, base = asked_of(answers, questions, tmp_path, questions_at_once=1)
    assert found == CanaryResult(["7: Which colour?", "8: How many bars?"], [0.5, 0.5], [0.5, 0.0])
    assert [one.image for one in base.asked] == [b"7", b"8"]
    assert base.asked[0].instruction == "Which colour?\nAnswer with a single word or number."
    assert len(set(base.seeds)) == 4


def test_the_anchors_questions_are_left_out(tmp_path):
    asked = [question("7", "What is the largest value?", "9"), question("7", "Which colour?", "red")]
    found, _ = asked_of([Completion("red", "1", True)] * 2, asked, tmp_path)
    assert found.questions == ["7: Which colour?"]


def test_without_questions_there_is_no_canary(tmp_path):
    assert asked_of([], [], tmp_path)[0] is None
    assert asked_of([], [question("7", "Which colour?", "red")], tmp_path, canary_questions=0)[0] is None
