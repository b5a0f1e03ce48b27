"""Console output of `duel evaluate`: table of checkpoints, reported result, comparison, statistical power."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from artifacts.evaluation.canary import canary_warning
from artifacts.evaluation.comparison import Comparison, compare_held_out, compare_runs, differing_similarity
from artifacts.evaluation.read import Evaluations
from artifacts.evaluation.selection import Reported, reported_checkpoint
from artifacts.evaluation.strata import (
    StratumComparison,
    compare_strata_of_runs,
    compare_strata_with_start,
)
from artifacts.evaluation.table import EvaluationRow, GroupResult, evaluation_table
from artifacts.text import bracketed
from duel.statistics import detectable, sampling_deviation, units_needed

DIFFERENCE = 0.03  # in pass@1; the questions needed to detect it are printed with every evaluation


def evaluation_lines(evaluations: Evaluations, difference: float = DIFFERENCE) -> list[str]:
    """Return the table of checkpoints, the reported result, and the number of questions that detects `difference`."""
    rows = evaluation_table(evaluations)
    reported = reported_checkpoint(evaluations)
    warned = warning_lines(evaluations)
    if reported is None:
        nothing = f"{evaluations.run.name}: no checkpoint has been evaluated on questions yet"
        return [nothing, *_proxy_lines(rows), *warned]
    lines = ["", *_checkpoint_lines(rows)]
    for row in rows:
        if row.reported:
            lines += _group_lines(f"ckpt-{row.rounds_done}", [*row.by_kind, *row.by_category])
    change = next((row.questions.against_first for row in rows if row.reported and row.questions), None)
    lines += strata_lines(compare_strata_with_start(evaluations))
    lines += ["", *_proxy_lines(rows), *warned, reported_line(reported, rows, change)]
    return [*lines, *power_lines(reported, change, difference)]


def comparison_lines(ours: Evaluations, theirs: Evaluations, difference: float = DIFFERENCE) -> list[str]:
    """Return the comparison of two runs by pass@1 and held-out similarity. Raises RunError as `compare_runs` does.

    Runs on a data set without questions are compared by held-out similarity alone.
    """
    reported = [reported_checkpoint(evaluations) for evaluations in (ours, theirs)]
    held_out = compare_held_out(ours, theirs)
    different = differing_similarity(ours.run.settings, theirs.run.settings)
    lines = ["", f"{ours.run.name} against {theirs.run.name}, paired by question and by held-out image:"]
    found = None
    if any(reported) or held_out is None:
        found = compare_runs(ours, theirs)
        lines.append(_change_line(found))
    if held_out is not None:
        lines.append(_change_line(held_out))
    elif different:
        lines.append(f"held-out similarity is not compared, the runs differ in {', '.join(different)}")
    lines += strata_lines(compare_strata_of_runs(ours, theirs))
    for one in reported:
        if one is not None and one.waiting:
            lines.append(f"{one.test.checkpoint_name} is preliminary, not yet evaluated: {', '.join(one.waiting)}")
    return lines if reported[0] is None else [*lines, *power_lines(reported[0], found, difference)]


def strata_lines(found: Sequence[StratumComparison]) -> list[str]:
    """Return a table of the strata, similarity beside answers; nothing for a data set without strata."""
    if not found:
        return []
    before, after = next((one.before, one.after) for stratum in found for one in stratum.measured)
    head = f"{before} -> {after}"
    lines = ["", f"{'charts':<15}{'similarity: ' + head:<54}{'answers: ' + head}"]
    for stratum in found:
        name = stratum.label if stratum.pooled else f"  {stratum.label}"
        cells = [_short_change(one) for one in (stratum.similarity, stratum.answers)]
        lines.append(f"{name:<15}{cells[0]:<54}{cells[1]}".rstrip())
    return lines


def _short_change(found: Comparison | None) -> str:
    if found is None:
        return ""
    means = f"{found.before_mean:.3f} -> {found.after_mean:.3f}"
    return f"{means}  {bracketed(found.difference, '+')}  ({found.n})"


def warning_lines(evaluations: Evaluations) -> list[str]:
    """Return a line where the base is losing the ability to answer, else none."""
    warning = canary_warning(evaluations.proxies)
    return [] if warning is None else [f"warning: {warning}"]


def reported_line(reported: Reported, rows: list[EvaluationRow], change: Comparison | None) -> str:
    """Return the run's result in one line."""
    how = (
        "last" if reported.rule == "last" else f"best on development charts, {reported.development_pass_at_1:.3f} there"
    )
    result = next(row.questions for row in rows if row.reported)
    share = result.pass_at_1 if result else None
    measured = bracketed(share) if share else "no answer could be graded"
    line = f"reported: {reported.test.checkpoint_name} ({how}, rule set beforehand): pass@1 {measured}"
    if change is not None:
        line += f", against {change.before}: {bracketed(change.difference, '+')}, p {_p(change)}"
    if reported.waiting:
        line += f"; preliminary, not yet evaluated: {', '.join(reported.waiting)}"
    return line


def power_lines(reported: Reported, change: Comparison | None, difference: float) -> list[str]:
    """Return the difference that the questions detect with 80 % power, and how many would detect `difference`."""
    scores = [result.graded for result in reported.test.per_chart_results if result.graded]
    n, deviation = len(scores), sampling_deviation(scores) if scores else 0.0
    source = f"between two samplings of {reported.test.checkpoint_name}'s answers, a lower bound for two models"
    if change is not None and change.spread:
        n, deviation = change.n, change.spread
        if change.deviation == deviation:
            source = f"of {change.after} - {change.before} over questions"
    if deviation == 0:
        return ["power: not known, because all graded answers to each question have the same score"]
    return [
        f"power: {n} questions detect a difference of {detectable(deviation, n):.3f} with 80 % probability, "
        f"{units_needed(deviation, difference)} would detect {difference:g}",
        f"       (two-sided 5 % level; standard deviation {deviation:.3f}, {source})",
    ]


def _checkpoint_lines(rows: list[EvaluationRow]) -> Iterator[str]:
    counts = f"{'questions':>10}{'invalid':>9}{'ungraded':>10}"
    yield f"{'checkpoint':<20}{'pass@1':<22}{'against the first':<28}{'p':<9}{counts}"
    for row in rows:
        if row.questions is not None:
            yield _result_line(f"ckpt-{row.rounds_done}{' *' if row.reported else ''}", row.questions)


def _group_lines(name: str, groups: list[GroupResult]) -> list[str]:
    return (
        ["", f"{name} by kind of question and of answer", *(_result_line(f"  {g.group}", g) for g in groups)]
        if groups
        else []
    )


def _result_line(name: str, result: GroupResult) -> str:
    share = bracketed(result.pass_at_1) if result.pass_at_1 else "none graded"
    change = result.against_first
    difference, p = (bracketed(change.difference, "+"), _p(change).removeprefix("= ")) if change else ("", "")
    return f"{name:<19} {share:<22}{difference:<28}{p:<9}{result.questions:>10}{result.invalid:>9}{result.ungraded:>10}"


def _proxy_lines(rows: list[EvaluationRow]) -> list[str]:
    last = next((row for row in reversed(rows) if row.similarity or row.adversary_reward), None)
    changes = [last.similarity_change, last.adversary_reward_change, last.canary_change] if last else []
    return [_change_line(change) for change in changes if change is not None]


def _change_line(found: Comparison) -> str:
    left_out = f", {found.left_out} without a pair left out" if found.left_out else ""
    return (
        f"{found.measure}: {found.before_mean:.3f} ({found.before}) -> {found.after_mean:.3f} ({found.after}), "
        f"difference {bracketed(found.difference, '+')}, p {_p(found)} ({found.n} {found.units}{left_out})"
    )


def _p(found: Comparison) -> str:
    return "< 0.001" if found.p_value < 0.001 else f"= {found.p_value:.3f}"
