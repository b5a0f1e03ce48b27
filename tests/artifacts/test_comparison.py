"""Evaluations read back, paired by name, compared and said."""

import json

import pandas as pd
import pytest

from artifacts.evaluation.comparison import compare_checkpoints, compare_held_out, compare_proxies, compare_runs
from artifacts.evaluation.console import comparison_lines, evaluation_lines
from artifacts.evaluation.export import write_results
from artifacts.evaluation.read import read_checkpoint_tests, read_proxy_evaluations
from artifacts.evaluation.selection import reported_checkpoint
from artifacts.evaluation.table import evaluation_table
from artifacts.evaluation.write import asked_how, evaluation_json
from artifacts.run import files
from artifacts.run.checkpoints import write_checkpoint
from artifacts.run.directory import RunDirectory
from duel.errors import RunError
from duel.profile import read_settings
from duel.state import StateDirectory
from duel.types import Completion, Grade, Question

CHARTS = [
    Question("7", "test_images/7.png", "Which colour?", "red", 1),
    Question("8", "test_images/8.png", "How many?", "3", 4),
    Question("9", "test_images/9.png", "What is the title?", "Rain", 0, question_id=1),
    Question("9", "test_images/9.png", "What is the title?", "Rain", 0, question_id=2),
]


def open_run(state, name="mine", **values):
    RunDirectory.open(StateDirectory(state), name, read_settings(values)).close()
    return RunDirectory.read(StateDirectory(state), name)


def write_test(run, done, scores, questions=CHARTS, development=(), **how):
    """Write what a checkpoint scored: a row of scores for each question, None where ungraded."""
    answers = [[Completion("text", "1", True) for _ in row] for row in scores]
    grades = [[Grade(score, "") for score in row] for row in scores]
    result = evaluation_json(f"ckpt-{done}", questions, answers, grades, development)
    files.write_json(run.checkpoint_tests / f"ckpt-{done}.json", {**result, "how": {**asked_how(run.settings), **how}})


def write_proxy(run, done, similarities, rewards=()):
    content = {"round": done, "base": {"images": list(similarities), "similarities": list(similarities.values())}}
    files.write_json(run.eval_logs / f"eval-{done:04d}.json", {**content, "adversary": {"rewards": list(rewards)}})


def test_two_checkpoints_are_compared_question_by_question(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[0, 1], [0, 0], [1, 1], [0, 1]])
    write_test(run, 9, [[1, 1], [0, 0], [1, 1], [1, 1]])
    found = compare_checkpoints(run)
    assert (found.before, found.after, found.n, found.left_out) == ("ckpt-0", "ckpt-9", 4, 0)
    assert (found.before_mean, found.after_mean, found.difference.mean) == (0.5, 0.75, 0.25)
    assert found.p_value == 0.5  # of the two that changed, ++ and -- of four
    assert found.difference.low < 0 < found.difference.high


def test_questions_are_paired_by_name_and_not_by_place(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[0], [1], [0], [1]])
    write_test(run, 9, [[1], [0], [1], [0]], list(reversed(CHARTS)))
    assert compare_checkpoints(run).difference.mean == 0
    assert compare_checkpoints(run).p_value == 1


def test_questions_that_one_lacks_are_left_out_and_counted(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[1], [None], [0]], CHARTS[:3])
    write_test(run, 9, [[1], [1], [1], [1]])
    found = compare_checkpoints(run)
    assert (found.n, found.left_out) == (2, 2)
    assert (found.before_mean, found.after_mean) == (0.5, 1.0)


def test_two_equal_runs_differ_by_exactly_0(tmp_path):
    runs = [open_run(tmp_path, name) for name in ("a", "b")]
    for run in runs:
        write_test(run, 9, [[0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]])
        write_proxy(run, 9, {"1.png": 0.3, "2.png": 0.7})
    found = compare_runs(*runs)
    assert (found.difference.mean, found.difference.low, found.difference.high, found.p_value) == (0, 0, 0, 1)
    assert compare_held_out(*runs).difference.mean == 0


def test_the_first_run_is_compared_against_the_second(tmp_path):
    better, worse = open_run(tmp_path, "better"), open_run(tmp_path, "worse", seed=1)
    write_test(better, 4, [[1], [1], [1], [1]])
    write_test(worse, 9, [[1], [0], [0], [0]])
    found = compare_runs(better, worse)
    assert (found.before, found.after, found.difference.mean) == ("worse ckpt-9", "better ckpt-4", 0.75)
    assert found.difference.high == 1  # cut to what is possible


def test_runs_that_were_asked_differently_are_not_compared(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs")
    write_test(ours, 1, [[1]], CHARTS[:1])
    write_test(theirs, 1, [[1]], CHARTS[:1], **{"judge.service": "openai"})
    with pytest.raises(RunError, match="not asked or graded alike: judge.service: 'openai' and 'exact'"):
        compare_runs(ours, theirs)


def test_runs_without_a_common_question_are_not_compared(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs")
    write_test(ours, 1, [[1]], CHARTS[:1])
    write_test(theirs, 1, [[1]], CHARTS[1:2])
    with pytest.raises(RunError, match="no graded question in common"):
        compare_runs(ours, theirs)


def test_a_run_that_is_not_evaluated_says_what_to_do(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs")
    write_test(ours, 1, [[1]], CHARTS[:1])
    with pytest.raises(RunError, match="duel evaluate --run theirs"):
        compare_runs(ours, theirs)


def test_similarities_by_another_embedder_are_not_compared(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs", models={"embedder": "other"})
    for run in (ours, theirs):
        write_proxy(run, 3, {"1.png": 0.5})
        write_test(run, 3, [[1], [0], [1], [0]])
    assert compare_held_out(ours, theirs) is None
    assert any("models.embedder" in line for line in comparison_lines(ours, theirs))


def test_held_out_images_are_paired_by_name_past_a_refused_one(tmp_path):
    run = open_run(tmp_path)
    write_proxy(run, 0, {"1.png": 0.2, "2.png": None, "3.png": 0.6}, [0.5, 0.1])
    write_proxy(run, 6, {"3.png": 0.7, "2.png": 0.9, "1.png": 0.4}, [0.5, 0.3])
    similarity, reward = compare_proxies(*read_proxy_evaluations(run))
    assert (similarity.n, similarity.left_out) == (2, 1)
    assert similarity.difference.mean == pytest.approx(0.15)
    assert (reward.units, reward.n, reward.difference.mean) == ("prompt seeds", 2, pytest.approx(0.1))


def test_the_last_checkpoint_is_reported_however_good_an_earlier_one_looks(tmp_path):
    run = open_run(tmp_path)
    for done, score in ((0, 0), (5, 1), (9, 0)):
        write_test(run, done, [[score]], CHARTS[:1])
    assert reported_checkpoint(run).test.name == "ckpt-9"


BEST = {"evaluation": {"report": "best", "development_charts": 1}}


def test_the_best_is_chosen_on_charts_that_take_no_part_in_its_number(tmp_path):
    run = open_run(tmp_path, **BEST)
    for done, final, development in ((0, 1, 1), (5, 0, 1), (9, 1, 0)):
        write_test(run, done, [[final], [final], [development], [development]], development={"9"})
    reported = reported_checkpoint(run)
    assert (reported.test.name, reported.development_pass_at_1) == ("ckpt-5", 1.0)
    assert reported.test.pass_at_1 == 0.0
    assert reported.test.questions == [0.0, 0.0]


def test_of_equally_good_ones_the_earliest_is_the_best(tmp_path):
    run = open_run(tmp_path, **BEST)
    for done in (0, 5, 9):
        write_test(run, done, [[1], [1], [0], [1]], development={"9"})
    assert reported_checkpoint(run).test.name == "ckpt-5"


def test_without_development_answers_the_best_is_not_guessed(tmp_path):
    run = open_run(tmp_path, **BEST)
    write_test(run, 0, [[1], [0], [1], [1]])
    with pytest.raises(RunError, match="development charts"):
        reported_checkpoint(run)


def test_the_rule_cannot_be_changed_after_looking(tmp_path):
    open_run(tmp_path)
    with pytest.raises(RunError, match="evaluation.report: 'last' then, 'best' now"):
        RunDirectory.read(StateDirectory(tmp_path), "mine", read_settings(BEST))


def test_a_checkpoint_that_waits_for_its_evaluation_is_named(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[1], [0], [1], [0]])
    write_checkpoint(run, 9, {}, keep=1)
    assert reported_checkpoint(run).waiting == ["ckpt-9"]
    assert "still to be evaluated: ckpt-9" in "\n".join(evaluation_lines(run))


def test_kinds_and_categories_have_their_own_numbers(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[1, 1], [0, None], [1, 0], [None, None]])
    [row] = evaluation_table(run)
    assert row.questions.pass_at_1.mean == 0.5  # 1, 0 and 0.5; the fourth has no grade
    assert (row.questions.questions, row.questions.answers, row.questions.ungraded) == (4, 8, 3)
    assert [(group.group, group.pass_at_1.mean) for group in row.by_kind] == [("reasoning", 0.5), ("descriptive", 0.5)]
    assert [(g.group, g.pass_at_1.mean) for g in row.by_category] == [("text in chart", 1), ("number in general", 0)]
    assert row.questions.against_first is None


def test_empty_and_cut_answers_are_invalid_and_graded(tmp_path):
    run = open_run(tmp_path)
    answers = [[Completion("  ", "1", True), Completion("red", "1", False), Completion("red", "1", True)]]
    grades = [[Grade(0.0, ""), Grade(1.0, "red"), Grade(1.0, "red")]]
    files.write_json(run.checkpoint_tests / "ckpt-0.json", evaluation_json("ckpt-0", CHARTS[:1], answers, grades))
    [row] = evaluation_table(run)
    assert (row.questions.invalid, row.questions.ungraded) == (2, 0)
    assert row.questions.pass_at_1.mean == pytest.approx(2 / 3)


def test_results_written_by_an_earlier_version_are_read(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[1], [0], [1], [0]])
    path = run.checkpoint_tests / "ckpt-0.json"
    content = json.loads(path.read_text())
    del content["how"], content["invalid"]
    for row in content["per_chart_results"]:
        del row["finished"], row["invalid"], row["question_id"]
    path.write_text(json.dumps(content))
    assert read_checkpoint_tests(run)[0].pass_at_1 == 0.5


def test_the_tables_open_in_pandas_with_the_same_numbers(tmp_path):
    run = open_run(tmp_path, seed=3)
    write_test(run, 0, [[0, 1], [0, 0], [1, 1], [None, None]])
    write_test(run, 8, [[1, 1], [0, 0], [1, 1], [1, 1]])
    write_proxy(run, 0, {"1.png": 0.2, "2.png": 0.4}, [0.5])
    write_proxy(run, 8, {"1.png": 0.3, "2.png": 0.6}, [0.25])
    write_results(run)
    frame = pd.read_parquet(run.path / "results.parquet")
    assert list(frame["measure"].value_counts().sort_index()) == [2, 8, 4]  # rewards, answers, similarities
    questions = frame[(frame["measure"] == "pass@1") & (frame["rounds"] == 8)]
    assert list(questions["value"]) == [1, 0, 1, 1]
    assert set(questions["base_rounds"]) == {4}
    assert frame["value"].isna().sum() == 1  # ungraded is no 0
    summary = pd.read_csv(run.path / "results_summary.csv")
    last = summary[(summary["rounds"] == 8) & (summary["measure"] == "similarity")].iloc[0]
    assert last["difference"] == pytest.approx(0.15)
    whole = summary[(summary["rounds"] == 8) & (summary["group"] == "all") & (summary["measure"] == "pass@1")].iloc[0]
    assert (whole["reported"], whole["mean"], whole["paired_units"], whole["against"]) == (True, 0.75, 3, "ckpt-0")
    assert len(pd.read_csv(run.path / "results.csv")) == len(frame)


def test_a_text_that_is_no_unicode_does_not_break_the_tables(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[1]], [Question("7", "7.png", "half \ud83d a pair", "red", 1)])
    write_results(run)
    assert pd.read_parquet(run.path / "results.parquet")["question"][0] == "half ? a pair"


def test_the_closing_lines_say_the_result_and_its_price(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[0, 1], [0, 0], [1, 1], [0, 1]])
    write_test(run, 9, [[1, 1], [0, 0], [1, 1], [1, 1]])
    lines = evaluation_lines(run, 0.1)
    assert any(line.startswith("ckpt-9 *") for line in lines)
    reported = next(line for line in lines if line.startswith("reported"))
    assert "ckpt-9 (last, named beforehand): pass@1 0.750 [" in reported
    assert "against ckpt-0: +0.250 [" in reported
    # the differences 0.5, 0, 0, 0.5 have a standard deviation of 0.289; ((1.960 + 0.842) * 0.289 / 0.1)^2 = 65.4;
    # but sampling alone, 2 of 2 right in one half of the questions, gives 0.
    assert any("66 would show 0.1" in line for line in lines)


def test_a_run_before_its_first_evaluation_says_so(tmp_path):
    assert evaluation_lines(open_run(tmp_path)) == ["mine: no checkpoint has answered any question yet"]


def test_runs_on_images_without_questions_are_compared_by_their_images(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs", seed=1)
    for run, value in ((ours, 0.75), (theirs, 0.5)):
        write_proxy(run, 3, {"1.png": value, "2.png": value})
    [line] = [line for line in comparison_lines(ours, theirs) if line.startswith("held-out similarity")]
    assert "0.500 (theirs after 3 rounds) -> 0.750 (ours after 3 rounds), difference +0.250" in line
