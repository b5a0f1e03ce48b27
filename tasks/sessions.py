"""Record which process works on a run and how it ends; mark flow runs of dead processes as Crashed in Prefect."""

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
from duel.services.stopping import leave_soon

UNENDED = [StateType.RUNNING, StateType.CANCELLING]  # states that a dead process may leave behind


@contextmanager
def keep_session(run: RunDirectory, command: str) -> Iterator[None]:
    """Record a session of this process on the run for the duration of the block, with its outcome.

    After a stop request the process exits within seconds, also where a thread still waits for a service.
    """
    session = begin_session(run, command, current_flow_run())
    try:
        yield
    except BaseException as error:
        if stop := _stop_behind(error):
            leave_soon(130 if isinstance(stop, KeyboardInterrupt) else 143)
            end_session(run, session, "stopped", f"stopped by {type(stop).__name__}")
        else:
            end_session(run, session, "failed", f"{type(error).__name__}: {error}")
        raise
    end_session(run, session, "completed")


def settle_dead_sessions(run: RunDirectory) -> None:
    """Mark trainings whose process died as ended, in the run directory and in Prefect.

    This includes those that ended but could not tell Prefect's server. The caller must hold the run's lock, so that no
    training session found without an end is still alive.
    """
    trainings = [session for session in read_sessions(run) if session.command == "train"]
    for session in trainings:
        if session.outcome is None:
            end_session(run, session, "died", f"process {session.process} on {session.host} was killed")
    ended = {UUID(session.flow_run) for session in trainings if session.flow_run and session.outcome != "completed"}
    if ended:
        with get_client(sync_client=True) as client:
            _settle(client, sorted(ended), run)


def current_flow_run() -> str:
    """Return the id of the current Prefect flow run; empty outside of one."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context is not None and context.flow_run is not None else ""


def _settle(client: SyncPrefectClient, ended: list[UUID], run: RunDirectory) -> None:
    """Set the flow runs `ended` and their chapters to Crashed, except the current flow run (when it is a retry)."""
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
    """Return the first stop request (Ctrl-C, SIGTERM, cancellation) in the chain of `error`'s contexts, or None.

    After a stop request, `error` may be a failure to reach a Prefect server that was stopped as well.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt | SystemExit | TerminationSignal):
        error = error.__context__
    return error
