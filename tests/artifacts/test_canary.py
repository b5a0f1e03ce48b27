"""The canary in what a reader sees: its line, its table and its warning."""

import dataclasses

import pytest

from artifacts.evaluation.canary import canary_line, canary_warning
from artifacts.evaluation.console import evaluation_lines
from artifacts.evaluation.export import results_frame, summary_frame
from artifacts.evaluation.read import read_evaluations
from artifacts.evaluation.records import ProxyRecord
from artifacts.evaluation.table import evaluation_table
from artifacts.evaluation.write import write_proxy
from artifacts.report.html import write_report
from artifacts.status import status_lines
from duel.evaluations import CanaryResult, ProxyEvaluation
from tests.support.fake_run import fake_base_evaluation, fake_run


def proxy(done, scores, unfinished=0.0):
    """A proxy evaluation whose canary has these scores by question; None: no canary."""
    canary = scores and CanaryResult(list(scores), list(scores.values()), [unfinished] * len(scores))
    return ProxyRecord(done, dataclasses.replace(fake_base_evaluation({"7.png": 0.5}), canary=canary), None)


def test_the_line_says_first_and_last_mean_and_how_many_answers_had_no_end():
    proxies = [proxy(0, {"a": 1.0, "b": 0.5}), proxy(5, {"a": 0.5, "b": 0.5}), proxy(9, {"a": 0.5, "b": 0.0}, 0.25)]
    line = "0.750 after 0 rounds, 0.250 after 9; 25% of the last answers unfinished"
    assert canary_line(proxies) == line
    assert canary_line(proxies[:1]) == "0.750 after 0 rounds; 0% of the last answers unfinished"
    assert canary_line([proxy(0, None)]) is None


@pytest.mark.parametrize(("last", "warned"), [(1.0, False), (0.9, False), (0.875, True), (0.0, True)])
def test_a_fall_of_more_than_a_tenth_is_warned_of(last, warned):
    warning = canary_warning([proxy(0, {"a": 1.0}), proxy(9, {"a": last})])
    assert (warning is not None) == warned
    if warning:
        said = (
            f"the base is losing the ability to answer: canary 1.000 after 0 rounds, {last:.3f} after 9 (1 questions)"
        )
        assert warning.startswith(said)


def test_a_fall_that_came_back_is_not_warned_of():
    assert canary_warning([proxy(0, {"a": 1.0}), proxy(5, {"a": 0.5}), proxy(9, {"a": 1.0})]) is None


def test_only_questions_that_both_put_count():
    assert canary_warning([proxy(0, {"a": 1.0}), proxy(9, {"a": 1.0, "b": 0.0})]) is None
    assert canary_warning([proxy(0, {"a": 1.0}), proxy(9, {"b": 0.0})]) is None
    assert canary_warning([proxy(0, None), proxy(9, {"b": 0.0})]) is None


def test_every_reader_is_warned(tmp_path):
    run = fake_run(tmp_path, rounds=8, every=4)
    quiet = [*status_lines(run, None), *evaluation_lines(read_evaluations(run)), write_report(run).read_text()]
    assert not any("losing the ability" in text for text in quiet)

    fallen = CanaryResult(["0: How many bars are there?"], [0.5], [0.5])
    write_proxy(run, ProxyEvaluation(8, dataclasses.replace(fake_base_evaluation({"0.png": 0.5}), canary=fallen), None))
    said = "the base is losing the ability to answer: canary 1.000 after 0 rounds, 0.500 after 8 (1 questions)"
    assert any(line.startswith("warning") and said in line for line in status_lines(run, None))
    assert any(line.startswith("warning: ") and said in line for line in evaluation_lines(read_evaluations(run)))
    assert said in write_report(run).read_text()


def test_the_table_and_its_export_pair_the_canary_with_the_first_one(tmp_path):
    run = fake_run(tmp_path, rounds=8, every=4)  # its canary falls from 1 to 0.95
    evaluations = read_evaluations(run)
    rows = evaluation_table(evaluations)
    assert rows[0].canary.mean == 1
    assert rows[0].canary_change is None
    assert rows[2].canary.mean == pytest.approx(0.95)
    assert rows[2].canary_unfinished.mean == pytest.approx(0.05)
    assert (rows[2].canary_change.n, rows[2].canary_change.difference.mean) == (12, pytest.approx(-0.05))

    results, summary = results_frame(evaluations), summary_frame(run, rows)
    assert (results["measure"] == "canary").sum() == 3 * 12
    last = summary[(summary["measure"] == "canary") & (summary["rounds"] == 8)].iloc[0]
    assert (last["mean"], last["difference"]) == (pytest.approx(0.95), pytest.approx(-0.05))
