"""Reads all evaluations of a run once, for comparison, tables, plots and reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from artifacts.evaluation.records import CheckpointTest, ProxyRecord
from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.files import numbered
from artifacts.run.records import Record, read_record
from duel.errors import RunError
from duel.statistics import Interval, mean_interval

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Evaluations:
    """All evaluations of a run, sorted by rounds done."""

    run: RunDirectory
    proxies: list[ProxyRecord]
    tests: list[CheckpointTest]
    checkpoints: list[str]  # names of the run's checkpoints, evaluated or not


def read_evaluations(run: RunDirectory) -> Evaluations:
    """Read all evaluations of a run, each file once. Raises RunError when one is damaged."""
    names = [checkpoint.name for checkpoint in list_checkpoints(run)]
    return Evaluations(run, read_proxies(run), read_tests(run), names)


def read_proxies(run: RunDirectory) -> list[ProxyRecord]:
    """Read the proxy evaluations, sorted by rounds done. Raises RunError when one is damaged."""
    found = [_read(path, ProxyRecord) for path in numbered(run.eval_logs, "eval-", ".json").values()]
    return sorted(found, key=lambda record: record.rounds_done)


def read_tests(run: RunDirectory) -> list[CheckpointTest]:
    """Read the tests of all checkpoints, sorted by rounds done. Raises RunError when one is damaged."""
    found = [_read(path, CheckpointTest) for path in numbered(run.checkpoint_tests, "ckpt-", ".json").values()]
    return sorted(found, key=lambda test: test.rounds_done)


def similarity_interval(values: Sequence[float]) -> Interval:
    """Return the mean similarity with its 95 % interval, clipped to [-1, 1]."""
    return mean_interval(values).within(-1, 1)


def reward_interval(values: Sequence[float]) -> Interval:
    """Return the adversary's mean reward with its 95 % interval; not clipped, because a reward may have any range."""
    return mean_interval(values)


def _read(path: Path, kind: type[R]) -> R:
    try:
        return read_record(path, kind)
    except RunError as error:
        raise RunError(f"{error}; or remove it and evaluate again") from None
    except (KeyError, TypeError, AttributeError) as error:  # from `upgrade`, for an older file with missing fields
        raise RunError(f"cannot read {path}: {error!r}; remove it and evaluate again") from None
