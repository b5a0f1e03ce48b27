"""What makes a function one stage of a round: a Prefect task whose result is known by what it was given.

A stage's result lies in the run directory under round, stage name and a digest of its inputs, so that a
retried or resumed round finds its finished stages. Live objects are not part of the digest; the counters
of the players are, since their weights decide what they say.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.context import TaskRunContext

from duel.schedule import player_of
from duel.sections import Section
from tasks.retries import is_service_failure

if TYPE_CHECKING:
    from tasks.context import StageContext

Context = TypeVar("Context", bound="StageContext", contravariant=True)
Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")
Returned = TypeVar("Returned", covariant=True)


@dataclass(frozen=True)
class Measured(Generic[Result]):
    """What a stage returned, and the seconds it took here, retries included; next to none where it was found done."""

    value: Result
    stage: str  # its label
    seconds: float


class Stage(Protocol[Context, Inputs, Returned]):
    """A function of the context, the round, and the results of other stages."""

    __name__: str

    def __call__(self, context: Context, round: int, /, *inputs: Inputs.args, **options: Inputs.kwargs) -> Returned:
        """Run it."""


def stage(
    name: str, *, retries: int = 0, cached: bool = True, title: str = "round {round:04d} {player} {label}"
) -> Callable[[Stage[Context, Inputs, Result]], Stage[Context, Inputs, Measured[Result]]]:
    """Turn `function(context, round, *inputs)` into a stage; only failures of a service are retried.

    `title` is how a run of it is called in the Prefect UI.
    """

    def decorate(function: Stage[Context, Inputs, Result]) -> Stage[Context, Inputs, Measured[Result]]:
        task: Task[Any, Result] = Task(
            function,
            name=name,
            cache_policy=CachePolicy.from_cache_key_fn(stage_key) if cached else NO_CACHE,
            persist_result=cached,
            result_serializer="json",
            retries=retries,
            retry_delay_seconds=[2.0**attempt for attempt in range(retries)],
            retry_condition_fn=is_service_failure,
            log_prints=False,
        )

        @functools.wraps(function)
        def run_stage(
            context: Context, round: int, /, *inputs: Inputs.args, **options: Inputs.kwargs
        ) -> Measured[Result]:
            label = str(options.get("label", name))
            called = title.format(round=round, player=player_of(context.settings.order, round), label=label)
            bound = task.with_options(task_run_name=called, result_storage=context.run.stage_results)
            started = time.perf_counter()
            value: Result = bound(context, round, *inputs, **options)
            return Measured(value, label, time.perf_counter() - started)

        return run_stage

    return decorate


def stage_key(task_run: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return `NNNN-stage-digest`, the name of a stage's result in the run directory."""
    (_, context), (_, round), *rest = parameters.items()
    inputs = dict(rest)
    label = inputs.get("label", task_run.task.name)
    learned = {player: policy.rounds_learned for player, policy in context.players.items()}
    return f"{round:04d}-{label}-{digest([learned, inputs])}"


def digest(value: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a value made of dataclasses, settings, lists, numbers and text."""
    encoded = json.dumps(value, sort_keys=True, default=_fields)
    return hashlib.sha256(encoded.encode()).hexdigest()[:16]


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of settings or of a dataclass, less those by which equal values may differ."""
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}
