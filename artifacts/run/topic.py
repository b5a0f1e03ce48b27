"""`topic.json`: how near to a training image a drawing has to be to be on topic, calibrated once in a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from artifacts.run.directory import RunDirectory
from artifacts.run.records import Record, read_record, write_record

FILE = "topic.json"


@dataclass(frozen=True)
class TopicRecord(Record):
    """The content of `topic.json`."""

    SCHEMA: ClassVar[int] = 1

    share: float  # `rewards.off_topic`, of held-out images that are on topic
    least: float  # cosine to the nearest training image that these reach
    nearness: dict[str, float]  # that cosine, by file name of the held-out image


def write_topic(run: RunDirectory, record: TopicRecord) -> None:
    """Write `topic.json`."""
    write_record(run.path / FILE, record)


def read_topic(run: RunDirectory) -> TopicRecord | None:
    """Return what the run has calibrated; None if nothing yet. Raises RunError when the file is damaged."""
    path = run.path / FILE
    return read_record(path, TopicRecord) if path.exists() else None
