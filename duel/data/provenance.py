"""`downloads.json`: the URL, revision, size and SHA-256 of each downloaded file, verified at later runs."""

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
    """A downloaded file's URL and revision, and its size (bytes) and SHA-256 at the first download."""

    url: str
    revision: str
    size: int
    sha256: str

    @property
    def pin(self) -> Pin:
        """The checksum that the file must match from now on."""
        return Pin(self.size, self.sha256)


def read_origins(folder: Path) -> dict[str, Origin]:
    """Return the recorded origins by file name; empty without a record. Raises DataError when it cannot be parsed."""
    path = folder / RECORD
    try:
        return {name: Origin(**origin) for name, origin in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"bad record {path}: {error}; remove {folder} and run `duel prepare` again") from None


def record(folder: Path, name: str, url: str, revision: str, pin: Pin) -> None:
    """Record a file's origin and checksum."""
    origins = {**read_origins(folder), name: Origin(url, revision, pin.size, pin.sha256)}
    write_json(folder / RECORD, {name: asdict(origin) for name, origin in origins.items()})


def check_or_record(folder: Path, name: str, url: str, revision: str) -> None:
    """Verify a file against its recorded checksum, or record it if this is the first download."""
    origin = read_origins(folder).get(name)
    if origin is not None:
        check(folder / name, origin.pin)
    else:
        record(folder, name, url, revision, measure(folder / name))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically (temporary file, then rename)."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` across processes; the kernel releases it when a process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
