"""eval-NNNN.json and ckpt-N.json: written and read back equal, and read as earlier versions wrote them."""

import dataclasses
import json

import pytest

from artifacts.evaluation.read import read_evaluations, read_proxies, read_tests
from artifacts.evaluation.records import AskedHow, ProxyRecord
from artifacts.evaluation.write import asked_how, checkpoint_test, write_proxy, write_test
from artifacts.run.directory import RunDirectory
from duel.errors import RunError
from duel.evaluations import AdversaryEvaluation, BaseEvaluation, CanaryResult, ProxyEvaluation, StratumEvaluation
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Completion, Grade, Question

CANARY = CanaryResult(["7: Which colour?"], [0.5], [1.0])
BASE = BaseEvaluation(["7.png", "8.png"], [0.1 + 0.2, None], draws_asked=3, draws_made=1, canary=CANARY)
ADVERSARY = AdversaryEvaluation(["a chart", "half \ud83d a pair"], ["bars", ""], [0.25, None], [0.75, None], 5, 4)
HOW = {
    "evaluation.temperature": 0.7,
    "evaluation.max_new_tokens": 12,
    "evaluation.answer": "{question}",
    "judge.service": "exact",
    "judge.model": None,
}
QUESTION = {"figure_id": "7", "image_path": "7.png", "question": "Which colour?", "ground_truth": "red"}
ANSWERED = {"completions": ["red", " "], "scores": [1, None], "pass_at_1": 1.0}
SAID_SINCE = {"kind": "reasoning", "answer_category": 1, "question_id": None, "extracted": ["red", ""]}


@pytest.fixture
def run(tmp_path):
    with RunDirectory.open(StateDirectory(tmp_path), "mine", Settings()) as opened:
        return opened


def test_a_proxy_evaluation_is_read_as_written(run):
    measured = ProxyEvaluation(25, BASE, ADVERSARY)
    write_proxy(run, measured)
    assert read_proxies(run) == [ProxyRecord(25, BASE, ADVERSARY)]
    assert json.loads((run.eval_logs / "eval-0025.json").read_text())["schema"] == 3


def test_strata_are_read_as_written_and_count_in_no_mean(run):
    strata = [StratumEvaluation("kind", ["0.png", "1.png"], [0.5, None]), StratumEvaluation("title", ["0.png"], [0.75])]
    write_proxy(run, ProxyEvaluation(25, dataclasses.replace(BASE, strata=strata), None))
    [found] = read_proxies(run)
    assert found.base.strata == strata
    assert found.stratum_similarity_of == {"kind": {("0.png",): 0.5}, "title": {("0.png",): 0.75}}
    assert found.similarities == BASE.similarities[:1]


def test_a_proxy_evaluation_of_0_1_0_is_read_without_strata(run):
    write_proxy(run, ProxyEvaluation(25, BASE, None))
    path = run.eval_logs / "eval-0025.json"
    content = json.loads(path.read_text())
    del content["base"]["strata"]
    path.write_text(json.dumps(content))
    [found] = read_proxies(run)
    assert (found.base, found.stratum_similarity_of) == (BASE, {})


def test_refused_images_count_in_no_mean(run):
    found = ProxyRecord(25, BASE, ADVERSARY)
    assert (found.similarities, found.adversary_rewards, found.adversary_similarities) == ([0.1 + 0.2], [0.75], [0.25])
    assert (found.similarity_of, found.reward_of) == ({("7.png",): 0.1 + 0.2}, {(0,): 0.75})
    assert (found.draws_asked, found.draws_made) == (8, 5)


def test_a_checkpoints_test_is_read_as_written(run):
    questions = [Question("7", "7.png", "Which colour?", "red", 1), Question("9", "9.png", "Title?", "Rain", 0, 2)]
    answers = [[Completion("red", "1", True), Completion("re", "1", False)], [Completion("Rain", "1", True)] * 2]
    grades = [[Grade(1.0, "red"), Grade(None, "")], [Grade(0.0, "Rain"), Grade(1.0, "Rain")]]
    test = checkpoint_test(25, questions, answers, grades, {"9"}, asked_how(run.settings), "0123456789abcdef")
    write_test(run, test)
    assert read_tests(run) == [test]
    assert (test.overall_pass_at_1, test.development_pass_at_1, test.invalid, test.ungraded) == (1.0, 0.5, 1, 1)


def test_a_proxy_evaluation_of_schema_2_which_put_no_questions_is_read(run):
    base = {"images": ["7.png"], "similarities": [0.5], "draws_asked": 2, "draws_made": 1}
    content = {"schema": 2, "rounds_done": 25, "base": base, "adversary": None}
    (run.eval_logs / "eval-0025.json").write_text(json.dumps(content))
    [found] = read_proxies(run)
    assert found == ProxyRecord(25, BaseEvaluation(["7.png"], [0.5], 2, 1, canary=None), None)
    assert (found.canary, found.canary_of) == (None, {})


def test_results_on_strata_are_kept_separate(run):
    about = [("7", None), ("kind-0", "kind"), ("kind-1", "kind"), ("all-0", "all")]
    questions = [Question(figure, "a.png", "Which?", "red", 1, stratum=stratum) for figure, stratum in about]
    answers = [[Completion("red", "1", True)]] * 4
    grades = [[Grade(score, "")] for score in (1.0, 1.0, 0.0, None)]
    test = checkpoint_test(25, questions, answers, grades)
    write_test(run, test)
    assert read_tests(run) == [test]
    assert (test.overall_pass_at_1, test.total_questions, test.ungraded) == (1.0, 1, 0)
    assert test.strata_pass_at_1 == {"kind": 0.5, "all": None}
    assert [(row.figure_id, row.stratum) for row in test.strata_results] == about[1:]


def test_a_proxy_evaluation_of_schema_1_is_read(run):
    base = {"images": ["7.png"], "similarities": [0.5], "draws_asked": 2}
    content = {"round": 25, "base": base, "draws_asked": 2, "draws_made": 1}
    (run.eval_logs / "eval-0025.json").write_text(json.dumps(content))
    assert read_proxies(run) == [ProxyRecord(25, BaseEvaluation(["7.png"], [0.5], 2, 1), None)]


def test_a_proxy_evaluation_without_image_names_and_draw_counts_is_read(run):
    content = {"round": 0, "base": {"similarities": [0.5, None]}, "adversary": {"rewards": [0.25]}}
    (run.eval_logs / "eval-0000.json").write_text(json.dumps(content))
    [found] = read_proxies(run)
    assert (found.similarity_of, found.reward_of, found.adversary_similarities) == ({("0",): 0.5}, {(0,): 0.25}, [])
    assert (found.draws_asked, found.draws_made) == (0, 0)


def test_a_checkpoints_test_of_schema_1_is_read(run):
    row = {**QUESTION, **SAID_SINCE, **ANSWERED, "finished": [False, True], "invalid": 2}
    content = {
        "checkpoint_name": "ckpt-25",
        "overall_pass_at_1": 1.0,
        "total_questions": 1,
        "ungraded": 1,
        "invalid": 2,
        "per_chart_results": [row],
        "how": HOW,
        "asked": "0123456789abcdef",
    }
    (run.checkpoint_tests / "ckpt-25.json").write_text(json.dumps(content))
    [test] = read_tests(run)
    assert (test.rounds_done, test.overall_pass_at_1, test.asked) == (25, 1.0, "0123456789abcdef")
    assert test.how == AskedHow(0.7, 12, "{question}", "exact", None)
    assert (test.development_pass_at_1, test.development_results) == (None, [])
    [result] = test.per_chart_results
    assert (result.finished, result.invalid, result.graded, result.ungraded) == ([False, True], 2, [1.0], 1)


def test_a_checkpoints_test_without_settings_and_finished_is_read(run):
    content = {
        "checkpoint_name": "ckpt-0",
        "overall_pass_at_1": 1.0,
        "total_questions": 1,
        "per_chart_results": [{**QUESTION, **ANSWERED}],
    }
    (run.checkpoint_tests / "ckpt-0.json").write_text(json.dumps(content))
    [test] = read_tests(run)
    assert (test.how, test.asked, test.overall_pass_at_1) == (None, None, 1.0)
    [result] = test.per_chart_results
    assert (result.kind, result.invalid, result.ungraded, result.pass_at_1) == ("reasoning", 1, 1, 1.0)


@pytest.mark.parametrize("content", ['{"round"', "[]", '{"base": null}', '{"schema": 2, "draws_made": 0}'])
def test_a_damaged_evaluation_is_named_with_what_to_do(run, content):
    (run.eval_logs / "eval-0025.json").write_text(content)
    with pytest.raises(RunError, match=r"cannot read .*eval-0025\.json: .*remove it and evaluate again"):
        read_evaluations(run)


def test_an_evaluation_of_a_newer_schema_is_refused(run):
    (run.checkpoint_tests / "ckpt-25.json").write_text('{"schema": 4}')
    with pytest.raises(RunError, match=r"ckpt-25\.json has schema 4, this version of Duel reads 3"):
        read_evaluations(run)


def test_differing_settings_are_named_by_their_dotted_names():
    ours, theirs = AskedHow(0.7, 12, "a", "exact", None), AskedHow(0.7, 24, "a", "openai", "gpt")
    assert ours.differences(theirs) == [
        "evaluation.max_new_tokens: 12 and 24",
        "judge.service: 'exact' and 'openai'",
        "judge.model: None and 'gpt'",
    ]
