"""Comparison of runs: evaluations read back, paired by unit, with intervals and p-values."""

from dataclasses import replace

import pandas as pd
import pytest

from artifacts.evaluation.comparison import (
    compare_checkpoints,
    compare_held_out,
    compare_proxies,
    compare_runs,
    compare_units,
)
from artifacts.evaluation.console import comparison_lines, evaluation_lines
from artifacts.evaluation.export import write_results
from artifacts.evaluation.read import read_evaluations, read_proxies, reward_interval
from artifacts.evaluation.records import graded_means
from artifacts.evaluation.selection import reported_checkpoint
from artifacts.evaluation.table import evaluation_table
from artifacts.evaluation.write import asked_how, checkpoint_test, write_proxy
from artifacts.evaluation.write import write_test as write_checkpoint_test
from artifacts.run.checkpoints import write_checkpoint
from artifacts.run.directory import RunDirectory
from duel.errors import RunError
from duel.evaluations import ProxyEvaluation
from duel.settings.profile import read_settings
from duel.state import StateDirectory
from duel.types import Completion, Grade, Question
from tests.support.fake_run import fake_adversary_evaluation, fake_base_evaluation

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
    how = replace(asked_how(run.settings), **how)
    write_checkpoint_test(run, checkpoint_test(done, questions, answers, grades, development, how))


def write_proxies(run, done, similarities, rewards=()):
    base, adversary = fake_base_evaluation(similarities), fake_adversary_evaluation(rewards)
    write_proxy(run, ProxyEvaluation(done, base, adversary))


def test_two_checkpoints_are_compared_question_by_question(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[0, 1], [0, 0], [1, 1], [0, 1]])
    write_test(run, 9, [[1, 1], [0, 0], [1, 1], [1, 1]])
    found = compare_checkpoints(read_evaluations(run))
    assert (found.before, found.after, found.n, found.left_out) == ("ckpt-0", "ckpt-9", 4, 0)
    assert (found.before_mean, found.after_mean, found.difference.mean) == (0.5, 0.75, 0.25)
    assert found.p_value == 0.5  # of the two that changed, ++ and -- of four
    assert found.difference.low < 0 < found.difference.high


def test_questions_are_paired_by_name_and_not_by_position(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[0], [1], [0], [1]])
    write_test(run, 9, [[1], [0], [1], [0]], list(reversed(CHARTS)))
    assert compare_checkpoints(read_evaluations(run)).difference.mean == 0
    assert compare_checkpoints(read_evaluations(run)).p_value == 1


def test_questions_without_a_pair_are_left_out_and_counted(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[1], [None], [0]], CHARTS[:3])
    write_test(run, 9, [[1], [1], [1], [1]])
    found = compare_checkpoints(read_evaluations(run))
    assert (found.n, found.left_out) == (2, 2)
    assert (found.before_mean, found.after_mean) == (0.5, 1.0)


def test_two_equal_runs_differ_by_exactly_0(tmp_path):
    runs = [open_run(tmp_path, name) for name in ("a", "b")]
    for run in runs:
        write_test(run, 9, [[0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]])
        write_proxies(run, 9, {"1.png": 0.3, "2.png": 0.7})
    found = compare_runs(*map(read_evaluations, runs))
    assert (found.difference.mean, found.difference.low, found.difference.high, found.p_value) == (0, 0, 0, 1)
    assert compare_held_out(*map(read_evaluations, runs)).difference.mean == 0


def test_the_first_run_is_compared_against_the_second(tmp_path):
    better, worse = open_run(tmp_path, "better"), open_run(tmp_path, "worse", seed=1)
    write_test(better, 4, [[1], [1], [1], [1]])
    write_test(worse, 9, [[1], [0], [0], [0]])
    found = compare_runs(read_evaluations(better), read_evaluations(worse))
    assert (found.before, found.after, found.difference.mean) == ("worse ckpt-9", "better ckpt-4", 0.75)
    assert found.difference.high == 1  # cut to what is possible


def test_runs_evaluated_with_different_settings_are_not_compared(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs")
    write_test(ours, 1, [[1]], CHARTS[:1])
    write_test(theirs, 1, [[1]], CHARTS[:1], judge_service="openai")
    with pytest.raises(RunError, match="evaluated with different settings: judge.service: 'openai' and 'exact'"):
        compare_runs(read_evaluations(ours), read_evaluations(theirs))


def test_runs_without_a_common_question_are_not_compared(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs")
    write_test(ours, 1, [[1]], CHARTS[:1])
    write_test(theirs, 1, [[1]], CHARTS[1:2])
    with pytest.raises(RunError, match="no graded question in common"):
        compare_runs(read_evaluations(ours), read_evaluations(theirs))


def test_a_run_that_is_not_evaluated_says_what_to_do(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs")
    write_test(ours, 1, [[1]], CHARTS[:1])
    with pytest.raises(RunError, match="duel evaluate --run theirs"):
        compare_runs(read_evaluations(ours), read_evaluations(theirs))


def test_similarities_by_another_embedder_are_not_compared(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs", models={"embedder": "other"})
    for run in (ours, theirs):
        write_proxies(run, 3, {"1.png": 0.5})
        write_test(run, 3, [[1], [0], [1], [0]])
    assert compare_held_out(read_evaluations(ours), read_evaluations(theirs)) is None
    assert any("models.embedder" in line for line in comparison_lines(read_evaluations(ours), read_evaluations(theirs)))


def test_held_out_images_are_paired_by_name_without_refused_ones(tmp_path):
    run = open_run(tmp_path)
    write_proxies(run, 0, {"1.png": 0.2, "2.png": None, "3.png": 0.6}, [0.5, 0.1])
    write_proxies(run, 6, {"3.png": 0.7, "2.png": 0.9, "1.png": 0.4}, [0.5, 0.3])
    similarity, reward = compare_proxies(*read_proxies(run))
    assert (similarity.n, similarity.left_out) == (2, 1)
    assert similarity.difference.mean == pytest.approx(0.15)
    assert (reward.units, reward.n, reward.difference.mean) == ("prompt seeds", 2, pytest.approx(0.1))


def test_the_last_checkpoint_is_reported_however_good_an_earlier_one_looks(tmp_path):
    run = open_run(tmp_path)
    for done, score in ((0, 0), (5, 1), (9, 0)):
        write_test(run, done, [[score]], CHARTS[:1])
    assert reported_checkpoint(read_evaluations(run)).test.checkpoint_name == "ckpt-9"


BEST = {"evaluation": {"report": "best", "development_charts": 1}}


def test_the_best_is_chosen_on_charts_that_do_not_count_in_the_result(tmp_path):
    run = open_run(tmp_path, **BEST)
    for done, final, development in ((0, 1, 1), (5, 0, 1), (9, 1, 0)):
        write_test(run, done, [[final], [final], [development], [development]], development={"9"})
    reported = reported_checkpoint(read_evaluations(run))
    assert (reported.test.checkpoint_name, reported.development_pass_at_1) == ("ckpt-5", 1.0)
    assert reported.test.overall_pass_at_1 == 0.0
    assert graded_means(reported.test.per_chart_results) == [0.0, 0.0]


def test_of_equally_good_ones_the_earliest_is_the_best(tmp_path):
    run = open_run(tmp_path, **BEST)
    for done in (0, 5, 9):
        write_test(run, done, [[1], [1], [0], [1]], development={"9"})
    assert reported_checkpoint(read_evaluations(run)).test.checkpoint_name == "ckpt-5"


def test_without_development_answers_choosing_the_best_is_an_error(tmp_path):
    run = open_run(tmp_path, **BEST)
    write_test(run, 0, [[1], [0], [1], [1]])
    with pytest.raises(RunError, match="development charts"):
        reported_checkpoint(read_evaluations(run))


def test_the_rule_cannot_be_changed_on_resume(tmp_path):
    open_run(tmp_path)
    with pytest.raises(RunError, match="evaluation.report: 'last' then, 'best' now"):
        RunDirectory.read(StateDirectory(tmp_path), "mine", read_settings(BEST))


def test_checkpoints_not_yet_evaluated_are_named(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[1], [0], [1], [0]])
    write_checkpoint(run, 9, {}, keep=1)
    assert reported_checkpoint(read_evaluations(run)).waiting == ["ckpt-9"]
    assert "preliminary, not yet evaluated: ckpt-9" in "\n".join(evaluation_lines(read_evaluations(run)))


def test_kinds_and_categories_have_their_own_numbers(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[1, 1], [0, None], [1, 0], [None, None]])
    [row] = evaluation_table(read_evaluations(run))
    assert row.questions.pass_at_1.mean == 0.5  # 1, 0 and 0.5; the fourth has no grade
    assert (row.questions.questions, row.questions.answers, row.questions.ungraded) == (4, 8, 3)
    assert [(group.group, group.pass_at_1.mean) for group in row.by_kind] == [("reasoning", 0.5), ("descriptive", 0.5)]
    assert [(g.group, g.pass_at_1.mean) for g in row.by_category] == [("text in chart", 1), ("number in general", 0)]
    assert row.questions.against_first is None


def test_empty_and_cut_answers_are_invalid_and_graded(tmp_path):
    run = open_run(tmp_path)
    answers = [[Completion("  ", "1", True), Completion("red", "1", False), Completion("red", "1", True)]]
    grades = [[Grade(0.0, ""), Grade(1.0, "red"), Grade(1.0, "red")]]
    write_checkpoint_test(run, checkpoint_test(0, CHARTS[:1], answers, grades))
    [row] = evaluation_table(read_evaluations(run))
    assert (row.questions.invalid, row.questions.ungraded) == (2, 0)
    assert row.questions.pass_at_1.mean == pytest.approx(2 / 3)


def test_the_tables_open_in_pandas_with_the_same_numbers(tmp_path):
    run = open_run(tmp_path, seed=3)
    write_test(run, 0, [[0, 1], [0, 0], [1, 1], [None, None]])
    write_test(run, 8, [[1, 1], [0, 0], [1, 1], [1, 1]])
    write_proxies(run, 0, {"1.png": 0.2, "2.png": 0.4}, [0.5])
    write_proxies(run, 8, {"1.png": 0.3, "2.png": 0.6}, [0.25])
    evaluations = read_evaluations(run)
    write_results(evaluations, evaluation_table(evaluations))
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


def test_a_lone_surrogate_does_not_break_the_tables(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[1]], [Question("7", "7.png", "half \ud83d a pair", "red", 1)])
    evaluations = read_evaluations(run)
    write_results(evaluations, evaluation_table(evaluations))
    assert pd.read_parquet(run.path / "results.parquet")["question"][0] == "half ? a pair"


def test_the_last_lines_state_the_result_and_the_power(tmp_path):
    run = open_run(tmp_path)
    write_test(run, 0, [[0, 1], [0, 0], [1, 1], [0, 1]])
    write_test(run, 9, [[1, 1], [0, 0], [1, 1], [1, 1]])
    lines = evaluation_lines(read_evaluations(run), 0.1)
    assert any(line.startswith("ckpt-9 *") for line in lines)
    reported = next(line for line in lines if line.startswith("reported"))
    assert "ckpt-9 (last, rule set beforehand): pass@1 0.750 [" in reported
    assert "against ckpt-0: +0.250 [" in reported
    # the differences 0.5, 0, 0, 0.5 have a standard deviation of 0.289; ((1.960 + 0.842) * 0.289 / 0.1)^2 = 65.4;
    # but sampling alone, 2 of 2 right in one half of the questions, gives 0.
    assert any("66 would detect 0.1" in line for line in lines)


def test_a_run_before_its_first_evaluation_says_so(tmp_path):
    assert evaluation_lines(read_evaluations(open_run(tmp_path))) == [
        "mine: no checkpoint has been evaluated on questions yet"
    ]


def test_runs_on_images_without_questions_are_compared_by_their_images(tmp_path):
    ours, theirs = open_run(tmp_path, "ours"), open_run(tmp_path, "theirs", seed=1)
    for run, value in ((ours, 0.75), (theirs, 0.5)):
        write_proxies(run, 3, {"1.png": value, "2.png": value})
    [line] = [
        line
        for line in comparison_lines(read_evaluations(ours), read_evaluations(theirs))
        if line.startswith("held-out similarity")
    ]
    assert "0.500 (theirs after 3 rounds) -> 0.750 (ours after 3 rounds), difference +0.250" in line


def test_intervals_of_rewards_are_not_clipped_to_those_of_1_minus_similarity():
    regrets = [-0.2, -0.2, -0.1, -0.15, 0.05]
    found = reward_interval(regrets)
    assert found.mean == pytest.approx(-0.12)
    assert found.low < found.mean < found.high < 0.1
    earlier, later = {(i,): 0.0 for i in range(9)}, {(i,): 30.0 + i for i in range(9)}
    scaled = compare_units("adversary's reward", "a", earlier, "b", later)
    assert scaled.difference.low < scaled.difference.mean == 34.0 < scaled.difference.high
