"""The whole loop, on the embedded models, a few rounds at a time."""

import hashlib
import json
import shutil

import pytest

from artifacts.checkpoints import list_checkpoints
from artifacts.metrics import read_metrics
from artifacts.run import RunDirectory
from duel.errors import GeneratorError, RunError
from duel.optimizer import PlayerOptimizer
from duel.policy import LocalPolicy
from duel.profile import override, read_profile, read_settings
from flows.evaluate import evaluate
from flows.prepare import prepare
from flows.profiles import profile_path
from flows.train import train

pytestmark = pytest.mark.usefixtures("prefect_server")

SMALL = {
    "rounds": 4,
    "images_per_round": 1,
    "sampling.group_size": 3,
    "sampling.max_new_tokens": 24,
    "evaluation.every": 2,
    "evaluation.proxy_completions": 1,
    "evaluation.adversary_prompts": 2,
    "evaluation.completions": 2,
    "evaluation.charts": 2,
    "evaluation.charts_per_stratum": 0,
    "data.train_images": 4,
    "data.test_images": 2,
    "grpo.accumulation": 2,
}


def settings(profile="offline", **overrides):
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    return read_settings(override(read_profile(profile_path(profile)), SMALL | dotted))


def fingerprint(state, name):
    """Metrics, and the weights of the last checkpoint, as bytes."""
    run = RunDirectory.read(state, name)
    weights = sorted(list_checkpoints(run)[-1].path.rglob("*.safetensors"))
    assert weights
    return run.metrics.read_bytes(), [hashlib.sha256(path.read_bytes()).hexdigest() for path in weights]


@pytest.fixture(scope="module")
def state(tmp_path_factory, prefect_server):
    """A state folder with the data set, and the run `whole`: four rounds at one go."""
    folder = tmp_path_factory.mktemp("state")
    prepare(settings(), folder)
    train(settings(), "whole", folder)
    return folder


def test_rounds_alternate_and_every_round_has_its_line(state):
    frame = read_metrics(RunDirectory.read(state, "whole"))
    assert list(frame["round"]) == [0, 1, 2, 3]
    assert list(frame["player"]) == ["base", "adversary", "base", "adversary"]
    assert frame["similarity_mean"].between(-1, 1).all()


def test_a_base_round_asks_for_one_original_and_its_distinct_reconstructions(state):
    record = json.loads((RunDirectory.read(state, "whole").round_directory(0) / "record.json").read_text())
    frame = read_metrics(RunDirectory.read(state, "whole"))
    assert record["player"] == "base"
    assert 2 <= frame["draws_asked"][0] <= 1 + 3


def test_accumulation_counts_a_players_own_rounds(state):
    # The reference counted all rounds: with accumulation 2 the base would never step.
    frame = read_metrics(RunDirectory.read(state, "whole"))
    assert list(frame[frame["player"] == "base"]["optimizer_steps"]) == [0, 1]
    assert list(frame[frame["player"] == "adversary"]["optimizer_steps"]) == [0, 1]


def test_equal_seeds_give_equal_metrics_and_weights_also_with_a_warm_store(state):
    train(settings(), "again", state)
    assert fingerprint(state, "again") == fingerprint(state, "whole")
    made = [
        json.loads(line)["draws_made"] for line in RunDirectory.read(state, "again").timings.read_text().splitlines()
    ]
    assert sum(made) == 0


def test_another_seed_gives_another_run(state):
    train(settings(seed=1, rounds=1), "other", state)
    assert (
        RunDirectory.read(state, "other").metrics.read_text().splitlines()[0]
        != (RunDirectory.read(state, "whole").metrics.read_text().splitlines()[0])
    )


def test_a_run_opened_again_goes_on_as_if_never_interrupted(state):
    train(settings(rounds=3), "resumed", state)
    train(settings(), "resumed", state)
    assert fingerprint(state, "resumed") == fingerprint(state, "whole")


def test_an_update_that_fails_just_after_its_step_is_retried_and_steps_once(state, monkeypatch):
    learned, left = LocalPolicy.learn, [2]  # fails after the second round's update

    def learn(self, inputs, groups):
        report = learned(self, inputs, groups)
        left[0] -= 1
        if left[0] == 0:
            raise GeneratorError("just after the step")
        return report

    monkeypatch.setattr(LocalPolicy, "learn", learn)
    train(settings(), "retried", state)
    assert left[0] < 0
    assert fingerprint(state, "retried") == fingerprint(state, "whole")


def test_an_update_that_breaks_half_way_ends_the_run_which_then_goes_on(state, monkeypatch):
    stepped = PlayerOptimizer.end_round
    left = [3]

    def end_round(self):
        left[0] -= 1
        if left[0] == 0:
            raise GeneratorError("out of memory, as it were")
        return stepped(self)

    monkeypatch.setattr(PlayerOptimizer, "end_round", end_round)
    with pytest.raises(RunError, match="an update of the base broke half way"):  # not retried on half a gradient
        train(settings(), "broken", state)
    train(settings(), "broken", state)
    assert fingerprint(state, "broken") == fingerprint(state, "whole")


def test_asking_for_fewer_rounds_than_there_are_changes_nothing(state):
    run = RunDirectory.read(state, "whole")
    before = fingerprint(state, "whole"), sorted(path.name for path in run.eval_logs.iterdir())
    train(settings(rounds=3), "whole", state)
    assert (fingerprint(state, "whole"), sorted(path.name for path in run.eval_logs.iterdir())) == before
    assert [checkpoint.rounds_done for checkpoint in list_checkpoints(run)] == [0, 2, 4]


def test_how_often_a_run_is_evaluated_does_not_change_its_training(state):
    train(settings(evaluation__every=3, evaluation__proxy_completions=2), "rarely", state)
    assert fingerprint(state, "rarely") == fingerprint(state, "whole")


def test_a_run_refuses_other_defining_settings_and_names_them(state):
    with pytest.raises(RunError, match=r"optimizer.learning_rate: 0.001 then, 0.5 now"):
        train(settings(optimizer__learning_rate=0.5), "whole", state)


def test_the_base_alone_learns_from_the_data_sets_images(state):
    train(settings("offline-no-adversary", rounds=2), "alone", state)
    frame = read_metrics(RunDirectory.read(state, "alone"))
    assert list(frame["player"]) == ["base", "base"]
    assert list(frame["optimizer_steps"]) == [0, 1]


def test_an_evaluation_asks_every_checkpoint_once(state):
    evaluate(settings(), "whole", state)
    tests = RunDirectory.read(state, "whole").checkpoint_tests
    names = sorted(path.stem for path in tests.iterdir())
    assert names == ["ckpt-0", "ckpt-2", "ckpt-4"]
    result = json.loads((tests / "ckpt-0.json").read_text())
    assert {len(row["completions"]) for row in result["per_chart_results"]} == {2}
    before = {path.name: path.stat().st_mtime_ns for path in tests.iterdir()}
    again = evaluate(settings(), "whole", state, return_state=True)
    assert again.message == "whole: nothing new, no model loaded and no judge asked"
    assert {path.name: path.stat().st_mtime_ns for path in tests.iterdir()} == before


def test_images_that_the_store_lost_are_drawn_again_when_a_round_is_repeated(state):
    """Last in this file: it empties the store that the tests share."""
    train(settings(rounds=3), "lost", state)
    run = RunDirectory.read(state, "lost")
    shutil.rmtree(list_checkpoints(run)[-1].path)  # as if killed before it was written: round 2's stages are finished
    shutil.rmtree(state / "images")
    train(settings(), "lost", state)
    assert fingerprint(state, "lost") == fingerprint(state, "whole")
