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
from artifacts.run.topic import read_topic, write_topic
from duel.data.dataset import open_layout
from duel.embedder import load_embedder
from duel.state import StateDirectory
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


def test_a_resumed_run_goes_by_the_threshold_that_it_has(state):
    shutil.copytree(state / "runs" / "whole", state / "runs" / "moved")
    run = run_of(state, "moved")
    write_topic(run, dataclasses.replace(read_topic(run), least=-1.0))
    train(settings(**PARTS | {"rounds": 10}), "moved", state)
    assert read_topic(run).least == -1.0
    assert [row["invalid_off_topic"] for row in read_rows(run.metrics)][-1] == 0


def test_a_run_that_lost_its_last_checkpoint_goes_on_bit_for_bit(state):
    train(settings(**PARTS | {"rounds": 7}), "resumed", state)
    shutil.rmtree(list_checkpoints(run_of(state, "resumed"))[-1].path)  # rounds 4 to 6 are replayed
    train(settings(**PARTS), "resumed", state)
    assert fingerprint(run_of(state, "resumed")) == fingerprint(run_of(state))
