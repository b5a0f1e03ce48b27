"""A run that reaches its budget, and one that goes on with a higher budget to the same result."""

import pytest

from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.jsonl import read_rows
from artifacts.run.sessions import read_sessions
from cache.ledger import SpendLedger
from duel.errors import LimitError
from duel.offline.generator import ChartGenerator
from duel.state import StateDirectory
from duel.testing.replicate import ReplicateServer
from flows.prepare import prepare
from flows.train import train
from tests.support.small_run import settings

pytestmark = pytest.mark.slow


def weights(run):
    last = list_checkpoints(run)[-1]
    return {path.name: path.read_bytes() for path in last.weights("base").rglob("*.safetensors")}


def test_a_run_stops_at_its_budget_and_resumes_bit_equal_with_a_higher_one(tmp_path, prefect_server, monkeypatch):
    announced = []
    monkeypatch.setattr(
        "tasks.publishing.emit_event", lambda event, **rest: announced.append((event, rest["resource"]))
    )
    for state in ("whole", "stopped"):
        prepare(settings(), tmp_path / state)
    with ReplicateServer(ChartGenerator()) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        train(settings(generator__service="replicate"), "paid", tmp_path / "whole")
        needed = server.counts()["created"]
        for draws in (5, 11):
            with pytest.raises(LimitError, match=f"budget.draws = {draws} is reached"):
                train(settings(generator__service="replicate", budget__draws=draws), "paid", tmp_path / "stopped")
            assert server.counts()["created"] == needed + draws
        train(settings(generator__service="replicate", budget__usd=1.0), "paid", tmp_path / "stopped")
        assert server.counts()["created"] == 2 * needed
    whole, stopped = (RunDirectory.read(StateDirectory(tmp_path / state), "paid") for state in ("whole", "stopped"))
    assert weights(whole) == weights(stopped) != {}
    assert read_rows(whole.metrics) == read_rows(stopped.metrics)
    assert [session.outcome for session in read_sessions(stopped)] == ["failed", "failed", "completed"]
    assert "--budget.draws" in read_sessions(stopped)[0].message
    expected = {"prefect.resource.id": "duel.run.paid", "prefect.resource.name": "paid"}
    assert announced == [("duel.limit-reached", expected)] * 2
    with SpendLedger(stopped.state.spend) as ledger:
        assert ledger.spend("paid").rehearsed_dollars == pytest.approx(0.003 * needed)
