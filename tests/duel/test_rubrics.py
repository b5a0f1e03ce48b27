from pathlib import Path

import pytest

import duel.testing
from duel.errors import DataError
from duel.rubrics import fill_braces, fill_placeholders, number_form, read_rubrics, subplot_prefix
from duel.types import Question

STAND_IN = Path(next(iter(duel.testing.__path__))) / "constants.py"


@pytest.fixture(scope="module")
def rubrics():
    return read_rubrics(STAND_IN)


def rewritten(tmp_path, old, new):
    text = STAND_IN.read_text()
    assert text.count(old) >= 1
    path = tmp_path / "constants.py"
    path.write_text(text.replace(old, new))
    return path


def test_a_question_is_asked_with_the_instruction_of_its_category(rubrics):
    asked = rubrics.ask_reasoning(2, "Which line is lower?", "B")
    assert asked == (
        "Which line is lower?\n    * Answer with a short phrase, or with one of the options where some are given.\n    "
    )


def test_a_free_form_number_states_its_decimal_places(rubrics):
    assert rubrics.ask_reasoning(4, "How many?", "12").split("\n")[1].strip() == number_form("12")
    assert number_form("12") == "* Give your final answer as an exact integer."
    assert number_form("0.450") == "* Give your final answer as a number with 3 decimal places."


def test_braces_of_a_question_stay_as_they_are(rubrics):
    asked = rubrics.ask_reasoning(4, r"Where is \( e^{R}_{1}({}) \)?", "1")
    assert asked.startswith(r"Where is \( e^{R}_{1}({}) \)?" + "\n    * Give")


@pytest.mark.parametrize(
    ("subplot", "words"),
    [
        ([0, 0], "In this plot, "),
        ([2, 1], "In the subplot at row 2 and column 1, "),
        ("the inner subplot", "In the inner subplot, "),
    ],
)
def test_a_descriptive_question_says_which_subplot(rubrics, subplot, words):
    assert subplot_prefix(subplot) == words
    assert rubrics.ask_descriptive(1, subplot) == words + "which title is written?"


@pytest.mark.parametrize("question_id", [18, 19])
def test_a_question_about_the_whole_figure_names_no_subplot(rubrics, question_id):
    assert rubrics.ask_descriptive(question_id, [2, 1]) == rubrics.descriptive_resp_inst[question_id]


def test_a_reasoning_answer_is_graded_by_the_rubric_of_its_category(rubrics):
    question = Question("3", "3.jpg", "How many?", "7", 3, instruction="How many?\n* Answer with a number")
    prompt = rubrics.grade_reasoning(question, "It is <|ground_truth|> or 8.")
    assert prompt.startswith(rubrics.reasoning_grading_prefix)
    assert "* 1 where both are the same number.\n" in prompt
    # The question goes in without its instruction; marks in a response are not filled.
    assert prompt.rstrip().endswith(
        "* Question: How many?\n    * Ground Truth: 7\n    * Response: It is <|ground_truth|> or 8."
    )


def test_descriptive_answers_are_graded_together_by_the_rubric_of_their_question(rubrics):
    prompt = rubrics.grade_descriptive(16, [("it falls", "decreases"), ("", "Not Applicable")])
    assert prompt == (
        "\nGrade 2 responses to one question. Reply in JSON with the keys "
        "['extract_answer_T1', 'score_T1', 'extract_answer_T2', 'score_T2']; each score is 0 or 1.\n"
        "\nOverarching Question: Trend?\n"
        "\n* 1 for the same trend.\n\n### Example End ###\n"
        "T1:\nResponse 1: it falls\nGround Truth 1: decreases\n\n"
        "T2:\nResponse 2: \nGround Truth 2: Not Applicable\n\n"
    )


@pytest.mark.parametrize(
    ("question_id", "topic"),
    [
        *((1, "title"), (2, "ocr"), (7, "ocr"), (8, "quant"), (10, "quant"), (11, "bool"), (12, "quant")),
        *((13, "enum"), (14, "quant"), (16, "trend"), (17, "quant"), (18, "layout"), (19, "quant")),
    ],
)
def test_each_descriptive_question_has_the_benchmarks_rubric(rubrics, question_id, topic):
    assert rubrics.descriptive_grading_icl[topic] in rubrics.grade_descriptive(question_id, [("a", "b")])


def test_filling_takes_as_many_values_as_there_are_placeholders():
    assert fill_braces("{} and {}", ["{}", "b"]) == "{} and b"
    with pytest.raises(ValueError, match="zip"):
        fill_braces("{}", ["a", "b"])
    assert fill_placeholders("<|a|> <|other|>", {"a": r"\1 <|a|>"}) == r"\1 <|a|> <|other|>"


@pytest.mark.parametrize(
    "name",
    [
        "REASONING_RESP_INST",
        "REASONING_GRADING_INST",
        "REASONING_GRADING_PREFIX",
        "DESCRIPTIVE_RESP_INST",
        "DESCRIPTIVE_GRADING_QMAP",
        "DESCRIPTIVE_GRADING_ICL",
        "DESCRIPTIVE_GRADING_PREFIX",
    ],
)
def test_a_missing_name_is_named(tmp_path, name):
    with pytest.raises(DataError, match=f"constants.py: {name} is missing; remove the file"):
        read_rubrics(rewritten(tmp_path, f"\n{name} =", f"\nOTHER_{name} ="))


def test_code_in_the_file_is_never_executed(tmp_path):
    harmless = tmp_path / "constants.py"
    trace = tmp_path / "trace"
    harmless.write_text(f"open({str(trace)!r}, 'w')\n" + STAND_IN.read_text())
    read_rubrics(harmless)
    hostile = rewritten(tmp_path, "\n_TURN =", f"\nREASONING_GRADING_PREFIX = str(open({str(trace)!r}, 'w'))\n_TURN =")
    with pytest.raises(DataError, match="malformed node or string"):
        read_rubrics(hostile)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('    2: "{}\\n', '    5: "{}\\n', "REASONING_RESP_INST is not a mapping of 1, 2, 3, 4 to texts"),
        ('    4: "{}\\n    {}\\n    "', '    4: "{}\\n"', r"REASONING_RESP_INST has \[1, 1, 1, 1\] places"),
        ("{}do lines", "{}{}do lines", "more than one place for the subplot"),
        ("<|ground_truth|>", "the truth", "no place for answer or response under"),
        ('    "trend":', '    "trends":', "DESCRIPTIVE_GRADING_ICL is not a mapping of title, ocr"),
        ("_TURN =", "DESCRIPTIVE_GRADING_PREFIX = 3  #", None),
    ],
)
def test_a_constant_of_another_type_is_refused(tmp_path, old, new, fault):
    path = rewritten(tmp_path, old, new)
    if fault is None:  # a later assignment wins, as it does when Python reads the file
        assert read_rubrics(path).descriptive_grading_prefix.startswith("\nGrade")
        return
    with pytest.raises(DataError, match=fault):
        read_rubrics(path)


@pytest.mark.parametrize("content", [b"", b"x = (", b"\x00", b"(" * 5000, b"#" * 2**21])
def test_a_file_that_is_not_the_benchmarks_is_refused(tmp_path, content):
    path = tmp_path / "constants.py"
    path.write_bytes(content)
    with pytest.raises(DataError, match="constants.py"):
        read_rubrics(path)
