"""Append-only JSON Lines tables that tolerate an incomplete last line, as a kill leaves it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from artifacts.run import files
from duel.errors import RunError, storing


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append one line and flush it to the disk.

    Raises ValueError for NaN and infinity, StorageError when the disk is full, read-only or failing.
    """
    line = json.dumps(dict(row), allow_nan=False).encode() + b"\n"
    with storing(path), path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return all rows; an incomplete last line is ignored, and a missing file has no rows.

    Raises RunError with the line's number when any other line is damaged.
    """
    rows = []
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            rows.append(_row(line))
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}, line {number}, is damaged: {error}; remove or repair that line") from None
    return rows


def read_frame(path: Path) -> pd.DataFrame:
    """Return all rows as a data frame, one row per line; null becomes NaN."""
    return pd.DataFrame(read_rows(path))


def keep_rows(path: Path, before: int | None = None) -> None:
    """Remove an incomplete last line and, with `before`, the rows with `round >= before`; other bytes stay.

    Raises RunError, and changes nothing, when a line is damaged or has no round.
    """
    if not path.exists():
        return
    lines = _whole_lines(path)
    if before is not None:
        rows = read_rows(path)
        for number, row in enumerate(rows, start=1):
            if not isinstance(row.get("round"), int):
                raise RunError(f"{path}, line {number}, has no number of a round; remove or repair that line")
        lines = [line for line, row in zip(lines, rows, strict=True) if row["round"] < before]
    kept = b"".join(line + b"\n" for line in lines)
    if kept != path.read_bytes():
        files.write_bytes(path, kept)


def _row(line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"got {line[:60]!r}, expected a JSON object")
    return row


def _whole_lines(path: Path) -> list[bytes]:
    # What follows the last newline is an incomplete line, or nothing.
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []
