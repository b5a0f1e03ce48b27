"""A folder of downloads: where each file came from, and what it was when it first came, in `downloads.json`."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from duel.data.download import Pin, check, measure
from duel.errors import DataError

RECORD = "downloads.json"


@dataclass(frozen=True)
class Origin:
    """Where a file came from, and what it was: size in bytes and SHA-256."""

    url: str
    revision: str
    size: int
    sha256: str

    @property
    def pin(self) -> Pin:
        """What the file must be from now on."""
        return Pin(self.size, self.sha256)


def read_origins(folder: Path) -> dict[str, Origin]:
    """Return the origins recorded in `folder`, by file name. Raises DataError when the record is unreadable."""
    path = folder / RECORD
    try:
        return {name: Origin(**origin) for name, origin in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"bad record {path}: {error}; remove {folder} and run `duel prepare` again") from None


def record(folder: Path, name: str, url: str, revision: str, pin: Pin) -> None:
    """Write down where a file came from and what it is."""
    origins = {**read_origins(folder), name: Origin(url, revision, pin.size, pin.sha256)}
    write_json(folder / RECORD, {name: asdict(origin) for name, origin in origins.items()})


def check_or_record(folder: Path, name: str, url: str, revision: str) -> None:
    """Check a file against what its first download recorded; the first time, record it."""
    origin = read_origins(folder).get(name)
    if origin is not None:
        check(folder / name, origin.pin)
    else:
        record(folder, name, url, revision, measure(folder / name))


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that it is there whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process in at a time; the kernel frees the lock of a killed one."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
