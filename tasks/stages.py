"""The `stage` decorator: makes a function a Prefect task whose result is cached under a digest of its inputs.

A stage's result is stored in the run directory under round, stage name and digest, so that a retried or resumed round
reads the results of finished stages. The context is not part of the digest; the players' counts of rounds learned
are, because they determine the weights that sample.
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

from duel.settings import Section
from tasks.retries import is_service_failure

if TYPE_CHECKING:
    from tasks.context import StageContext

Context = TypeVar("Context", bound="StageContext", contravariant=True)
Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")
Returned = TypeVar("Returned", covariant=True)


@dataclass(frozen=True)
class Measured(Generic[Result]):
    """A stage's return value and its duration in this process."""

    value: Result
    stage: str  # the stage's label
    seconds: float  # retries included; near 0 when the result was cached


class Stage(Protocol[Context, Inputs, Returned]):
    """A function of the context, the round, and the results of other stages."""

    __name__: str

    def __call__(self, context: Context, round: int, /, *inputs: Inputs.args, **options: Inputs.kwargs) -> Returned:
        """Run the stage and return its result."""


def stage(
    name: str, *, retries: int = 0, cached: bool = True, title: str = "round {round:04d} {player} {label}"
) -> Callable[[Stage[Context, Inputs, Result]], Stage[Context, Inputs, Measured[Result]]]:
    """Return a decorator that turns `function(context, round, *inputs)` into a stage; only ServiceErrors are retried.

    `title` is the template of the task run's name in the Prefect UI.
    """

    def decorate(function: Stage[Context, Inputs, Result]) -> Stage[Context, Inputs, Measured[Result]]:
        task: Task[Any, Result] = Task(
            function,
            name=name,
            cache_policy=CachePolicy.from_cache_key_fn(stage_key) if cached else NO_CACHE,
            persist_result=cached,
            result_serializer="json",
            cache_result_in_memory=False,  # Prefect would keep the last 1000 results
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
            called = title.format(round=round, player=context.settings.schedule.player(round), label=label)
            bound = task.with_options(task_run_name=called, result_storage=context.run.stage_results)
            started = time.perf_counter()
            value: Result = bound(context, round, *inputs, **options)
            return Measured(value, label, time.perf_counter() - started)

        return run_stage

    return decorate


def stage_key(task_run: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return `NNNN-stage-digest`, the file name of a stage's result in the run directory."""
    (_, context), (_, round), *rest = parameters.items()
    inputs = dict(rest)
    label = inputs.get("label", task_run.task.name)
    schedule = context.settings.schedule
    learned = {player: schedule.turns_of(player, round) for player in context.players}
    return f"{round:04d}-{label}-{digest([learned, inputs])}"


def digest(value: Any) -> str:
    """Return 16 hex digits of the SHA-256 of a value made of dataclasses, settings, lists, numbers and text."""
    encoded = json.dumps(value, sort_keys=True, default=_fields)
    return hashlib.sha256(encoded.encode()).hexdigest()[:16]


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of settings or of a dataclass, without those declared `compare=False`."""
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}
