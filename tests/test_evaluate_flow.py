"""Evaluations of real runs: the embedded models answer, a round or two of training between."""

import io
import shutil

import pandas as pd
import pytest

from artifacts.comparison import compare_runs, compare_tests
from artifacts.evaluations import read_checkpoint_tests, read_proxy_evaluations
from artifacts.reported import reported_checkpoint
from artifacts.run import RunDirectory
from duel.offline.strata import STRATA
from duel.profile import override, read_profile, read_settings
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
    "evaluation.temperature": 1.5,  # so that answers differ
    "evaluation.charts": 3,
    "evaluation.charts_per_stratum": 1,
    "evaluation.questions_at_once": 4,
    "data.train_images": 2,
    "data.test_images": 1,
}
BEST = {"evaluation.report": "best", "evaluation.development_charts": 2}


def settings(**dotted):
    overrides = {name.replace("__", "."): value for name, value in dotted.items()}
    return read_settings(override(read_profile(profile_path("offline")), SMALL | overrides))


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
    return read_checkpoint_tests(RunDirectory.read(state, name))[0]


def test_the_untrained_base_against_itself_with_another_seed_covers_0(state):
    found = compare_tests(untrained(state, "seed-0"), untrained(state, "seed-1"))
    assert found.n > 5
    assert found.difference.low <= 0 <= found.difference.high
    assert found.p_value > 0.05


def test_a_run_compared_with_itself_differs_by_exactly_0(state):
    run = RunDirectory.read(state, "seed-0")
    found = compare_runs(run, run)
    assert (found.difference.mean, found.difference.low, found.difference.high, found.p_value) == (0, 0, 0, 1)


def test_an_evaluation_leaves_tables_with_every_checkpoint_and_question(state):
    run = RunDirectory.read(state, "seed-0")
    frame = pd.read_parquet(run.path / "results.parquet")
    questions = frame[frame["measure"] == "pass@1"]
    assert set(questions["rounds"]) == {0, 1}
    test = untrained(state, "seed-0")
    assert len(questions) == 2 * (len(test.results) + sum(len(results) for results in test.strata.values()))
    assert set(questions["answers"]) == {2}


def test_strata_are_measured_apart(state):
    run = RunDirectory.read(state, "seed-0")
    for test in read_checkpoint_tests(run):
        assert list(test.strata) == list(STRATA)
        assert {result.figure_id for results in test.strata.values() for result in results} == {
            f"{stratum}-000" for stratum in STRATA
        }
        assert {result.figure_id for result in test.results} == {"75", "76", "77"}
        assert test.pass_at_1 == pytest.approx(sum(test.questions) / len(test.results))
    for found in read_proxy_evaluations(run):
        assert {name: list(units) for name, units in found.strata.items()} == {key: [("000.png",)] for key in STRATA}
        assert list(found.similarity_of) == [("075.png",)]
    rows = pd.read_parquet(run.path / "results.parquet")
    strata = rows[rows["split"].str.startswith("stratum ")]
    assert set(strata["split"]) == {f"stratum {stratum}" for stratum in STRATA}
    assert set(strata["measure"]) == {"pass@1", "similarity"}


def test_the_command_compares_without_asking_a_model_when_all_is_there(state, capsys):
    shutil.copytree(state / "runs" / "seed-0", state / "runs" / "bare")
    for weights in (state / "runs" / "bare").rglob("*.safetensors"):
        weights.unlink()  # whoever loads a model now fails
    options = ("evaluate", "--state", str(state), "--run", "bare")
    assert main([*options, "--compare", "seed-1"]) == 0
    assert "bare against seed-1, paired by question and by held-out image" in capsys.readouterr().out
    assert main([*options, "--power", "0.05"]) == 0
    said = capsys.readouterr().out
    assert "reported: ckpt-1 (last, named beforehand)" in said
    assert "would show 0.05" in said


@pytest.mark.parametrize("power", ["much", "0", "1.5", "nan"])
def test_a_difference_that_is_none_is_refused_in_one_line(state, capsys, power):
    assert main(["evaluate", "--state", str(state), "--run", "seed-0", "--power", power]) == 2
    assert capsys.readouterr().err == (
        f"duel: --power: got {power!r}, expected a difference in pass@1 between 0 and 1, such as 0.03\n"
    )


def test_the_charts_that_choose_a_checkpoint_are_not_in_its_number(state):
    best = settings(**BEST)
    train(best, "best", state)
    evaluate(best, "best", state)
    run = RunDirectory.read(state, "best")
    for test in read_checkpoint_tests(run):
        final, apart = ({result.figure_id for result in results} for results in (test.results, test.development))
        assert (len(final), len(apart)) == (3, 2)
        assert not final & apart
    assert reported_checkpoint(run).test.name == "ckpt-1"


def test_answering_questions_between_rounds_does_not_change_the_training_by_one_bit(state):
    shutil.copytree(state / "runs" / "seed-0", state / "runs" / "asked")  # one round, then the questions
    for name in ("asked", "unasked"):
        train(settings(rounds=2, evaluation__every=5), name, state)
    asked, unasked = (RunDirectory.read(state, name) for name in ("asked", "unasked"))
    assert asked.metrics.read_bytes() == unasked.metrics.read_bytes()
    weights, same = (sorted((run.checkpoints / "ckpt-2").rglob("*.safetensors")) for run in (asked, unasked))
    assert len(weights) > 1  # the base's, and its optimizer's state
    assert [path.read_bytes() for path in weights] == [path.read_bytes() for path in same]


def test_setting_aside_every_chart_is_refused_before_anything_is_written(state, capsys):
    options = ["--run", "too-many", "--state", str(state), "--evaluation.report", "best"]
    assert main(["train", *options, "--evaluation.development_charts", "25"]) == 2
    assert "questions about 25 charts, expected more than the 25" in capsys.readouterr().err
    assert not RunDirectory.exists(state, "too-many")


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
