"""The evaluations of a run, read once and handed to whoever compares, tabulates, draws or says them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from artifacts.evaluation.records import CheckpointTest, ProxyRecord
from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.records import Record, read_record
from duel.errors import RunError
from duel.statistics import Interval, mean_interval

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Evaluations:
    """Everything that was measured of a run, in the order of rounds."""

    run: RunDirectory
    proxies: list[ProxyRecord]
    tests: list[CheckpointTest]
    checkpoints: list[str]  # those that the run keeps, evaluated or not


def read_evaluations(run: RunDirectory) -> Evaluations:
    """Return the evaluations of a run, each file read once; raises RunError when one is damaged."""
    names = [checkpoint.name for checkpoint in list_checkpoints(run)]
    return Evaluations(run, read_proxies(run), read_tests(run), names)


def read_proxies(run: RunDirectory) -> list[ProxyRecord]:
    """Return the proxy evaluations by rounds done; raises RunError when one is damaged."""
    found = [_read(path, ProxyRecord) for path in run.eval_logs.glob("eval-*.json")]
    return sorted(found, key=lambda record: record.rounds_done)


def read_tests(run: RunDirectory) -> list[CheckpointTest]:
    """Return the tests of all checkpoints by rounds done; raises RunError when one is damaged."""
    found = [_read(path, CheckpointTest) for path in run.checkpoint_tests.glob("ckpt-*.json")]
    return sorted(found, key=lambda test: test.rounds_done)


def similarity_interval(values: Sequence[float]) -> Interval:
    """Return the interval of a mean similarity, which lies in [-1, 1]."""
    return mean_interval(values).within(-1, 1)


def reward_interval(values: Sequence[float]) -> Interval:
    """Return the interval of the adversary's mean reward, 1 - similarity, which lies in [0, 2]."""
    return mean_interval(values).within(0, 2)


def _read(path: Path, kind: type[R]) -> R:
    try:
        return read_record(path, kind)
    except RunError as error:
        raise RunError(f"{error}; or remove it and evaluate again") from None
    except (KeyError, TypeError, AttributeError) as error:  # of `upgrade`: an older file that lacks what it should have
        raise RunError(f"cannot read {path}: {error!r}; remove it and evaluate again") from None
