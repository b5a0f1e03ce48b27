"""A run in five numbers, and how they are said."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from artifacts.evaluation.comparison import Comparison, compare_checkpoints, compare_proxies
from artifacts.evaluation.read import read_checkpoint_tests, read_proxy_evaluations
from artifacts.evaluation.selection import reported_checkpoint
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_metrics, read_timings


@dataclass(frozen=True)
class Headline:
    """One of the five numbers, as shown."""

    label: str
    value: str
    note: str


def summary(run: RunDirectory) -> dict[str, Any]:
    """Return the run's numbers; None where nothing was measured.

    Similarity is the mean over held-out images, the adversary's reward the mean over fresh prompts, each at the first
    and at the last evaluation; pass@1 is the mean over questions, at the first and at the reported checkpoint.
    Changes are comparisons, paired by unit. `draws_asked` counts the images that training needed, and evaluations
    where their files say so, `draws_made` those not in the store.
    """
    metrics, timings = read_metrics(run), read_timings(run)
    proxies, tests = read_proxy_evaluations(run), read_checkpoint_tests(run)
    similarity = [fmean(found.similarities) for found in proxies if found.similarities]
    reward = [fmean(found.adversary_rewards) for found in proxies if found.adversary_rewards]
    asked = [found.draws_asked for found in proxies]
    made = [found.draws_made for found in proxies]
    if not metrics.empty:
        asked.append(int(metrics["draws_asked"].sum()))
    if not timings.empty:
        made.append(int(timings.drop_duplicates("round", keep="last")["draws_made"].sum()))
    graded = [test for test in tests if test.pass_at_1 is not None]
    reported = reported_checkpoint(run, tests)
    is_later = bool(graded) and reported is not None and reported.test.rounds_done > graded[0].rounds_done
    changes = compare_proxies(proxies[0], proxies[-1]) if len(proxies) > 1 else []
    return {
        "run": run.name,
        "originals": run.settings.originals,
        "rounds": len(metrics),
        "base_rounds": 0 if metrics.empty else int((metrics["player"] == "base").sum()),
        "adversary_rounds": 0 if metrics.empty else int((metrics["player"] == "adversary").sum()),
        "similarity_before": similarity[0] if similarity else None,
        "similarity_after": similarity[-1] if len(similarity) > 1 else None,
        "adversary_reward_before": reward[0] if reward else None,
        "adversary_reward_after": reward[-1] if len(reward) > 1 else None,
        "draws_asked": sum(asked),
        "draws_made": sum(made),
        "pass_at_1_first": graded[0].pass_at_1 if graded else None,
        "pass_at_1_last": reported.test.pass_at_1 if reported is not None and is_later else None,
        "reported": f"{reported.test.name} ({reported.rule})" if reported is not None else None,
        "changes": {found.measure: found for found in (*changes, compare_checkpoints(run)) if found is not None},
        "questions": len(tests[-1].questions) if tests else 0,
    }


def headlines(numbers: dict[str, Any]) -> list[Headline]:
    """Return the five numbers of `summary` in words."""
    rounds = f"{numbers['base_rounds']} of the base, {numbers['adversary_rounds']} of the adversary"
    pass_at_1 = _change(numbers["pass_at_1_first"], numbers["pass_at_1_last"])
    draws = f"{numbers['draws_asked']} → {numbers['draws_made']}"
    return [
        Headline("Rounds", str(numbers["rounds"]), rounds),
        _measured("Held-out similarity", numbers, "similarity", "mean cosine on images never trained on"),
        _measured("Adversary's reward", numbers, "adversary_reward", "mean over freshly sampled prompts"),
        Headline("Draws", draws, "images asked for → drawn; the others were in the store"),
        Headline("pass@1", pass_at_1, _pass_note(numbers)),
    ]


def summary_lines(run: RunDirectory) -> list[str]:
    """Return the five lines that the command line prints at the end of a run."""
    found = headlines(summary(run))
    width = max(len(headline.label) for headline in found)
    return [f"{headline.label:<{width}}  {headline.value:<16} {headline.note}" for headline in found]


def _measured(label: str, numbers: dict[str, Any], field: str, note: str) -> Headline:
    value = _change(numbers[f"{field}_before"], numbers[f"{field}_after"])
    return Headline(label, value, note + _surely(numbers["changes"].get(label[0].lower() + label[1:])))


def _pass_note(numbers: dict[str, Any]) -> str:
    if numbers["reported"] is None:
        return "questions about charts never trained on"
    return f"first → reported checkpoint, {numbers['reported']}" + _surely(numbers["changes"].get("pass@1"))


def _surely(found: Comparison | None) -> str:
    """Return how surely a change is known."""
    if found is None:
        return ""
    change = found.difference
    return f": {change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}], {found.n} {found.units}"


def _change(before: float | None, after: float | None) -> str:
    if before is None:
        return "not measured"
    return f"{before:.3f}" if after is None else f"{before:.3f} → {after:.3f}"
