"""StateDirectory: the paths of data sets, images, judge replies, the spend ledger and runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StateDirectory:
    """A directory shared by several runs. Its properties build paths; they create nothing."""

    path: Path

    @classmethod
    def default(cls, given: Path | None = None) -> StateDirectory:
        """Return the directory `given`, else $DUEL_STATE, else `state` in the working directory."""
        return cls(given or Path(os.environ.get("DUEL_STATE") or "state"))

    @property
    def images(self) -> Path:
        """The image store."""
        return self.path / "images"

    @property
    def answers(self) -> Path:
        """The judge's answers."""
        return self.path / "answers"

    @property
    def spend(self) -> Path:
        """The spend ledger, an SQLite file."""
        return self.path / "spend.sqlite"

    @property
    def runs(self) -> Path:
        """The directory of all runs."""
        return self.path / "runs"

    def data(self, source: str) -> Path:
        """Return the directory of the data set that `duel prepare` makes for a source."""
        return self.path / "data" / source

    def run(self, name: str) -> Path:
        """Return the directory of a run."""
        return self.runs / name
