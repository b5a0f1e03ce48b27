"""metrics.jsonl: hand-computed rows, null for missing values, and incomplete or damaged lines."""

import json
import math
from pathlib import Path

import pytest

from artifacts.run import jsonl
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import append_timings, read_metrics, read_timings, round_metrics
from duel.errors import RunError
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Attempt, Drawing, Group, PromptParts, RoundRecord
from tests.support.fake_run import completion, update

DRAWN = Drawing("a chart", 1, "0" * 64)
REFUSED = Drawing("a nude chart", 1, None, "not safe")


def test_a_row_of_metrics_by_hand() -> None:
    attempts = [Attempt(DRAWN, DRAWN, 0.5, 0.5), Attempt(DRAWN, DRAWN, 0.9, 0.9), Attempt(DRAWN, REFUSED, None, None)]
    completions = [completion("a", 4), completion("b", 6), completion("c", 8, finished=False)]
    record = RoundRecord(6, "base", [Group(completions, attempts)], update(-0.25, 1.5, 1, 0), draws_asked=3)
    line = round_metrics(record)
    assert line == {
        "round": 6,
        "player": "base",
        "past_adversary": None,
        "reward_mean": pytest.approx(0.7),
        "reward_std": pytest.approx(0.2),
        "similarity_mean": pytest.approx(0.7),
        "ceiling_mean": None,
        "plain_mean": None,
        "regret_mean": None,
        "learnability_mean": None,
        "invalid_refused": None,
        "invalid_ceiling": None,
        "invalid_off_topic": None,
        "self_similarity_mean": None,
        "diversity_penalty_mean": None,
        "nearness_mean": None,
        "distinct_clusters": None,
        "replay_age_mean": None,
        "loss": -0.25,
        "gradient_norm": 1.5,
        "logprob_gap_mean": 2.0**-23,
        "logprob_gap_max": 2.0**-20,
        "divergence": 0.25,
        "anchor_divergence": None,
        "completion_tokens_mean": 6.0,
        "finished": pytest.approx(2 / 3),
        "groups": 1,
        "skipped_groups": 0,
        "refused": 1,
        "draws_asked": 3,
        "optimizer_steps": 1,
        "skipped_updates": 0,
    }
    assert list(line)[:2] == ["round", "player"]


def test_reward_and_similarity_are_separate_columns() -> None:
    attempts = [Attempt(DRAWN, DRAWN, 0.9, 0.1), Attempt(REFUSED, REFUSED, None, 0.0)]
    record = RoundRecord(1, "adversary", [Group([completion("p")] * 2, attempts)], update(), draws_asked=2)
    line = round_metrics(record)
    assert line["player"] == "adversary"
    assert line["similarity_mean"] == 0.9
    assert line["reward_mean"] == 0.05
    assert line["refused"] == 1


def test_ceilings_are_averaged_over_attempts_that_have_one() -> None:
    attempts = [
        Attempt(DRAWN, DRAWN, 0.5, reward, ceiling) for reward, ceiling in ((0.25, 0.75), (0.0, 0.5), (None, None))
    ]
    record = RoundRecord(1, "adversary", [Group([completion("p")] * 3, attempts)], update(), draws_asked=3)
    assert round_metrics(record)["ceiling_mean"] == 0.625


def test_prompts_are_measured_by_every_reward_and_invalid_ones_counted_by_reason() -> None:
    attempts = [
        Attempt(DRAWN, DRAWN, 0.5, 0.1, 0.75, PromptParts(0.25, None, 0.5, 0.25, 0.75)),
        Attempt(DRAWN, DRAWN, 0.25, -0.2, 0.375, PromptParts(0.125, "ceiling", 1.0)),
        Attempt(DRAWN, DRAWN, 0.75, None, None, PromptParts(None, "off_topic", nearness=0.25)),
        Attempt(REFUSED, REFUSED, None, -0.2, None, PromptParts(None, "refused")),
    ]
    record = RoundRecord(1, "adversary", [Group([completion("p")] * 4, attempts)], update(), draws_asked=3)
    row = round_metrics(record)
    assert (row["plain_mean"], row["regret_mean"], row["learnability_mean"]) == (0.5, 0.1875, 0.1875)
    assert [row[f"invalid_{reason}"] for reason in ("refused", "ceiling", "off_topic")] == [0.25] * 3
    assert (row["self_similarity_mean"], row["diversity_penalty_mean"]) == (0.75, 0.0625)
    assert row["nearness_mean"] == 0.5


def test_clusters_are_counted_by_group_and_replayed_drawings_once() -> None:
    clusters = [[0, 1, 0, None], [0, 0, 0, 0]]
    groups = [
        Group(
            [completion("p")] * 4,
            [Attempt(DRAWN, DRAWN, 0.5, 0.5, 1.0, PromptParts(0.0, None, cluster=c)) for c in row],
        )
        for row in clusters
    ]
    row = round_metrics(RoundRecord(1, "adversary", groups, update(), draws_asked=3))
    assert (row["distinct_clusters"], row["replay_age_mean"]) == (1.5, None)  # two and one
    old, older = (Drawing("x", 1, str(age), replay_age=age) for age in (2, 6))
    attempts = [Attempt(old, DRAWN, 0.5, 0.5), Attempt(old, DRAWN, 0.5, 0.5), Attempt(older, DRAWN, 0.5, 0.5)]
    row = round_metrics(RoundRecord(2, "base", [Group([completion("d")] * 3, attempts)], update(), draws_asked=3))
    assert (row["distinct_clusters"], row["replay_age_mean"]) == (None, 4.0)


def test_means_over_nothing_are_null(tmp_path: Path) -> None:
    attempts = [Attempt(REFUSED, REFUSED, None, None)] * 2
    record = RoundRecord(0, "base", [Group([completion("")] * 2, attempts)], update(gradient_norm=None), 1)
    jsonl.append_row(tmp_path / "metrics.jsonl", round_metrics(record))
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line["reward_mean"] is line["reward_std"] is line["similarity_mean"] is line["gradient_norm"] is None


def test_nan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsonl.append_row(path, {"round": 0, "loss": math.nan})
    assert not path.exists()


def test_floats_are_written_in_full_precision(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    jsonl.append_row(tmp_path / "t.jsonl", {"round": 0, "loss": value})
    assert jsonl.read_rows(tmp_path / "t.jsonl")[0]["loss"] == value


def test_an_incomplete_last_line_is_ignored_and_a_damaged_one_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"round": 0}\n{"round": 1}\n{"rou')
    assert [row["round"] for row in jsonl.read_rows(path)] == [0, 1]
    jsonl.keep_rows(path)
    assert path.read_text() == '{"round": 0}\n{"round": 1}\n'
    path.write_text('{"round": 0}\n{"rou\n{"round": 2}\n')
    with pytest.raises(RunError, match=r"t\.jsonl, line 2, is damaged"):
        jsonl.read_rows(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("null", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ("{}", "has no number"),
        ('{"round": "1"}', "has no number"),
    ],
)
def test_a_line_that_is_no_row_of_a_round_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"round": 0}}\n{line}\n')
    with pytest.raises(RunError, match=rf"t\.jsonl, line 2, {said}"):
        jsonl.keep_rows(path, before=5)
    assert path.read_text() == f'{{"round": 0}}\n{line}\n'


def test_tables_open_in_pandas(tmp_path: Path) -> None:
    with RunDirectory.open(StateDirectory(tmp_path), "run_1", Settings()) as run:
        assert read_metrics(run).empty
        append_timings(run, 0, {"describe": 1.5, "learn": 0.25}, draws_made=9)
        append_timings(run, 1, {"describe": 0.5}, draws_made=0)
    timings = read_timings(run)
    assert list(timings["seconds.describe"]) == [1.5, 0.5]
    assert timings["draws_made"].sum() == 9
    assert math.isnan(timings["seconds.learn"][1])
