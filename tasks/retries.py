"""Prefect's retry condition: only failures of a service are retried."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from duel.errors import ServiceError


async def is_service_failure(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Return True when the task raised ServiceError; a wrong setting or a bug would fail again."""
    failure = await state.aresult(raise_on_failure=False)
    return isinstance(failure, ServiceError)
