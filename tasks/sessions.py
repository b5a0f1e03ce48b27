"""A process at work on a run: written down in the run, and what died before it settled in Prefect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.states import Crashed

from artifacts.run.directory import RunDirectory
from artifacts.run.sessions import begin_session, end_session, read_sessions

UNENDED = [StateType.RUNNING, StateType.CANCELLING]  # what a process that is gone may leave behind


@contextmanager
def keep_session(run: RunDirectory, command: str) -> Iterator[None]:
    """Write down that this flow run works on the run, and how that ends."""
    session = begin_session(run, command, current_flow_run())
    try:
        yield
    except BaseException as error:
        if stop := _stop_behind(error):
            end_session(run, session, "stopped", f"stopped by {type(stop).__name__}")
        else:
            end_session(run, session, "failed", f"{type(error).__name__}: {error}")
        raise
    end_session(run, session, "completed")


def settle_dead_sessions(run: RunDirectory) -> None:
    """Close the trainings that died without a word, in the run's directory and in Prefect, where they still run.

    Those that could not tell their end, because the server was gone, too. Only who holds the run's lock may call this:
    then no other process trains the run.
    """
    trainings = [session for session in read_sessions(run) if session.command == "train"]
    for session in trainings:
        if session.outcome is None:
            end_session(run, session, "died", f"process {session.process} on {session.host} died without a word")
    ended = {UUID(session.flow_run) for session in trainings if session.flow_run and session.outcome != "completed"}
    if ended:
        with get_client(sync_client=True) as client:
            _settle(client, sorted(ended), run)


def current_flow_run() -> str:
    """Return Prefect's id of the flow run that this is part of; empty outside of one."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context is not None and context.flow_run is not None else ""


def _settle(client: SyncPrefectClient, ended: list[UUID], run: RunDirectory) -> None:
    """Set flow runs whose process is gone, and the chapters under them, to Crashed; one may be this, retried."""
    running = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNENDED))
    chapters = FlowRunFilter(state=running, parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=ended))
    own = FlowRunFilter(state=running, id=FlowRunFilterId(any_=ended))
    for found in client.read_flow_runs(flow_run_filter=chapters) + client.read_flow_runs(flow_run_filter=own):
        if str(found.id) != current_flow_run():
            get_run_logger().info("%s: %s died with its process; set to Crashed", run.name, found.name)
            client.set_flow_run_state(
                found.id, Crashed(message="its process is gone; the run went on in another"), force=True
            )


def _stop_behind(error: BaseException | None) -> BaseException | None:
    """Return the request to stop that `error` is, or that came just before it: a server stopped too answers no more."""
    while error is not None and not isinstance(error, KeyboardInterrupt | SystemExit | TerminationSignal):
        error = error.__context__
    return error
