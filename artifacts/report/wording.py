"""How a report says numbers and results, on a page and on paper alike."""

from __future__ import annotations

import math

from artifacts.evaluation.comparison import Comparison
from artifacts.report.content import ReportContent
from artifacts.text import decimals
from duel.statistics import Interval


def measured(found: Interval | None) -> str:
    """Return a mean with its 95 % interval; a dash where nothing was measured."""
    if found is None:
        return "–"
    if not math.isfinite(found.high - found.low):
        return f"{decimals(found.mean)} (one value)"
    return f"{decimals(found.mean)} ({decimals(found.low)} to {decimals(found.high)})"


def changed(found: Comparison | None) -> str:
    """Return a difference with its 95 % interval and p-value; a dash where nothing was compared."""
    if found is None:
        return "–"
    p_value = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
    return f"{difference(found.difference)}, {p_value}"


def difference(found: Interval) -> str:
    """Return a difference with its sign and its 95 % interval."""
    if not math.isfinite(found.high - found.low):
        return f"{found.mean + 0.0:+.3f} (one pair)"
    return f"{found.mean + 0.0:+.3f} ({found.low + 0.0:+.3f} to {found.high + 0.0:+.3f})"


def result_lines(content: ReportContent) -> list[tuple[str, str]]:
    """Return the run's result as (what, number) pairs: the reported checkpoint, and what it is compared with."""
    reported, row = content.reported, content.result
    if reported is None or row is None or row.questions is None:
        return []
    lines = [
        (
            f"pass@1 of {reported.test.checkpoint_name}, {row.questions.questions} questions",
            measured(row.questions.pass_at_1),
        )
    ]
    if content.change is not None:
        lines.append((f"against {content.change.before}, the first checkpoint", changed(content.change)))
    if content.rival is not None:
        lines += [(f"against {found.before}", changed(found)) for found in _of_questions(content)]
    return lines


def result_note(content: ReportContent) -> str:
    """Return how the reported checkpoint was chosen, and whether the choice is settled."""
    reported = content.reported
    if reported is None:
        return f"No checkpoint is evaluated yet: duel evaluate --run {content.run.name}"
    if reported.development_pass_at_1 is None:
        note = f"{reported.test.checkpoint_name} is reported because it is the last checkpoint"
    else:
        note = (
            f"{reported.test.checkpoint_name} is reported because it is best on the development charts "
            f"({decimals(reported.development_pass_at_1)} there), whose questions are in no number here"
        )
    note += "; the settings named the rule before anything was measured."
    if reported.waiting:
        note += f" Not settled: still to be evaluated are {', '.join(reported.waiting)}."
    return note


def cost_line(content: ReportContent) -> str:
    """Return what the run's drawings cost."""
    settings, spend = content.run.settings, content.spend
    if spend is not None:
        ends = ", ".join(f"{count} {outcome}" for outcome, count in spend.outcomes.items())
        return f"${spend.dollars:,.2f} for {spend.images:,} images ({ends}), as the ledger has it."
    if settings.generator.service == "replicate":
        return "Nothing: the ledger knows of no image that was bought for this run."
    return "Nothing: all images were drawn on this machine, no paid service was asked."


def judge_line(content: ReportContent) -> str:
    """Return what the report knows of the judge's cost."""
    if content.run.settings.judge.service == "openai":
        return (
            f"Answers are graded by {content.run.settings.judge.model}, billed by its service; the ledger has no sum."
        )
    return "Answers are graded on this machine, at no cost."


def _of_questions(content: ReportContent) -> list[Comparison]:
    found = content.rival.comparisons if content.rival else []
    return [comparison for comparison in found if comparison.measure == "pass@1"]
