"""What is tried again: only what a service failed at."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from duel.errors import ServiceError


async def is_service_failure(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Tell Prefect to retry when a service failed; a broken setting or a bug would fail again."""
    failure = await state.aresult(raise_on_failure=False)
    return isinstance(failure, ServiceError)
