"""Which checkpoint is a run's result: chosen by a rule that its settings name beforehand."""

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
    """The checkpoint whose number is the run's result, chosen by a rule that its settings named beforehand."""

    test: CheckpointTest
    rule: Literal["last", "best"]
    development_pass_at_1: float | None  # what "best" chose by; None for "last"
    waiting: list[str]  # checkpoints that have not been evaluated yet: until they are, the choice is not settled


def reported_checkpoint(evaluations: Evaluations) -> Reported | None:
    """Return the checkpoint that `evaluation.report` names; None before any is evaluated.

    `last` is the one after most rounds. `best` has the highest mean pass@1 on the development charts, whose questions
    take no part in any other number; of equal ones the earliest, and the untrained base only if there is no other.
    Raises RunError when `best` has no answers to choose by.
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
    return max(trained, key=lambda found: found[1])  # of equal ones the first
