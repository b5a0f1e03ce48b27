from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from artifacts.run import files, sessions
from artifacts.run.sessions import Session, begin_session, end_session, read_sessions
from tests.support.fake_run import fake_run


class OneInstant(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 26, 17, 33, 37, 123999, tz)


def test_sessions_of_one_instant_have_files_of_their_own_in_their_order(tmp_path: Path, monkeypatch) -> None:
    run = fake_run(tmp_path, rounds=4)
    monkeypatch.setattr(sessions, "datetime", OneInstant)
    begun = [begin_session(run, "train", str(number)) for number in range(3)]
    assert [session.started[-12:] for session in begun] == ["123999+00:00", "124000+00:00", "124001+00:00"]
    assert read_sessions(run) == begun


def test_sessions_that_begin_in_many_threads_are_all_kept(tmp_path: Path, monkeypatch) -> None:
    run = fake_run(tmp_path, rounds=4)
    monkeypatch.setattr(sessions, "datetime", OneInstant)
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda number: begin_session(run, "evaluate", str(number)), range(40)))
    assert read_sessions(run) == sorted(begun, key=lambda session: session.started)
    assert {session.flow_run for session in begun} == {str(number) for number in range(40)}


def test_a_session_with_milliseconds_of_an_earlier_version_is_read_in_its_place(tmp_path: Path, monkeypatch) -> None:
    run = fake_run(tmp_path, rounds=4)
    monkeypatch.setattr(sessions, "datetime", OneInstant)
    new = begin_session(run, "train", "new")
    before = replace(new, started="2026-11-26T17:33:37.123+00:00", flow_run="before")
    after = replace(new, started="2026-11-26T17:33:37.124+00:00", flow_run="after")
    for old in (after, before):
        files.write_json(run.sessions / old.file_name, asdict(old))
    assert before.file_name.startswith("2026-11-26T173337.123+0000-train-")
    assert [session.flow_run for session in read_sessions(run)] == ["before", "new", "after"]


def test_a_session_killed_before_it_was_written_is_not_damage(tmp_path: Path) -> None:
    run = fake_run(tmp_path, rounds=4)
    kept = end_session(run, begin_session(run, "train", ""), "completed")
    (run.sessions / Session("train", "", 1, "host", "2026-11-26T17:33:37.123456+00:00").file_name).touch()
    assert read_sessions(run) == [kept]
