"""A progress bar, and lines of progress where nobody watches a terminal."""

from __future__ import annotations

import io
import sys
from typing import NoReturn

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0  # in a log file


class Lines(io.TextIOBase):
    """Standard error for a log: what a terminal would overwrite becomes a line of its own."""

    def write(self, text: str) -> int:
        """Write the text, each state of the bar on its line."""
        return sys.stderr.write(text.replace("\r", "\n"))

    def flush(self) -> None:
        """Flush standard error."""
        sys.stderr.flush()


def progress_bar(total: int, description: str, unit: str) -> tqdm[NoReturn]:
    """Return a bar that counts to `total`; without a terminal it writes a line every half minute, and the last."""
    if sys.stderr.isatty():
        return tqdm(total=total, desc=description, unit=f" {unit}")
    return tqdm(
        total=total, desc=description, unit=f" {unit}", file=Lines(), mininterval=SECONDS_BETWEEN_LINES, ncols=100
    )
