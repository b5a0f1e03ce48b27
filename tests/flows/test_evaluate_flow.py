"""The evaluate flow with the embedded models, on runs of one or two rounds."""

import io
import shutil
from statistics import mean

import pandas as pd
import pytest

from artifacts.evaluation.comparison import compare_runs, compare_tests
from artifacts.evaluation.read import read_evaluations, read_tests
from artifacts.evaluation.selection import reported_checkpoint
from artifacts.run.directory import RunDirectory
from duel.offline.strata import STRATA
from duel.settings.profile import override, read_profile, read_settings
from duel.state import StateDirectory
from duel.types import Grade
from flows import progress
from flows.cli import main
from flows.evaluate import evaluate
from flows.prepare import prepare
from flows.profiles import profile_path
from flows.train import train

pytestmark = pytest.mark.usefixtures("prefect_server")

SMALL = {
    "rounds": 1,
    "order": ["base"],
    "originals": "dataset",
    "images_per_round": 1,
    "sampling.group_size": 2,
    "sampling.max_new_tokens": 16,
    "evaluation.proxy_completions": 1,
    "evaluation.completions": 2,
    "evaluation.temperature": 2.5,  # so that answers differ
    "evaluation.charts": 3,
    "evaluation.charts_per_stratum": 1,
    "evaluation.questions_at_once": 4,
    "data.train_images": 2,
    "data.test_images": 1,
}
BEST = {"evaluation.report": "best", "evaluation.development_charts": 2}


def settings(**dotted):
    overrides = {name.replace("__", "."): value for name, value in dotted.items()}
    return read_settings(override(read_profile(profile_path("offline-reference")), SMALL | overrides))


@pytest.fixture(scope="module")
def state(tmp_path_factory, prefect_server):
    """Two evaluated runs of one round, under different seeds."""
    folder = tmp_path_factory.mktemp("state")
    prepare(settings(), folder)
    for seed in (0, 1):
        train(settings(seed=seed), f"seed-{seed}", folder)
        evaluate(settings(seed=seed), f"seed-{seed}", folder)
    return folder


def untrained(state, name):
    return read_tests(RunDirectory.read(StateDirectory(state), name))[0]


def test_the_untrained_base_against_itself_with_another_seed_covers_0(state):
    found = compare_tests(untrained(state, "seed-0"), untrained(state, "seed-1"))
    assert found.n > 5
    assert found.difference.low <= 0 <= found.difference.high
    assert found.p_value > 0.05


def test_a_run_compared_with_itself_differs_by_exactly_0(state):
    evaluations = read_evaluations(RunDirectory.read(StateDirectory(state), "seed-0"))
    found = compare_runs(evaluations, evaluations)
    assert (found.difference.mean, found.difference.low, found.difference.high, found.p_value) == (0, 0, 0, 1)


def test_an_evaluation_leaves_tables_with_every_checkpoint_and_question(state):
    run = RunDirectory.read(StateDirectory(state), "seed-0")
    frame = pd.read_parquet(run.path / "results.parquet")
    questions = frame[frame["measure"] == "pass@1"]
    assert set(questions["rounds"]) == {0, 1}
    test = untrained(state, "seed-0")
    assert len(questions) == 2 * len(test.per_chart_results + test.strata_results)
    assert set(questions["answers"]) == {2}


def test_strata_are_evaluated_separately(state):
    found = read_evaluations(RunDirectory.read(StateDirectory(state), "seed-0"))
    for test in found.tests:
        assert list(test.strata_pass_at_1) == list(STRATA)
        assert {result.figure_id for result in test.strata_results} == {f"{stratum}-000" for stratum in STRATA}
        assert {result.figure_id for result in test.per_chart_results} == {"75", "76", "77"}
        assert test.overall_pass_at_1 == mean(result.pass_at_1 for result in test.per_chart_results)
    for proxy in found.proxies:
        assert {stratum.name: stratum.images for stratum in proxy.base.strata} == {name: ["000.png"] for name in STRATA}
        assert list(proxy.similarity_of) == [("075.png",)]
        assert proxy.draws_asked == 1 + len(STRATA)


def test_the_tables_have_strata_as_splits(state):
    rows = pd.read_parquet(RunDirectory.read(StateDirectory(state), "seed-0").path / "results.parquet")
    strata = rows[rows["split"].str.startswith("stratum ")]
    assert set(strata["split"]) == {f"stratum {stratum}" for stratum in STRATA}
    assert set(strata["measure"]) == {"pass@1", "similarity"}


def test_the_command_compares_evaluated_runs_without_loading_a_model(state, capsys):
    shutil.copytree(state / "runs" / "seed-0", state / "runs" / "bare")
    for weights in (state / "runs" / "bare").rglob("*.safetensors"):
        weights.unlink()  # whoever loads a model now fails
    options = ("evaluate", "--state", str(state), "--run", "bare")
    assert main([*options, "--compare", "seed-1"]) == 0
    assert "bare against seed-1, paired by question and by held-out image" in capsys.readouterr().out
    assert main([*options, "--power", "0.05"]) == 0
    said = capsys.readouterr().out
    assert "reported: ckpt-1 (last, rule set beforehand)" in said
    assert "would detect 0.05" in said


@pytest.mark.parametrize("power", ["much", "0", "1.5", "nan"])
def test_an_invalid_power_difference_is_refused_in_one_line(state, capsys, power):
    assert main(["evaluate", "--state", str(state), "--run", "seed-0", "--power", power]) == 2
    assert capsys.readouterr().err == (
        f"duel: --power: got {power!r}, expected a difference in pass@1 between 0 and 1, such as 0.03\n"
    )


def test_development_charts_do_not_count_in_the_result(state):
    best = settings(**BEST)
    train(best, "best", state)
    evaluate(best, "best", state)
    run = RunDirectory.read(StateDirectory(state), "best")
    for test in read_tests(run):
        final, apart = (
            {result.figure_id for result in results} for results in (test.per_chart_results, test.development_results)
        )
        assert (len(final), len(apart)) == (3, 2)
        assert not final & apart
    assert reported_checkpoint(read_evaluations(run)).test.checkpoint_name == "ckpt-1"


def test_answering_questions_between_rounds_does_not_change_the_training(state):
    shutil.copytree(state / "runs" / "seed-0", state / "runs" / "asked")  # one round, then the questions
    for name in ("asked", "unasked"):
        train(settings(rounds=2, evaluation__every=5), name, state)
    asked, unasked = (RunDirectory.read(StateDirectory(state), name) for name in ("asked", "unasked"))
    assert asked.metrics.read_bytes() == unasked.metrics.read_bytes()
    weights, same = (sorted((run.checkpoints / "ckpt-2").rglob("*.safetensors")) for run in (asked, unasked))
    assert len(weights) > 1  # the base's, and its optimizer's state
    assert [path.read_bytes() for path in weights] == [path.read_bytes() for path in same]


def test_setting_aside_every_chart_is_refused_before_anything_is_written(state, capsys):
    options = ["--run", "too-many", "--state", str(state), "--evaluation.report", "best"]
    assert main(["train", *options, "--evaluation.development_charts", "25"]) == 2
    assert "questions about 25 charts, expected more than the 25" in capsys.readouterr().err
    assert not RunDirectory.exists(StateDirectory(state), "too-many")


def test_without_a_terminal_progress_is_lines(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    with progress.progress_bar(8, "run_1: 2 checkpoints answer", "answers") as bar:
        bar.update(4)
        bar.update(4)
    first, *_, last = [line for line in log.getvalue().splitlines() if line.strip()]
    assert "\r" not in log.getvalue()
    assert "0/8" in first
    assert "8/8" in last


def test_a_damaged_checkpoint_ends_the_evaluation_neither_of_the_others_nor_of_other_runs(state, tmp_path):
    shutil.copytree(state / "data", tmp_path / "data")
    for name in ("runs/seed-0", "runs/seed-1"):
        shutil.copytree(state / name, tmp_path / name, ignore=shutil.ignore_patterns("ckpt-*.json"))
    damaged = tmp_path / "runs" / "seed-0" / "ckpts" / "ckpt-0" / "base" / "adapter_model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    ended = evaluate(state=tmp_path, return_state=True)
    assert ended.is_failed()
    assert f"seed-0: {damaged} is damaged: its SHA-256 is not the one" in ended.message
    assert "1 of 2 checkpoints not evaluated, the others are; seed-1: 2 new checkpoints evaluated" in ended.message
    for name, names in (("seed-0", ["ckpt-1"]), ("seed-1", ["ckpt-0", "ckpt-1"])):
        assert [test.checkpoint_name for test in read_tests(RunDirectory.read(StateDirectory(tmp_path), name))] == names


class SilentJudge:
    """Grades no answer, and says so."""

    note = "without a word"

    def __init__(self, *_, **__):
        pass

    def grade_all(self, questions, answers):
        return [[Grade(None, "") for _ in row] for row in answers]


def test_a_checkpoint_without_a_grade_is_not_evaluated_and_is_asked_about_again(state, tmp_path, capsys):
    shutil.copytree(state, tmp_path, dirs_exist_ok=True)
    run = tmp_path / "runs" / "seed-0"
    command = ["evaluate", "--run", "seed-0", "--state", str(tmp_path)]
    silent = ["--judge.service", f"{__name__}:SilentJudge"]
    for _ in range(2):
        assert main([*command, *silent]) == 1
        said = capsys.readouterr().err
        assert "the judge graded no answer of ckpt-0; 2 of 2 checkpoints are not evaluated" in said
    [test, *_] = read_tests(RunDirectory.read(StateDirectory(tmp_path), "seed-0"))
    assert test.judge_note == "without a word"
    assert test.overall_pass_at_1 is None
    assert main(command) == 0
    assert [test.ungraded for test in read_tests(RunDirectory.read(StateDirectory(tmp_path), "seed-0"))] == [0, 0]
    before = {path.name: path.read_bytes() for path in run.glob("ckpt_tests/*.json")}
    assert main([*command, "--judge.model", "another"]) == 0  # which the exact judge does not use
    assert {path.name: path.read_bytes() for path in run.glob("ckpt_tests/*.json")} == before
