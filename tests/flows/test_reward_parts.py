"""All parts of the adversary's reward together: what they add up to, and resuming in the middle."""

import dataclasses
import hashlib
import json
import shutil

import pytest
import torch

from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.jsonl import read_rows
from artifacts.run.rounds import read_attempts, read_round
from artifacts.run.snapshots import list_snapshots, snapshot_path
from artifacts.run.topic import read_topic, write_topic
from duel.data.dataset import open_layout
from duel.embedder import load_embedder
from duel.errors import SettingsError
from duel.policies.load import load_players
from duel.randomness import sample_seeds
from duel.state import StateDirectory
from duel.types import ModelInput
from flows.prepare import prepare
from flows.train import train
from tests.support.small_run import settings

pytestmark = pytest.mark.slow

PARTS = {
    "rounds": 8,
    "evaluation__every": 4,
    "evaluation__canary_questions": 0,
    "sampling__descriptions": 2,
    "rewards__adversary": "learnability",
    "rewards__gate": 0.3,
    "rewards__off_topic": 0.9,
    "rewards__diversity": 0.05,
    "rewards__duplicate": 0.6,
    "rewards__memory": 2,
    "seed": 33,  # of which half of the base's rounds have a past adversary, below
    "adversary__past__share": 0.5,
    "adversary__past__every": 1,
    "adversary__past__kept": 2,
    "base__grpo__accumulation": 1,
    "adversary__grpo__accumulation": 1,
}


@pytest.fixture(scope="module")
def state(tmp_path_factory, prefect_server):
    folder = tmp_path_factory.mktemp("state")
    prepare(settings(), folder)
    train(settings(**PARTS), "whole", folder)
    return folder


def run_of(state, name="whole"):
    return RunDirectory.read(StateDirectory(state), name)


def fingerprint(run):
    weights = sorted(list_checkpoints(run)[-1].path.rglob("*.safetensors"))
    last = json.loads((run.eval_logs / "eval-0008.json").read_text())["adversary"]["rewards"]
    return run.metrics.read_bytes(), last, [hashlib.sha256(path.read_bytes()).hexdigest() for path in weights]


def test_a_prompts_reward_is_the_sum_of_its_parts(state):
    penalties = []
    for round in (1, 3, 5, 7):
        _, [group] = read_attempts(run_of(state), round)
        for attempt in group:
            parts = attempt.parts
            penalties.append(parts.penalty)
            if parts.invalid:
                assert (attempt.reward, parts.penalty) == (-0.2, 0.0)
            else:
                assert attempt.reward == parts.learnability - parts.penalty
                assert parts.penalty == (0.05 if parts.self_similarity >= 0.6 else 0.0)
    assert set(penalties) == {0.0, 0.05}


def test_evaluations_describe_drawings_several_times_for_their_spread(state):
    measured = json.loads((run_of(state).eval_logs / "eval-0000.json").read_text())["adversary"]
    assert max(measured["rewards"]) > 0
    assert len(measured["descriptions"]) == len(measured["rewards"]) == 2


def test_drawings_are_compared_with_those_of_their_group_and_of_the_remembered_rounds(state):
    run, embedder = run_of(state), load_embedder(settings().models)
    vectors = {}
    for round in (1, 3, 5, 7):
        files = [attempt.drawing.file for attempt in read_round(run, round).attempts]
        vectors[round] = embedder.embed([(run.round_directory(round) / file).read_bytes() for file in files])
    beyond = torch.cat([vectors[7], vectors[5], vectors[3]]) @ vectors[7].T  # not those of round 1
    beyond[:3] -= 2 * torch.eye(3)  # not a drawing with itself
    recorded = [attempt.parts.self_similarity for attempt in read_round(run, 7).attempts]
    assert recorded == pytest.approx(beyond.amax(0).tolist(), abs=1e-5)


def test_what_is_on_topic_is_calibrated_once_on_the_held_out_images(state):
    run, embedder = run_of(state), load_embedder(settings().models)
    calibrated = read_topic(run)
    data = open_layout(state / "data" / "offline", 4, 2)
    train, held_out = (
        embedder.embed([path.read_bytes() for path in paths]) for paths in (data.train_images, data.test_images)
    )
    found = (held_out @ train.T).amax(1).tolist()
    assert list(calibrated.nearness.values()) == pytest.approx(found, abs=1e-5)
    assert calibrated.least == pytest.approx(min(found) + 0.1 * (max(found) - min(found)), abs=1e-5)
    for round in (1, 3, 5, 7):
        for parts in (attempt.parts for attempt in read_round(run, round).attempts):
            assert (parts.nearness < calibrated.least) == (parts.invalid == "off_topic") or parts.invalid == "ceiling"


def test_a_resumed_run_goes_by_its_threshold_and_keeps_the_snapshots_that_resuming_needs(state):
    shutil.copytree(state / "runs" / "whole", state / "runs" / "moved")
    run = run_of(state, "moved")
    write_topic(run, dataclasses.replace(read_topic(run), least=-1.0))
    assert list_snapshots(run) == [0, 1, 2, 3]
    shutil.rmtree(run.checkpoints / "ckpt-0" / "training_state", ignore_errors=True)
    shutil.rmtree(run.checkpoints / "ckpt-4" / "training_state")
    train(settings(**PARTS | {"rounds": 10}), "moved", state)
    assert list_snapshots(run) == [2, 3, 4]  # at round 8 the adversary has learned from 4: the last two before it count
    assert read_topic(run).least == -1.0
    assert [row["invalid_off_topic"] for row in read_rows(run.metrics)][-1] == 0


def test_past_adversaries_write_prompts_for_the_base_and_the_adversary_learns_from_its_own(state):
    past = [row["past_adversary"] for row in read_rows(run_of(state).metrics)]
    assert past == [None, None, None, None, 0, None, 2, None]  # one of 0 and 1 in round 4, of 1 and 2 in round 6
    for round, found in enumerate(past):
        stages = {path.name[5:].rpartition("-")[0] for path in run_of(state).stage_results.glob(f"{round:04d}-*")}
        assert ("write_past_prompts" in stages, "write_prompts" in stages) == (found is not None, found is None)
        assert read_round(run_of(state), round).past_adversary == found


def test_prompts_of_a_past_adversary_are_those_it_writes_with_the_weights_it_had(state):
    run, how = run_of(state), settings(**PARTS)
    round, past = next((row["round"], row["past_adversary"]) for row in read_rows(run.metrics) if row["past_adversary"])
    adversary = load_players(how, ["adversary"])["adversary"]
    adversary.load(snapshot_path(run, past))
    seeds = sample_seeds(how.seed, 1, 1, round, "past prompt")
    asked, sampling = [ModelInput(how.sampling.invent)], how.sampling
    [[prompt]] = adversary.sample(
        asked, seeds, temperature=sampling.temperature, max_new_tokens=sampling.max_new_tokens
    )
    assert {attempt.prompt for attempt in read_round(run, round).attempts} == {prompt.text}


def test_a_run_that_lost_its_last_checkpoint_goes_on_bit_for_bit(state):
    train(settings(**PARTS | {"rounds": 7}), "resumed", state)
    shutil.rmtree(list_checkpoints(run_of(state, "resumed"))[-1].path)  # rounds 4 to 6 are replayed
    train(settings(**PARTS), "resumed", state)
    assert fingerprint(run_of(state, "resumed")) == fingerprint(run_of(state))


def test_a_base_round_with_a_past_adversary_shares_no_draws(state):
    how = {"order": ["adversary", "base"], "shared_draws": True, "sampling__descriptions": 2, "rounds": 4}
    train(settings(adversary__past__share=1.0, adversary__past__every=1, **how), "shared", state)
    rows = read_rows(run_of(state, "shared").metrics)
    assert [row["past_adversary"] for row in rows][:2] == [None, 0]
    for round in (1, 3):
        [prompt] = {attempt.prompt for attempt in read_round(run_of(state, "shared"), round).attempts}
        written = {attempt.prompt for attempt in read_round(run_of(state, "shared"), round - 1).attempts}
        assert prompt not in written
        assert rows[round]["draws_asked"] > 0


@pytest.mark.parametrize("order", [["base"], ["adversary"]])
def test_past_adversaries_without_a_base_that_meets_an_adversary_are_refused(order):
    with pytest.raises(SettingsError, match="expected both base and adversary in it"):
        settings(adversary__past__share=0.5, order=order)
