"""A progress bar on a terminal; lines of progress when standard error is a file."""

from __future__ import annotations

import io
import sys
from typing import NoReturn

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0  # in a log file


class Lines(io.TextIOBase):
    """Standard error for log files: carriage returns become newlines, so that each state of the bar is a line."""

    def write(self, text: str) -> int:
        """Write the text with carriage returns replaced; return the number of characters."""
        return sys.stderr.write(text.replace("\r", "\n"))

    def flush(self) -> None:
        """Flush standard error."""
        sys.stderr.flush()


def progress_bar(total: int, description: str, unit: str) -> tqdm[NoReturn]:
    """Return a bar that counts to `total`; without a terminal it writes a line every half minute and one at the end."""
    if sys.stderr.isatty():
        return tqdm(total=total, desc=description, unit=f" {unit}")
    return tqdm(
        total=total, desc=description, unit=f" {unit}", file=Lines(), mininterval=SECONDS_BETWEEN_LINES, ncols=100
    )
