"""Fingerprint of a run's data set (file names and hashes), by which a data set that has changed is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from artifacts.run.directory import RunDirectory
from artifacts.run.records import Record, read_record, write_record
from duel.data.dataset import Dataset, digest_of, question_fields
from duel.errors import RunError

FILE = "data.json"
NAMED = 3  # changes that an error message lists; the others are counted


@dataclass(frozen=True)
class DataFingerprint(Record):
    """SHA-256 hashes (hex) of a data set's images and questions."""

    SCHEMA: ClassVar[int] = 2

    train_images: dict[str, str]  # by file name
    test_images: dict[str, str]
    questions: str  # of the questions as JSON
    strata_images: dict[str, str] = field(default_factory=dict)  # by `STRATUM/file name`


def fingerprint(dataset: Dataset) -> DataFingerprint:
    """Return the fingerprint of a data set; reads all of its images."""
    questions = json.dumps([question_fields(question) for question in dataset.questions], sort_keys=True)
    return DataFingerprint(
        train_images={path.name: digest_of(path) for path in dataset.train_images},
        test_images={path.name: digest_of(path) for path in dataset.test_images},
        questions=hashlib.sha256(questions.encode("utf-8", "surrogatepass")).hexdigest(),
        strata_images={
            f"{name}/{path.name}": digest_of(path) for name, paths in dataset.strata.items() for path in paths
        },
    )


def check_data(run: RunDirectory, dataset: Dataset) -> None:
    """Write the fingerprint when the run is new; otherwise raise RunError if the data set differs from it."""
    path, now = run.path / FILE, fingerprint(dataset)
    if not path.exists():
        write_record(path, now)
        return
    then = read_record(path, DataFingerprint)
    changes = [
        *_changes("training", then.train_images, now.train_images),
        *_changes("held-out", then.test_images, now.test_images),
        *_changes("stratum", then.strata_images, now.strata_images),
        *(["the questions differ"] if then.questions != now.questions else []),
    ]
    if changes:
        more = f" and {len(changes) - NAMED} more changes" if len(changes) > NAMED else ""
        raise RunError(
            f"the data set {dataset.root} is not the one that run {run.name} was started with: "
            f"{'; '.join(changes[:NAMED])}{more}; restore it, or start a run of another name"
        )


def _changes(split: str, then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return one line for each image of a split that was removed, added or changed."""
    return [
        *(f"{split} image {name} is gone" for name in then if name not in now),
        *(f"{split} image {name} is new" for name in now if name not in then),
        *(f"{split} image {name} has other bytes" for name in then if now.get(name, then[name]) != then[name]),
    ]
