"""Clusters of the adversary's prompts: similar ones together, hardest first, each cluster's share over the run."""

from pathlib import Path

import pytest

from artifacts.report import prompt_groups
from artifacts.report.gallery import Case
from artifacts.report.prompt_groups import group_prompts
from artifacts.run.round_record import RecordedAttempt, RecordedDrawing
from duel.types import Player

LEAVES = "a scatter of leaves and ivy in front of a forest"
PIES = "a pie of market shares in six slices"


def case(index: int, prompt: str, reward: float | None, player: Player = "adversary") -> Case:
    drawn = RecordedDrawing("0" * 64, 0, "drawing.png", None)
    attempt = RecordedAttempt(prompt, drawn, "text", drawn, None, reward, tokens=1, finished=True)
    return Case(index, player, 0, 0, attempt, Path())


def test_similar_prompts_form_a_group_and_groups_are_sorted_by_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_groups, "GROUPS", 2)
    cases = [case(1, f"{PIES}, blue", 0.1), case(1, f"{PIES}, red", 0.2), case(1, f"{PIES}, grey", 0.3)]
    cases += [case(3, f"{LEAVES}, green", 0.7), case(3, f"{LEAVES}, dark", 0.9), case(3, f"{PIES}, teal", 0.2)]
    cases += [case(2, "a round of the base", 1.0, "base"), case(3, "refused", None)]
    leaves, pies = group_prompts(cases)
    assert (leaves.count, pies.count) == (2, 4)
    assert leaves.mean_reward == pytest.approx(0.8)
    assert pies.mean_reward == pytest.approx(0.2)
    assert leaves.hardest.attempt.prompt == f"{LEAVES}, dark"
    assert {"leaves", "ivy"} & set(leaves.words)
    assert "a" not in leaves.words + pies.words  # every prompt has it
    assert (leaves.trend, pies.trend) == ([0, pytest.approx(2 / 3)], [1, pytest.approx(1 / 3)])


def test_shares_of_all_groups_sum_to_1_in_every_slice() -> None:
    texts = [
        f"{kind} chart titled {title} in {colour}"
        for kind in ("bar", "pie", "line")
        for title in ("rain", "cost", "age")
        for colour in ("red", "blue")
    ]
    cases = [case(2 * place + 1, text, 0.5) for place, text in enumerate(texts * 3)]
    groups = group_prompts(cases)
    assert sum(group.count for group in groups) == 54
    assert len(groups) <= 8
    for place in range(10):
        assert sum(group.trend[place] for group in groups) == pytest.approx(1)


def test_of_many_prompts_a_sample_is_clustered_and_all_are_assigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_groups, "JOINED", 20)
    monkeypatch.setattr(prompt_groups, "GROUPS", 2)
    cases = [
        case(place, f"{(LEAVES, PIES)[place % 2]}, version {place} of x{place}", (0.9, 0.1)[place % 2])
        for place in range(101)
    ]
    groups = group_prompts(cases)
    assert [(group.count, round(group.mean_reward, 3)) for group in groups] == [(51, 0.9), (50, 0.1)]


@pytest.mark.parametrize("texts", [[""], ["", ""], ["", "!", "1 2 3"], ["one"], ["same words", "same words"]])
def test_prompts_without_words_are_grouped_too(texts: list[str]) -> None:
    groups = group_prompts([case(1, text, 0.5) for text in texts])
    assert sum(group.count for group in groups) == len(texts)


def test_a_run_without_adversary_has_no_groups() -> None:
    assert group_prompts([]) == []
    assert group_prompts([case(0, "text", 0.4, "base")]) == []
