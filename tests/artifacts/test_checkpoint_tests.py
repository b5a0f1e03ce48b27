from dataclasses import fields

from artifacts.evaluation.records import QuestionResult
from artifacts.evaluation.write import checkpoint_test
from duel.types import Completion, Grade, Question

QUESTIONS = [
    Question("7", "test_images/7.png", "Which colour?", "red", 1),
    Question("9", "test_images/9.png", "How many?", "3", 4),
]


def answers(*texts):
    return [Completion(text, "1", True) for text in texts]


def test_pass_at_1_is_the_mean_over_questions_of_their_mean_score():
    grades = [[Grade(1.0, "red"), Grade(0.0, "blue")], [Grade(1.0, "3"), Grade(1.0, "3")]]
    result = checkpoint_test(20, QUESTIONS, [answers("red", "blue"), answers("3", "3")], grades)
    assert [row.pass_at_1 for row in result.per_chart_results] == [0.5, 1.0]
    assert (result.checkpoint_name, result.overall_pass_at_1) == ("ckpt-20", 0.75)


def test_the_references_fields_are_present():
    result = checkpoint_test(0, QUESTIONS[:1], [answers("red")], [[Grade(1.0, "red")]])
    names = {field.name for field in fields(result)}
    assert {"checkpoint_name", "overall_pass_at_1", "total_questions", "per_chart_results"} <= names
    names = {field.name for field in fields(QuestionResult)}
    assert {"figure_id", "image_path", "question", "ground_truth", "completions", "scores", "pass_at_1"} <= names


def test_an_ungraded_answer_is_counted_and_is_not_scored_0():
    grades = [[Grade(1.0, "red"), Grade(None, "")], [Grade(None, ""), Grade(None, "")]]
    result = checkpoint_test(0, QUESTIONS, [answers("red", "?"), answers("?", "?")], grades)
    assert result.overall_pass_at_1 == 1.0
    assert result.ungraded == 3
    assert result.per_chart_results[1].pass_at_1 is None
