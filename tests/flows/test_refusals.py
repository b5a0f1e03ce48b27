"""Rewards, groups and updates when a fake Replicate refuses half of all texts."""

import hashlib

import pytest

from artifacts.run.directory import RunDirectory
from artifacts.run.rounds import read_round
from cache.ledger import SpendLedger
from duel.offline.generator import ChartGenerator
from duel.settings.profile import override, read_profile, read_settings
from duel.state import StateDirectory
from duel.testing.replicate import ReplicateServer
from duel.types import Refusal
from flows.prepare import prepare
from flows.profiles import profile_path
from flows.train import train

SMALL = {
    "seed": 1,  # under which some of the prompts, and not all, are refused
    "rounds": 2,
    "images_per_round": 3,
    "sampling.group_size": 3,
    "sampling.max_new_tokens": 16,
    "evaluation.proxy_completions": 1,
    "evaluation.adversary_prompts": 2,
    "evaluation.charts_per_stratum": 0,
    "data.train_images": 4,
    "data.test_images": 2,
    "generator.service": "replicate",
}


class Prude(ChartGenerator):
    """Refuses about half of all texts, always the same ones."""

    def draw(self, text, seed):
        if hashlib.sha256(text.encode()).digest()[0] % 2:
            return Refusal("NSFW content detected")
        return super().draw(text, seed)


@pytest.fixture(scope="module")
def run(tmp_path_factory, prefect_server):
    state = tmp_path_factory.mktemp("state")
    settings = read_settings(override(read_profile(profile_path("offline-reference")), SMALL))
    prepare(settings, state)
    with ReplicateServer(Prude()) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        train(settings, "refused", state)
        counts = server.counts()
    with SpendLedger(state / "spend.sqlite") as ledger:
        assert ledger.spend("refused").refused == counts["refused"] > 0
        assert counts["created"] == counts["distinct_inputs"]
    return RunDirectory.read(StateDirectory(state), "refused")


def test_a_refused_original_is_left_out_of_the_bases_update(run):
    groups = read_round(run, 0).groups
    refused = [group for group in groups if group.attempts[0].drawing.refusal]
    assert 0 < len(refused) < len(groups)
    assert {attempt.reward for group in refused for attempt in group.attempts} == {None}
    update = read_round(run, 0).update
    assert update.groups == len(groups)
    assert update.skipped_groups >= len(refused)


def test_a_refused_description_has_no_reward_and_the_others_of_its_group_have(run):
    attempts = read_round(run, 0).attempts
    drawn = [attempt for attempt in attempts if not attempt.drawing.refusal]
    refused = [attempt for attempt in drawn if attempt.reconstruction.refusal]
    assert 0 < len(refused) < len(drawn)
    assert all((attempt.reward is None) == (attempt in refused) for attempt in drawn)


def test_a_refused_prompt_gets_the_lowest_reward_and_stays_in_its_group(run):
    attempts = read_round(run, 1).attempts
    refused = [attempt.reward for attempt in attempts if attempt.drawing.refusal]
    others = [attempt.reward for attempt in attempts if not attempt.drawing.refusal]
    known = [reward for reward in others if reward is not None]
    assert refused
    assert known
    assert set(refused) == {0.0}
    assert min(known) > 0.0
