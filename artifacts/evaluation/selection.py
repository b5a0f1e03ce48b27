"""Selects the checkpoint that is reported as a run's result, by the rule in `evaluation.report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from artifacts.evaluation.read import Evaluations
from artifacts.evaluation.records import CheckpointTest, graded_means
from duel.errors import RunError


@dataclass(frozen=True)
class Reported:
    """The checkpoint that is reported as the run's result, and how it was chosen."""

    test: CheckpointTest
    rule: Literal["last", "best"]
    development_pass_at_1: float | None  # the criterion of "best"; None for "last"
    waiting: list[str]  # checkpoints not evaluated yet, which may still change the choice


def reported_checkpoint(evaluations: Evaluations) -> Reported | None:
    """Return the checkpoint selected by `evaluation.report`; None before any is evaluated.

    `last` is the evaluated checkpoint with the most rounds. `best` has the highest pass@1 on the development charts,
    whose questions count in no other number; the earliest of equal ones, and the untrained base only if there is no
    other. Raises RunError when the rule is `best` and no development question has a graded answer.
    """
    tests = evaluations.tests
    if not tests:
        return None
    rule = evaluations.run.settings.evaluation.report
    chosen, mean = (tests[-1], None) if rule == "last" else _best(tests)
    evaluated = {test.checkpoint_name for test in tests}
    waiting = [name for name in evaluations.checkpoints if name not in evaluated]
    return Reported(chosen, rule, mean, waiting)


def _best(tests: Sequence[CheckpointTest]) -> tuple[CheckpointTest, float]:
    graded = [(test, graded_means(test.development_results)) for test in tests]
    means = [(test, fmean(known)) for test, known in graded if known]
    if not means:
        raise RunError(
            "evaluation.report = best, but no checkpoint has graded answers to the development charts' questions; "
            "run `duel evaluate` again"
        )
    trained = [found for found in means if found[0].rounds_done > 0] or means
    return max(trained, key=lambda found: found[1])  # the first of equal ones
