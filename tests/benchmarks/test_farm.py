import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.farm.arms import ARMS, Arm, arms_named
from benchmarks.farm.charts import ChartImages
from benchmarks.farm.game import Farm
from benchmarks.farm.intervals import at_draws, draws_until, paired_difference
from benchmarks.farm.model import StackedModel
from benchmarks.farm.replay import CAPACITY, ReplayPool
from benchmarks.farm.results import answers_by_chart, evaluation_rows, read_table, write_table
from benchmarks.farm.rewards import advantages_or_zeros, adversary_rewards
from benchmarks.farm.tables import print_differences
from duel.offline.pretraining.models import VLM_FOLDER
from duel.offline.strata import STRATA

DOCS = Path(__file__).parents[2] / "docs"
TINY = replace(ARMS["duel"], warm=0, fresh=2, k=2, replay=1, data=1, train_images=2, gate=-1.0)


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Farm]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more threads wait for each other where tests run side by side
    model, images = StackedModel(VLM_FOLDER, torch.device("cpu")), ChartImages(1, slots=64)
    images.load(model)
    yield lambda *arms: Farm([("tiny", arm, seed) for arm, seed in arms], images, model)
    torch.set_num_threads(threads)


def up_norms(farm: Farm, player: str) -> list[bool]:
    """Return whether each run's adapter has moved: LoRA's second matrix starts at 0."""
    lora = farm.base if player == "base" else farm.adversary
    return (sum(up.detach().abs().sum((1, 2)) for _, up in lora.pairs.values()) > 0).tolist()


def test_a_fresh_and_a_replay_round_change_the_adapters_of_those_that_learn(start: Callable[..., Farm]) -> None:
    farm = start((TINY, 1), (replace(TINY, reward="none"), 1))
    farm.play_round(0)
    assert (up_norms(farm, "base"), up_norms(farm, "adversary")) == ([True, True], [True, False])
    adversary = [up.detach().clone() for _, up in farm.adversary.pairs.values()]
    base = [up.detach().clone() for _, up in farm.base.pairs.values()]
    farm.play_round(1)
    assert all(torch.equal(a, b) for a, (_, b) in zip(adversary, farm.adversary.pairs.values(), strict=True))
    assert all(not torch.equal(a, b) for a, (_, b) in zip(base, farm.base.pairs.values(), strict=True))
    assert len(farm.runs[0].pool.drawings) == 2
    assert "ceiling" in farm.runs[0].rounds[0]
    assert "ceiling" not in farm.runs[0].rounds[1]


def test_a_run_does_not_depend_on_its_neighbours(start: Callable[..., Farm]) -> None:
    """Up to rounding, so that a text could differ, but none does in a round."""
    alone, beside = start((TINY, 3)), start((TINY, 4), (TINY, 3))
    alone.play_round(0)
    beside.play_round(0)
    assert alone.runs[0].rounds[0] == pytest.approx(beside.runs[1].rounds[0], abs=1e-4)
    assert alone.runs[0].rounds[0] != beside.runs[0].rounds[0]


def test_players_that_take_turns_begin_with_the_adversary(start: Callable[..., Farm]) -> None:
    run = start((replace(TINY, together=False), 1)).runs[0]
    assert [run.learns("adversary", index) for index in range(4)] == [True, False, False, False]
    assert [run.learns("base", index) for index in range(4)] == [False, True, True, True]


def test_regret_is_ceiling_less_similarity_and_a_low_ceiling_is_invalid() -> None:
    arm = Arm(reward="regret", gate=0.9, invalid=-0.2)
    assert adversary_rewards(arm, [0.75, 0.95, 0.25], [1.0, 0.9, 0.5]) == pytest.approx([0.25, -0.05, -0.2])


def test_the_plain_reward_does_not_ask_for_the_ceiling() -> None:
    assert adversary_rewards(Arm(reward="plain"), [0.75, 0.25], [1.0, 0.5]) == [0.25, 0.75]


def test_a_group_without_signal_has_advantages_of_zero() -> None:
    assert advantages_or_zeros([0.5, 0.5]) == [0.0, 0.0]
    assert advantages_or_zeros([0.0, 1.0]) == pytest.approx([-0.70701, 0.70701], abs=1e-5)  # 0.5 / (0.70711 + 1e-4)


def test_a_drawing_enters_the_pool_through_the_gate_and_keeps_its_ceiling() -> None:
    pool = ReplayPool()
    pool.note(1, 0.5, 0.95, gate=0.9, index=0)
    pool.note(2, 0.5, 0.85, gate=0.9, index=0)  # below the gate
    pool.note(3, 0.5, None, gate=0.9, index=0)  # of the data set: no ceiling
    pool.note(1, 0.75, None, gate=0.9, index=4)
    assert list(pool.drawings) == [1]
    assert pool.drawings[1].score == pytest.approx(0.2)
    assert pool.mean_age(10) == 6


def test_the_easiest_drawing_leaves_a_full_pool() -> None:
    pool = ReplayPool()
    for image in range(CAPACITY + 1):
        pool.note(image, 0.1 if image != 7 else 0.9, 1.0, gate=0.9, index=0)
    assert set(pool.drawings) == set(range(CAPACITY + 1)) - {7}


def test_harder_and_older_drawings_are_chosen_more_often() -> None:
    """Two drawings, the first harder and just seen: first with probability 0.8 x 2/3 + 0.2 x 1/3 = 0.6."""
    pool = ReplayPool()
    pool.note(1, 0.2, 1.0, gate=0.9, index=5)
    pool.note(2, 0.6, 1.0, gate=0.9, index=0)
    rng = random.Random(0)
    first = [pool.choose(1, rng)[0] for _ in range(4000)].count(1) / 4000
    assert first == pytest.approx(0.6, abs=0.03)
    assert sorted(pool.choose(5, rng)) == [1, 2]


def test_values_at_equal_draws_are_linear_between_evaluations_and_stay_at_the_end() -> None:
    rows = [{"draws": 0, "v": 0.0}, {"draws": 100, "v": 1.0}]
    value = lambda row: np.array(row["v"])  # noqa: E731
    assert [float(at_draws(rows, draws, value)) for draws in (25, 100, 500)] == [0.25, 1.0, 1.0]


def test_draws_until_a_level_are_of_the_mean_over_seeds() -> None:
    seeds = [[{"draws": 0, "v": 0.0}, {"draws": 100, "v": 1.0}], [{"draws": 0, "v": 0.5}, {"draws": 100, "v": 0.5}]]
    assert draws_until(seeds, 0.5, lambda row: row["v"]) == 50  # means 0.25 to 0.75
    assert draws_until(seeds, 0.9, lambda row: row["v"]) is None


def test_a_paired_difference_uses_the_seeds_of_both() -> None:
    one = {0: {"kind": [0.5, 0.75]}, 1: {"kind": [0.5, 0.75]}, 2: {"kind": [9.0, 9.0]}}
    other = {0: {"kind": [0.25, 0.5]}, 1: {"kind": [0.25, 0.5]}}
    found = paired_difference(one, other, ["kind"])
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)
    with pytest.raises(ValueError, match="expected at least one in both"):
        paired_difference(one, {5: {"kind": [0.0]}}, ["kind"])


def test_runs_are_named_by_arm_and_seeds() -> None:
    assert [(name, seed) for name, _, seed in arms_named(["none:1", "duel:0-1"])] == [
        ("none", 1),
        ("duel", 0),
        ("duel", 1),
    ]
    with pytest.raises(ValueError, match="got the arm 'dule'"):
        arms_named(["dule:0"])


def test_a_row_holds_means_over_charts_questions_and_the_rounds_since_the_evaluation_before(tmp_path: Path) -> None:
    answers = {f"{stratum}: {question}": [0.0, 1.0] for stratum in STRATA for question in ("A?", "B?")}
    answers["kind: A?"] = [1.0, 1.0]
    first = {
        "round": 0,
        "draws": 0,
        "seconds": 0.0,
        "similarity": {stratum: [0.5, 0.75] for stratum in STRATA},
        "answers": answers,
        "reasoned": {key: [1.0, 1.0] for key in answers},
    }
    run = {
        "name": "duel",
        "seed": 3,
        "share": 0.5,
        "evaluations": [first, first | {"round": 2, "draws": 40, "seconds": 8.0}],
        "rounds": [{"round": 0, "ceiling": 0.5}, {"round": 1, "ceiling": 1.0}, {"round": 2, "ceiling": 0.0}],
        "spent": {"drawings": 16, "descriptions": 24},
    }
    assert answers_by_chart(first, "kind", "answers") == [0.5, 1.0]
    write_table(evaluation_rows(run), tmp_path / "table.csv")
    before, last = read_table(tmp_path / "table.csv")
    assert (last["arm"], last["seed"], last["draws"], last["seconds"]) == ("duel", 3, 40, 4)
    assert (last["similarity_all"], last["answers_kind"], last["answers_all"]) == (0.625, 0.75, 0.5)
    assert (last["ceiling"], last["drawings"], last["ceilings"]) == (0.75, 16, 0)
    assert "ceiling" not in before


def test_the_page_shows_the_differences_that_its_data_gives(capsys: pytest.CaptureFixture[str]) -> None:
    print_differences(DOCS / "data", [("duel", "none")])
    row = capsys.readouterr().out.splitlines()[-1]
    assert row in (DOCS / "adversary.md").read_text(encoding="utf-8")
