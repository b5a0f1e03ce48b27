"""Plays one run by Duel's own commands, in processes of its own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_metrics
from benchmarks.adversary.arms import ARMS, write_data
from duel.state import StateDirectory


@dataclass(frozen=True)
class Job:
    """A run to play: `ARM-SEED` in a state directory shared with the others."""

    arm: str
    seed: int
    folder: Path
    overrides: Mapping[str, Any]  # of all arms, by dotted name

    @property
    def name(self) -> str:
        """The name of the run."""
        return f"{self.arm}-{self.seed}"

    def rounds_and_draws(self) -> tuple[int, int]:
        """Return how many rounds the run has, and how many images they asked for; evaluations are not counted."""
        if not RunDirectory.exists(StateDirectory(self.folder), self.name):
            return 0, 0
        metrics = read_metrics(RunDirectory.read(StateDirectory(self.folder), self.name))
        return len(metrics), 0 if metrics.empty else int(metrics["draws_asked"].sum())

    def play(self, rounds: int) -> None:
        """Train the run for so many rounds, or resume it."""
        command = ["train", "--profile", ARMS[self.arm].profile, "--rounds", str(rounds), "--seed", str(self.seed)]
        command += ["--data.path", str(write_data(self.arm, self.seed, self.folder))]
        for name, value in (ARMS[self.arm].overrides | self.overrides).items():
            command += [f"--{name}", "none" if value is None else json.dumps(value)]
        self._duel(command)

    def play_to_draws(self, draws: int, rounds: int) -> None:
        """Train the run for so many rounds, and on until its rounds have asked for so many images.

        A round asks for fewer images as descriptions become alike, so that the number of rounds is found on the way.
        """
        self.play(rounds)
        while (played := self.rounds_and_draws())[1] < draws:
            rounds, asked = played
            self.play(rounds + max(8, math.ceil((draws - asked) * rounds / max(1, asked))))

    def evaluate(self) -> None:
        """Put the questions to every checkpoint that has no answers yet."""
        self._duel(["evaluate"])

    def _duel(self, command: list[str]) -> None:
        """Run a command on one core, with a Prefect home of its own. Raises SystemExit with its output if it fails."""
        began = time.monotonic()
        home = self.folder / "prefect" / self.name
        home.mkdir(parents=True, exist_ok=True)
        full = [sys.executable, "-m", "flows.cli", *command, "--run", self.name, "--state", str(self.folder)]
        ended = subprocess.run(
            full, env=os.environ | {"PREFECT_HOME": str(home), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if ended.returncode:
            raise SystemExit(f"{self.name}: exit code {ended.returncode} of {' '.join(full)}\n{ended.stderr[-2000:]}")
        rounds, draws = self.rounds_and_draws()
        took = time.monotonic() - began
        print(f"{self.name}: {command[0]}, {rounds} rounds, {draws} draws, {took:.0f} s", flush=True)
