from artifacts.evaluation.write import evaluation_json
from duel.types import Completion, Grade, Question

QUESTIONS = [
    Question("7", "test_images/7.png", "Which colour?", "red", 1),
    Question("9", "test_images/9.png", "How many?", "3", 4),
]


def answers(*texts):
    return [Completion(text, "1", True) for text in texts]


def test_pass_at_1_is_the_mean_over_questions_of_their_mean_score():
    grades = [[Grade(1.0, "red"), Grade(0.0, "blue")], [Grade(1.0, "3"), Grade(1.0, "3")]]
    result = evaluation_json("ckpt-20", QUESTIONS, [answers("red", "blue"), answers("3", "3")], grades)
    assert [row["pass_at_1"] for row in result["per_chart_results"]] == [0.5, 1.0]
    assert result["overall_pass_at_1"] == 0.75


def test_the_references_fields_are_there():
    result = evaluation_json("ckpt-0", QUESTIONS[:1], [answers("red")], [[Grade(1.0, "red")]])
    assert {"checkpoint_name", "overall_pass_at_1", "total_questions", "per_chart_results"} <= set(result)
    fields = {"figure_id", "image_path", "question", "ground_truth", "completions", "scores", "pass_at_1"}
    assert fields <= set(result["per_chart_results"][0])


def test_an_ungraded_answer_is_counted_and_is_not_a_zero():
    grades = [[Grade(1.0, "red"), Grade(None, "")], [Grade(None, ""), Grade(None, "")]]
    result = evaluation_json("ckpt-0", QUESTIONS, [answers("red", "?"), answers("?", "?")], grades)
    assert result["overall_pass_at_1"] == 1.0
    assert result["ungraded"] == 3
    assert result["per_chart_results"][1]["pass_at_1"] is None
