from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.states import Running

from artifacts.run.directory import RunDirectory
from artifacts.run.sessions import begin_session, end_session, read_sessions
from duel.errors import GeneratorError
from tasks.sessions import current_flow_run, keep_session, settle_dead_sessions
from tests.support.fake_run import fake_run

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return fake_run(tmp_path, rounds=4)


def dead_flow_run(name: str) -> str:
    """Return the id of a flow run that is Running in Prefect without a process."""

    @flow(name="train", flow_run_name=name)
    def train() -> str:
        return current_flow_run()

    found = train()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(found), Running(), force=True)
    return found


def state_of(flow_run: str) -> str:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run)).state
    assert state is not None
    return state.name


def test_a_session_records_the_outcome_of_its_block(run: RunDirectory) -> None:
    with keep_session(run, "train"):
        pass
    with pytest.raises(GeneratorError), keep_session(run, "train"):
        raise GeneratorError("no image")
    with pytest.raises(TerminationSignal), keep_session(run, "train"):
        raise TerminationSignal(signal=15)
    found = [(session.outcome, session.message) for session in read_sessions(run)]
    assert found == [
        ("completed", ""), ("failed", "GeneratorError: no image"), ("stopped", "stopped by TerminationSignal"),
    ]  # fmt: skip


def test_a_session_records_its_flow_run(run: RunDirectory) -> None:
    @flow
    def train() -> str:
        with keep_session(run, "train"):
            return current_flow_run()

    found = train()
    assert [session.flow_run for session in read_sessions(run)] == [found]
    assert UUID(found)


def test_a_killed_trainings_session_is_closed_and_its_flow_run_crashed(run: RunDirectory) -> None:
    dead = dead_flow_run("dead")
    begin_session(run, "train", dead)
    flow(lambda: settle_dead_sessions(run), name="resume")()
    assert state_of(dead) == "Crashed"
    [session] = read_sessions(run)
    assert session.outcome == "died"
    assert session.ended is not None


def test_an_ended_training_still_running_in_prefect_is_crashed(run: RunDirectory) -> None:
    unheard = dead_flow_run("unheard")
    end_session(run, begin_session(run, "train", unheard), "failed", "ConnectError: the server was gone")
    flow(lambda: settle_dead_sessions(run), name="resume")()
    assert state_of(unheard) == "Crashed"
    assert [session.outcome for session in read_sessions(run)] == ["failed"]


def test_a_retried_flow_run_does_not_crash_itself(run: RunDirectory) -> None:
    @flow
    def resume() -> str:
        begin_session(run, "train", current_flow_run())
        settle_dead_sessions(run)
        return current_flow_run()

    assert state_of(resume()) == "Completed"


def test_a_flow_run_of_another_server_is_ignored(run: RunDirectory) -> None:
    begin_session(run, "train", "00000000-0000-4000-8000-000000000000")
    flow(lambda: settle_dead_sessions(run), name="resume")()
    assert [session.outcome for session in read_sessions(run)] == ["died"]


def test_a_running_evaluation_is_not_closed(run: RunDirectory) -> None:
    begin_session(run, "evaluate", "")
    settle_dead_sessions(run)
    assert [session.outcome for session in read_sessions(run)] == [None]
