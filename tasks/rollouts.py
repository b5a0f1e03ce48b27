"""Rollouts put together from the results of their stages, and shared between the two players."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from artifacts.run.rounds import read_attempts
from duel.errors import RunError
from duel.types import Completion, DrawnGroups, Rollout
from tasks.context import TrainingContext
from tasks.drawing import draws_asked
from tasks.stages import Measured

T = TypeVar("T")


def to_rollout(
    prompts: Sequence[Measured[list[list[Completion]]]],
    originals: Measured[DrawnGroups],
    ceilings: Sequence[Measured[DrawnGroups]],
    descriptions: Measured[list[list[Completion]]],
    redrawn: Measured[DrawnGroups],
    past: int | None,
) -> Rollout:
    """Put together what the stages of a round returned; without `prompts`, its originals were drawn before.

    `past` is the past adversary that wrote the prompts; None: the present one did, or nobody.
    """
    drawn = [*([originals] if prompts else []), *ceilings, redrawn]
    stages: list[Measured[Any]] = [*prompts, originals, *ceilings, descriptions, redrawn]
    return Rollout(
        prompts=prompts[0].value if prompts else [],
        originals=originals.value.drawings,
        ceilings=[group for stage in ceilings for group in stage.value.drawings],
        descriptions=descriptions.value,
        reconstructions=redrawn.value.drawings,
        seconds={stage.stage: stage.seconds for stage in stages},
        draws_asked=draws_asked(*(stage.value.drawings for stage in drawn)),
        draws_made=sum(stage.value.made for stage in drawn),
        past_adversary=past,
    )


def share_rollout(context: TrainingContext, round: int, adversarys: Rollout) -> Rollout:
    """Return the rollout of the adversary's round before as the base learns from it, one original in each group.

    The base's weights are those that wrote the descriptions, so that it learns on policy; the results of that round's
    stages are read from the run directory. Raises RunError when they are gone, and were made again by other weights.
    """
    player, attempts = read_attempts(context.run, round - 1)
    recorded = [[attempt.original.text for attempt in group] for group in attempts]
    if player != "adversary" or recorded != [[prompt.text for prompt in group] for group in adversarys.prompts]:
        raise RunError(
            f"round {round} shares the draws of round {round - 1}, whose stage results are not those it was recorded "
            f"with; {context.run.stage_results} must keep what is in it. Start a run of another name"
        )
    k = len(adversarys.descriptions[0]) // len(adversarys.originals[0])
    return replace(
        adversarys,
        prompts=[],
        originals=[[original] for group in adversarys.originals for original in group],  # (I * n, 1)
        ceilings=[],
        descriptions=split(adversarys.descriptions, k),  # (I * n, k)
        reconstructions=split(adversarys.reconstructions, k),  # (I * n, k)
        seconds={},
        draws_asked=0,
        draws_made=0,
    )


def split(groups: list[list[T]], k: int) -> list[list[T]]:
    """Return every k items of the groups as a group of their own."""
    return [group[start : start + k] for group in groups for start in range(0, len(group), k)]
