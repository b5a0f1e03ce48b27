"""Whether the base is losing the ability to answer: the canary's last scores against its first ones."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from artifacts.evaluation.records import ProxyRecord

FALL = 0.1  # of the canary below its start that is warned of
ROUNDING = 1e-9


def canary_line(proxies: Sequence[ProxyRecord]) -> str | None:
    """Return the canary at the first and at the last evaluation, in words; None where no questions were put."""
    asked = [found for found in proxies if found.canary]
    if not asked:
        return None
    first, last = asked[0], asked[-1]
    text = f"{_mean(first):.3f} after {first.rounds_done} rounds"
    if last is not first:
        text += f", {_mean(last):.3f} after {last.rounds_done}"
    assert last.canary is not None
    return f"{text}; {fmean(last.canary.unfinished):.0%} of the last answers unfinished"


def canary_warning(proxies: Sequence[ProxyRecord]) -> str | None:
    """Return a warning where the last canary is more than FALL below the first, over the questions that both put."""
    asked = [found for found in proxies if found.canary]
    if len(asked) < 2:
        return None
    first, last = asked[0].canary_of, asked[-1].canary_of
    common = [unit for unit in first if unit in last]
    if not common:
        return None
    before, after = (fmean(scores[unit] for unit in common) for scores in (first, last))
    if before - after <= FALL + ROUNDING:
        return None
    return (
        f"the base is losing the ability to answer: canary {before:.3f} after {asked[0].rounds_done} rounds, "
        f"{after:.3f} after {asked[-1].rounds_done} ({len(common)} questions); see docs/abilities.md for what holds it"
    )


def _mean(found: ProxyRecord) -> float:
    return fmean(found.canary_of.values())
