"""What a run will ask for, cost and take: from its settings, and from what runs of the state directory did before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_training_log
from duel.errors import DuelError
from duel.estimate import most_draws
from duel.rewards import load_rewards
from duel.settings import Settings
from duel.state import StateDirectory

SAME = ("originals", "order", "shared_draws", "images_per_round", "prompt_groups", "sampling", "models")


@dataclass(frozen=True)
class Past:
    """What an earlier run, or this one so far, did."""

    run: str
    rounds: int
    share: float  # of the most images that these rounds could have asked for
    seconds: float  # of a round, evaluations and start-up not counted


def estimate_lines(settings: Settings, run: str, state: StateDirectory) -> list[str]:
    """Return the expected images, dollars and hours of a run as lines. Asks no service and writes nothing."""
    needs_ceiling = load_rewards(settings.rewards).needs_ceiling
    most = most_draws(settings, needs_ceiling)
    past = find_past(settings, run, state, needs_ceiling)
    done = past.rounds if past is not None and past.run == run else 0
    left = sum(most.by_round[done:])
    expected = round(left * past.share) if past is not None else left
    lines = [f"rounds: {settings.rounds - done} to play" + (f", {done} are played" if done else "")]
    lines.append(f"images: at most {left:,} in these rounds, {most.in_evaluations:,} in {most.evaluations} evaluations")
    if past is not None:
        asked = f"{past.rounds} rounds of {past.run} asked for {past.share:.0%} of the most they could"
        lines.append(f"        about {expected:,} in these rounds: {asked}")
    lines.append(f"cost:   {_cost(settings, expected + most.in_evaluations)}")
    if past is None:
        return [*lines, "time:   not known: no run of this state directory has such rounds; play a few and ask again"]
    hours = (settings.rounds - done) * past.seconds / 3600
    taken = f"{past.seconds:.1f} s a round in {past.run}"
    return [*lines, f"time:   about {hours:.1f} hours, evaluations not counted ({taken})"]


def find_past(settings: Settings, run: str, state: StateDirectory, needs_ceiling: bool) -> Past | None:
    """Return what this run did so far, else what the longest other run with such rounds did; None if there is none."""
    found = [past for name in _names(state) if (past := _read_past(settings, name, state, needs_ceiling)) is not None]
    own = [past for past in found if past.run == run]
    return max(own or found, key=lambda past: past.rounds, default=None)


def _read_past(settings: Settings, name: str, state: StateDirectory, needs_ceiling: bool) -> Past | None:
    try:
        directory = RunDirectory.read(state, name)
        log = read_training_log(directory)
    except DuelError:  # a run of another version, or a damaged one, tells nothing
        return None
    theirs = directory.settings
    if log.metrics.empty or any(getattr(theirs, part) != getattr(settings, part) for part in SAME):
        return None
    rounds = len(log.metrics)
    bound = sum(most_draws(theirs.model_copy(update={"rounds": rounds}), needs_ceiling).by_round)
    stages = [column for column in log.timings.columns if column.startswith("seconds.")]
    timed = log.timings.drop_duplicates("round", keep="last")
    seconds = float(timed[stages].sum().sum()) / max(1, len(timed))
    return Past(name, rounds, log.draws_asked / bound if bound else 1.0, seconds)


def _names(state: StateDirectory) -> Iterator[str]:
    return (path.name for path in sorted(state.runs.glob("*/")) if (path / "settings.json").is_file())


def _cost(settings: Settings, images: int) -> str:
    if settings.generator.service != "replicate":
        return "none for images, which are drawn on this machine" + _judged(settings)
    price = settings.generator.price  # the ledger counts by it, too
    if price is None:
        return "not known: set generator.dollars_per_image" + _judged(settings)
    dollars = f"about {images * price:,.2f} dollars for images ({price:g} each, by generator.dollars_per_image)"
    return dollars + _judged(settings)


def _judged(settings: Settings) -> str:
    return "; grading by the judge is not counted" if settings.judge.service == "openai" else ""
