"""A run in five numbers, and how they are said."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from artifacts.evaluations import read_checkpoint_tests, read_proxy_evaluations
from artifacts.metrics import read_metrics, read_timings
from artifacts.run import RunDirectory


@dataclass(frozen=True)
class Headline:
    """One of the five numbers, as shown."""

    label: str
    value: str
    note: str


def summary(run: RunDirectory) -> dict[str, Any]:
    """Return the run's numbers; None where nothing was measured.

    Similarity is the mean over held-out images, the adversary's reward the mean over fresh prompts, pass@1
    the mean over questions; each at the first and at the last evaluation. `draws_asked` counts the images
    that training needed, and evaluations where their files say so, `draws_made` those not in the store.
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
        made.append(int(timings["draws_made"].sum()))
    pass_at_1 = [test.pass_at_1 for test in tests if test.pass_at_1 is not None]
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
        "pass_at_1_first": pass_at_1[0] if pass_at_1 else None,
        "pass_at_1_last": pass_at_1[-1] if len(pass_at_1) > 1 else None,
        "questions": len(tests[-1].questions) if tests else 0,
    }


def headlines(numbers: dict[str, Any]) -> list[Headline]:
    """Return the five numbers of `summary` in words."""
    rounds = f"{numbers['base_rounds']} of the base, {numbers['adversary_rounds']} of the adversary"
    pass_at_1 = _change(numbers["pass_at_1_first"], numbers["pass_at_1_last"])
    questions = f", {numbers['questions']} questions" if numbers["questions"] else ""
    draws = f"{numbers['draws_asked']} → {numbers['draws_made']}"
    return [
        Headline("Rounds", str(numbers["rounds"]), rounds),
        _measured("Held-out similarity", numbers, "similarity", "mean cosine on images never trained on"),
        _measured("Adversary's reward", numbers, "adversary_reward", "mean over freshly sampled prompts"),
        Headline("Draws", draws, "images asked for → drawn; the others were in the store"),
        Headline("pass@1", pass_at_1, f"first → last checkpoint{questions}"),
    ]


def summary_lines(run: RunDirectory) -> list[str]:
    """Return the five lines that the command line prints at the end of a run."""
    found = headlines(summary(run))
    width = max(len(headline.label) for headline in found)
    return [f"{headline.label:<{width}}  {headline.value:<16} {headline.note}" for headline in found]


def _measured(label: str, numbers: dict[str, Any], field: str, note: str) -> Headline:
    return Headline(label, _change(numbers[f"{field}_before"], numbers[f"{field}_after"]), note)


def _change(before: float | None, after: float | None) -> str:
    if before is None:
        return "not measured"
    return f"{before:.3f}" if after is None else f"{before:.3f} → {after:.3f}"
