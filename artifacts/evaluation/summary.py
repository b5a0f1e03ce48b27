"""The five headline numbers of a run, computed and formatted."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from artifacts.evaluation.comparison import Comparison, Measure, compare_checkpoints, compare_proxies
from artifacts.evaluation.read import Evaluations
from artifacts.evaluation.selection import reported_checkpoint
from artifacts.run.metrics import TrainingLog
from artifacts.text import bracketed


@dataclass(frozen=True)
class Headline:
    """One of the five numbers, formatted."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Measured:
    """A mean at the first and at a later evaluation; None if not measured."""

    before: float | None
    after: float | None


@dataclass(frozen=True)
class Summary:
    """The five numbers of a run, not formatted.

    Similarity is the mean over held-out images, the adversary's reward the mean over fresh prompts, each at the first
    and at the last evaluation; pass@1 is the mean over questions, at the first and at the reported checkpoint.
    `draws_asked` counts the images that training and evaluations needed, `draws_made` those of them that were drawn.
    """

    base_rounds: int
    adversary_rounds: int
    similarity: Measured
    adversary_reward: Measured
    pass_at_1: Measured
    draws_asked: int
    draws_made: int
    reported: str | None  # the reported checkpoint and the rule that chose it
    changes: dict[Measure, Comparison]  # paired by unit

    @property
    def rounds(self) -> int:
        """Recorded rounds of both players."""
        return self.base_rounds + self.adversary_rounds


def summarise(evaluations: Evaluations, log: TrainingLog) -> Summary:
    """Compute the five numbers from the evaluations and the training log."""
    metrics, timings = log.metrics, log.timings
    proxies, tests = evaluations.proxies, evaluations.tests
    similarity = [fmean(found.similarities) for found in proxies if found.similarities]
    reward = [fmean(found.adversary_rewards) for found in proxies if found.adversary_rewards]
    graded = [test for test in tests if test.overall_pass_at_1 is not None]
    reported = reported_checkpoint(evaluations)
    is_later = bool(graded) and reported is not None and reported.test.rounds_done > graded[0].rounds_done
    changes = compare_proxies(proxies[0], proxies[-1]) if len(proxies) > 1 else []
    return Summary(
        base_rounds=0 if metrics.empty else int((metrics["player"] == "base").sum()),
        adversary_rounds=0 if metrics.empty else int((metrics["player"] == "adversary").sum()),
        similarity=_first_and_last(similarity),
        adversary_reward=_first_and_last(reward),
        pass_at_1=Measured(
            graded[0].overall_pass_at_1 if graded else None,
            reported.test.overall_pass_at_1 if reported is not None and is_later else None,
        ),
        draws_asked=log.draws_asked + sum(found.draws_asked for found in proxies),
        draws_made=_draws_made(timings) + sum(found.draws_made for found in proxies),
        reported=f"{reported.test.checkpoint_name} ({reported.rule})" if reported is not None else None,
        changes={found.measure: found for found in (*changes, compare_checkpoints(evaluations)) if found is not None},
    )


def headlines(numbers: Summary) -> list[Headline]:
    """Return the five numbers with labels and notes."""
    rounds = f"{numbers.base_rounds} of the base, {numbers.adversary_rounds} of the adversary"
    draws = f"{numbers.draws_asked} → {numbers.draws_made}"
    similarity, reward = (
        _interval_of(numbers.changes.get(what)) for what in ("held-out similarity", "adversary's reward")
    )
    return [
        Headline("Rounds", str(numbers.rounds), rounds),
        Headline(
            "Held-out similarity", _change(numbers.similarity), f"mean cosine on images never trained on{similarity}"
        ),
        Headline("Adversary's reward", _change(numbers.adversary_reward), f"mean over freshly sampled prompts{reward}"),
        Headline("Draws", draws, "images requested → drawn; the others were in the store"),
        Headline("pass@1", _change(numbers.pass_at_1), _pass_note(numbers)),
    ]


def summary_lines(numbers: Summary) -> list[str]:
    """Return the five lines that `duel demo` prints at the end."""
    found = headlines(numbers)
    width = max(len(headline.label) for headline in found)
    return [f"{headline.label:<{width}}  {headline.value:<16} {headline.note}" for headline in found]


def _pass_note(numbers: Summary) -> str:
    if numbers.reported is None:
        return "questions about charts never trained on"
    return f"first → reported checkpoint, {numbers.reported}" + _interval_of(numbers.changes.get("pass@1"))


def _interval_of(found: Comparison | None) -> str:
    """Return a change with its interval and number of units as the end of a note; empty for None."""
    if found is None:
        return ""
    return f": {bracketed(found.difference, '+')}, {found.n} {found.units}"


def _change(found: Measured) -> str:
    if found.before is None:
        return "not measured"
    return f"{found.before:.3f}" if found.after is None else f"{found.before:.3f} → {found.after:.3f}"


def _first_and_last(means: list[float]) -> Measured:
    return Measured(means[0] if means else None, means[-1] if len(means) > 1 else None)


def _draws_made(timings: pd.DataFrame) -> int:
    """Sum `draws_made` over rounds; of a repeated round only the last row, which includes the earlier tries' draws."""
    return 0 if timings.empty else int(timings.drop_duplicates("round", keep="last")["draws_made"].sum())
