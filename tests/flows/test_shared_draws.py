"""Warm-up, an adversary's round, a base round on its draws, and a replay round: the order of the recommended recipe."""

import hashlib
import shutil

import pytest

from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.jsonl import read_rows
from artifacts.run.rounds import read_attempts
from duel.errors import RunError, SettingsError
from duel.policies.optimizer import PlayerOptimizer
from duel.state import StateDirectory
from flows.prepare import prepare
from flows.train import train
from tests.support.small_run import settings

RECIPE = {
    "rounds": 9,
    "order": ["adversary", "base", "replay"],
    "warm_up": 3,
    "shared_draws": True,
    "sampling__descriptions": 3,
    "rewards__adversary": "regret",
    "rewards__gate": 0.0,
    "replay__drawings": 2,
    "replay__images": 1,
    "evaluation__every": 3,
    "base__grpo__accumulation": 1,
    "adversary__grpo__accumulation": 1,
}


@pytest.fixture(scope="module")
def state(tmp_path_factory, prefect_server):
    folder = tmp_path_factory.mktemp("state")
    prepare(settings(), folder)
    train(settings(**RECIPE), "whole", folder)
    return folder


def run_of(state, name="whole"):
    return RunDirectory.read(StateDirectory(state), name)


def originals(state, round):
    _, groups = read_attempts(run_of(state), round)
    return [[attempt.original.key for attempt in group] for group in groups]


def fingerprint(run):
    weights = sorted(list_checkpoints(run)[-1].path.rglob("*.safetensors"))
    return run.metrics.read_bytes(), [hashlib.sha256(path.read_bytes()).hexdigest() for path in weights]


def test_the_base_learns_from_the_adversarys_draws_and_pays_for_none(state):
    [prompts] = originals(state, 3)  # one group of G
    assert originals(state, 4) == [[key] * 3 for key in prompts]  # a group of k for each
    asked = [row["draws_asked"] for row in read_rows(run_of(state).metrics)]
    assert asked[3] > 0
    assert asked[4] == 0


def test_the_adversary_earns_by_the_mean_of_the_descriptions_that_the_base_learns_from(state):
    _, [group] = read_attempts(run_of(state), 3)
    _, bases = read_attempts(run_of(state), 4)
    for attempt, described in zip(group, bases, strict=True):
        similarities = [one.similarity for one in described]
        assert attempt.similarity == pytest.approx(sum(similarities) / 3)
        assert attempt.reward == pytest.approx(attempt.ceiling - attempt.similarity)


def test_warm_up_describes_the_data_sets_images_and_replay_what_was_drawn_before(state):
    drawn = {key for round in (3, 6) for group in originals(state, round) for key in group}
    assert not drawn & {key for round in (0, 1, 2) for [key, *_] in originals(state, round)}
    for round in (5, 8):
        replayed = [group[0] for group in originals(state, round)]
        assert len(replayed) == 3
        assert len(drawn & set(replayed)) == 2  # and one image of the data set


def test_players_learn_in_their_own_rounds(state):
    players = [row["player"] for row in read_rows(run_of(state).metrics)]
    assert players == ["base"] * 3 + ["adversary", "base", "base"] * 2
    assert [row["optimizer_steps"] for row in read_rows(run_of(state).metrics)][-3:] == [2, 6, 7]


def test_a_run_killed_between_the_two_rounds_goes_on_bit_for_bit(state, monkeypatch):
    end_round = PlayerOptimizer.end_round

    def killed(self):
        if self.rounds_learned == 4 and len(self.parameters) and self.steps == 4:
            raise KeyboardInterrupt
        return end_round(self)

    monkeypatch.setattr(PlayerOptimizer, "end_round", killed)  # the base's fifth: round 5, after the shared round
    with pytest.raises(KeyboardInterrupt):
        train(settings(**RECIPE), "killed", state)
    monkeypatch.undo()
    train(settings(**RECIPE), "killed", state)
    assert fingerprint(run_of(state, "killed")) == fingerprint(run_of(state))


def test_stage_results_that_are_gone_are_said_and_not_made_again_by_other_weights(state):
    shutil.copytree(state / "runs" / "whole", state / "runs" / "torn")
    run = state / "runs" / "torn"
    for checkpoint in run.glob("ckpts/ckpt-9"):
        shutil.rmtree(checkpoint)
    shutil.rmtree(run / "stage_results")
    record = run / "training_logs" / "round-0006" / "record.json"
    record.write_text(record.read_text().replace('"prompt": "', '"prompt": "another ', 1))
    with pytest.raises(RunError, match="round 7 shares the draws of round 6"):
        train(settings(**RECIPE, **{}), "torn", state)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"order": ["base", "adversary"]}, "expected base right after adversary, not first"),
        ({"sampling__descriptions": 1}, "expected at least 2"),
        ({"evaluation__every": 2}, "expected multiples of the 3 turns"),
        ({"rewards__adversary": "plain", "rewards__gate": None}, "replay, which goes by regret"),
        ({"order": ["base", "replay"], "shared_draws": False}, "replay without adversary"),
    ],
)
def test_orders_that_cannot_be_played_are_refused(changes, said):
    with pytest.raises(SettingsError, match=said):
        settings(**{**RECIPE, **changes})
