"""Formats numbers and result sentences for both the HTML and the PDF report."""

from __future__ import annotations

from artifacts.evaluation.comparison import Comparison
from artifacts.evaluation.strata import HARD
from artifacts.report.content import ReportContent
from artifacts.text import decimals
from duel.statistics import Interval

STRATA = (
    "Further held-out charts: common ones, as the training images are, and ones with hard content that training images "
    "rarely or never show; “hard” is all of these together. The first evaluation and the last, paired by chart and by "
    "question."
)


def measured(found: Interval | None) -> str:
    """Return a mean with its 95 % interval; a dash for None."""
    if found is None:
        return "–"
    if not found.bounded:
        return f"{decimals(found.mean)} (one value)"
    return f"{decimals(found.mean)} ({decimals(found.low)} to {decimals(found.high)})"


def changed(found: Comparison | None) -> str:
    """Return a difference with its 95 % interval and p-value; a dash for None."""
    if found is None:
        return "–"
    p_value = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
    return f"{difference(found.difference)}, {p_value}"


def difference(found: Interval) -> str:
    """Return a signed difference with its 95 % interval."""
    if not found.bounded:
        return f"{found.mean + 0.0:+.3f} (one pair)"
    return f"{found.mean + 0.0:+.3f} ({found.low + 0.0:+.3f} to {found.high + 0.0:+.3f})"


def result_lines(content: ReportContent) -> list[tuple[str, str]]:
    """Return the run's result as (label, number) pairs: the reported checkpoint's pass@1 and its comparisons."""
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
        label = f"difference from {content.change.before}, the first checkpoint"
        lines.append((label, changed(content.change)))
    if content.rival is not None:
        lines += [(f"difference from {found.before}", changed(found)) for found in _of_questions(content)]
        hard = [one.similarity for one in content.rival.strata if one.name == HARD and one.similarity is not None]
        lines += [(f"similarity on hard charts, difference from {one.before}", changed(one)) for one in hard]
    return lines


def result_note(content: ReportContent) -> str:
    """Return how the reported checkpoint was chosen, and which checkpoints may still change the choice."""
    reported = content.reported
    if reported is None:
        return f"No checkpoint is evaluated yet; run duel evaluate --run {content.run.name}."
    if reported.development_pass_at_1 is None:
        note = f"{reported.test.checkpoint_name} is reported because it is the last checkpoint"
    else:
        note = (
            f"{reported.test.checkpoint_name} is reported because it is the best on the development charts "
            f"(pass@1 {decimals(reported.development_pass_at_1)}), whose questions count in no other number"
        )
    note += "; this rule was set before the run (evaluation.report)."
    if reported.waiting:
        note += f" Preliminary: not yet evaluated are {', '.join(reported.waiting)}."
    return note


def cost_line(content: ReportContent) -> str:
    """Return a sentence about the cost of the run's images."""
    settings, spend = content.run.settings, content.spend
    if spend is not None and spend.outcomes:
        ends = ", ".join(f"{count} {outcome}" for outcome, count in spend.outcomes.items())
        return f"${spend.dollars:,.2f} for {spend.images:,} images ({ends}), from the spend ledger."
    if settings.generator.service == "replicate":
        return "Images: no cost, the spend ledger has no purchase of this run."
    return "Images: no cost, all were drawn on this machine."


def judge_line(content: ReportContent) -> str:
    """Return a sentence about the cost of grading."""
    if content.run.settings.judge.service == "openai":
        return f"Grading: by {content.run.settings.judge.model}, billed by its service and not recorded in the ledger."
    return "Grading: no cost, on this machine."


def _of_questions(content: ReportContent) -> list[Comparison]:
    found = content.rival.comparisons if content.rival else []
    return [comparison for comparison in found if comparison.measure == "pass@1"]
