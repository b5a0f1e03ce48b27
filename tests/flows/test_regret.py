"""The regret reward: prompts are drawn a second time in the adversary's rounds and evaluations, and nowhere else."""

import json

import pytest

from artifacts.run.directory import RunDirectory
from artifacts.run.jsonl import read_rows
from duel.randomness import draw_seed
from duel.state import StateDirectory
from flows.prepare import prepare
from flows.train import train
from tests.support.small_run import settings


@pytest.fixture(scope="module")
def runs(tmp_path_factory, prefect_server):
    """The same two rounds with each reward."""
    state = tmp_path_factory.mktemp("state")
    found = {}
    small = {"rounds": 2, "images_per_round": 2, "evaluation__adversary_prompts": 3}
    for reward in ("plain", "regret"):
        prepare(settings(), state)
        train(settings(rewards__adversary=reward, **small), reward, state)
        found[reward] = RunDirectory.read(StateDirectory(state), reward)
    return found


def metrics(run):
    return read_rows(run.metrics)


def attempts(run, index):
    record = json.loads((run.round_directory(index) / "record.json").read_text())
    return [attempt for group in record["groups"] for attempt in group["attempts"]]


def test_ceilings_are_drawn_in_the_adversarys_rounds_alone(runs):
    drawn = {name: ["draw_ceilings" in row["seconds"] for row in read_rows(run.timings)] for name, run in runs.items()}
    assert drawn == {"plain": [False, False], "regret": [False, True]}


def test_nothing_but_the_adversarys_rewards_and_draws_differs(runs):
    assert metrics(runs["plain"])[0] == metrics(runs["regret"])[0]
    assert metrics(runs["plain"])[1]["similarity_mean"] == metrics(runs["regret"])[1]["similarity_mean"]
    plain, regret = ([(a["prompt"], a["description"], a["similarity"]) for a in attempts(runs[n], 1)] for n in runs)
    assert plain == regret


def test_a_second_drawing_is_a_draw_unless_a_description_says_the_same_as_the_prompt(runs):
    recorded = attempts(runs["regret"], 1)
    distinct = {(attempt["drawing"]["key"], attempt["prompt"]) for attempt in recorded}
    described = {(attempt["drawing"]["key"], attempt["description"]) for attempt in recorded}
    asked, plain = (metrics(runs[name])[1]["draws_asked"] for name in ("regret", "plain"))
    assert asked == plain + len(distinct - described)


def test_every_attempt_of_the_adversary_is_recorded_with_its_ceiling(runs):
    assert {attempt["ceiling"] for attempt in attempts(runs["regret"], 0)} == {None}
    for attempt in attempts(runs["regret"], 1):
        assert attempt["reward"] == attempt["ceiling"] - attempt["similarity"]
        parts = dict(attempt["parts"])
        assert 0 < parts.pop("self_similarity") <= 1
        assert parts.pop("cluster") in range(len(attempts(runs["regret"], 1)))
        assert parts == {"learnability": None, "invalid": None, "penalty": 0.0, "nearness": None}


def test_the_row_of_metrics_has_the_mean_ceiling(runs):
    base, adversary = metrics(runs["regret"])
    assert base["ceiling_mean"] is None
    assert adversary["ceiling_mean"] == pytest.approx(adversary["reward_mean"] + adversary["similarity_mean"])
    assert metrics(runs["plain"])[1]["ceiling_mean"] is None


def test_an_evaluation_measures_ceilings_and_rewards_by_them(runs):
    measured = json.loads((runs["regret"].eval_logs / "eval-0000.json").read_text())
    plain = json.loads((runs["plain"].eval_logs / "eval-0000.json").read_text())
    assert measured["base"]["similarities"] == plain["base"]["similarities"]
    adversary = measured["adversary"]
    assert adversary["similarities"] == plain["adversary"]["similarities"]
    assert plain["adversary"]["ceilings"] == []
    rows = zip(adversary["ceilings"], adversary["similarities"], adversary["rewards"], strict=True)
    assert all(reward == ceiling - similarity for ceiling, similarity, reward in rows)
    assert len(set(adversary["ceilings"])) > 1


def test_a_second_drawing_has_the_seed_of_the_reconstructions_and_not_that_of_the_first(runs):
    for attempt in attempts(runs["regret"], 1):
        assert attempt["reconstruction"]["seed"] == draw_seed(0, "redraw", attempt["drawing"]["key"])
        assert attempt["reconstruction"]["seed"] != attempt["drawing"]["seed"]


def test_with_a_gate_the_plain_reward_draws_ceilings_and_invalid_prompts_earn_what_is_set(runs):
    state = runs["plain"].state
    how = {"rounds": 2, "images_per_round": 2, "evaluation__adversary_prompts": 3, "rewards__invalid": -0.5}
    ceilings = [attempt["ceiling"] for attempt in attempts(runs["regret"], 1)]
    gate = sorted(ceilings)[3]  # of six
    train(settings(rewards__gate=gate, **how), "gated", state.path)
    run = RunDirectory.read(state, "gated")
    recorded = attempts(run, 1)
    assert [attempt["ceiling"] for attempt in recorded] == ceilings
    below = [ceiling < gate for ceiling in ceilings]
    assert 0 < sum(below) < len(below)
    for invalid, attempt in zip(below, recorded, strict=True):
        assert attempt["parts"]["invalid"] == ("ceiling" if invalid else None)
        assert attempt["reward"] == (-0.5 if invalid else 1 - attempt["similarity"])
    row = metrics(run)[1]
    assert row["invalid_ceiling"] == pytest.approx(sum(below) / len(below))
    assert row["plain_mean"] == pytest.approx(1 - row["similarity_mean"])
    assert row["regret_mean"] == pytest.approx(row["ceiling_mean"] - row["similarity_mean"])
