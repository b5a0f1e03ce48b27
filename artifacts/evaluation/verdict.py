"""Whether the adversary helped, in words for a reader who has never seen the project."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from artifacts.evaluation.comparison import Comparison
from artifacts.evaluation.strata import COMMON, HARD, StratumComparison
from artifacts.text import bracketed

MOST_UNEQUAL = 1.1  # ratio of draws from which on the comparison is not one at equal draws
WIDTH = 110  # characters of a line on a terminal


def verdict(found: Sequence[StratumComparison], draws: tuple[int, int]) -> list[str]:
    """Return sentences about a run with an adversary against one without.

    Args:
        found: `compare_strata_of_runs`, `before` without adversary.
        draws: How many images the training of the two asked for, with and without adversary.
    """
    by_name = {one.name: one for one in found}
    hard, common = by_name.get(HARD), by_name.get(COMMON)
    if hard is None or hard.similarity is None:
        return ["Whether the adversary helped is not known: no strata of hard charts were measured in both runs."]
    similar, answered = hard.similarity, hard.answers
    few, many = sorted(draws)
    unequal = ""
    if few and many > MOST_UNEQUAL * few:
        unequal = f" The one with more images has {many / few - 1:.0%} more, which alone may help it."
    sentences = [
        f"Did the adversary help? Hard charts have content that the training images rarely or never show. Described by "
        f"the base that was trained with the adversary ({draws[0]:,} images asked for), they are redrawn with "
        f"similarity {similar.after_mean:.3f} to the original; by the one trained without ({draws[1]:,} images), with "
        f"{similar.before_mean:.3f}.{unequal}",
        f"The difference is {bracketed(similar.difference, '+')} over {similar.n} charts: {judged(similar)}",
    ]
    if answered is not None:
        sentences.append(
            f"Of the questions about these charts it answers {answered.after_mean:.0%} right, against "
            f"{answered.before_mean:.0%}: {bracketed(answered.difference, '+')} over {answered.n} questions. "
            f"{judged(answered).capitalize()}"
        )
    if common is not None and common.similarity is not None:
        sentences.append(
            f"On common charts: {common.similarity.after_mean:.3f} against {common.similarity.before_mean:.3f}, "
            f"{bracketed(common.similarity.difference, '+')}."
        )
    sentences.append(
        "Brackets are 95 % intervals over charts or questions, of one seed; docs/adversary.md has five seeds."
    )
    return sentences


def verdict_lines(found: Sequence[StratumComparison], draws: tuple[int, int]) -> list[str]:
    """Return the verdict wrapped to a terminal's width."""
    return [line for sentence in verdict(found, draws) for line in textwrap.wrap(sentence, WIDTH)]


def judged(found: Comparison) -> str:
    """Return what the interval of a difference says about the adversary."""
    if found.difference.low > 0:
        return "the adversary helped."
    if found.difference.high < 0:
        return "the adversary did harm."
    return "at this size the two cannot be told apart."
