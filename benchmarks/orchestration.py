"""Overhead of Prefect per round: the same rounds without it, with its ephemeral server, and with a separate server.

Each run is its own process: `none` calls every stage as a plain function, `ephemeral` lets Prefect start its server,
`server` uses one started before. `stub` models respond at once, so that 1000 rounds take minutes; drawing and recording
are real. Prints seconds to the first round and of all rounds, milliseconds per round above `none` (publishing
included) and how many of those are outside the stages' own functions, and the growth of memory and database.

    python -m benchmarks.orchestration --models stub --rounds 1000
    python -m benchmarks.orchestration --models offline --rounds 60
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.prefect_site import PrefectServer
from duel.offline.dataset import write_dataset
from duel.randomness import stream
from duel.settings import Settings
from duel.settings.profile import override, read_profile, read_settings
from duel.types import Completion, Group, ModelInput, Player, UpdateReport
from flows.profiles import profile_path

KINDS = ("none", "server", "ephemeral")
WORDS = "a red bar line pie chart with four seven blue bars titled rain grid legend".split()


class StubPolicy:
    """A policy that writes random words and learns nothing, but counts rounds."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.rounds_learned = 0
        self.optimizer_steps = 0

    def sample(self, _inputs: Sequence[ModelInput], seeds: Sequence[Sequence[int]], **_: Any) -> list[list[Completion]]:
        """Return eight random words per seed."""
        return [[self._completion(seed) for seed in row] for row in seeds]

    def learn(self, _inputs: Sequence[ModelInput], groups: Sequence[Group]) -> UpdateReport:
        """Count a round."""
        self.rounds_learned += 1
        self.last_update = UpdateReport(0.0, 0.0, len(groups), 0, self.rounds_learned, 0)
        return self.last_update

    def save(self, directory: Path) -> None:
        """Write a placeholder file."""
        (directory / "weights.safetensors").write_bytes(b"0" * 1000)

    save_training_state = save

    def load(self, _directory: Path) -> None:
        """Do nothing."""

    load_training_state = load

    def _completion(self, seed: int) -> Completion:
        return Completion(" ".join(stream(seed, "stub").choices(WORDS, k=8)), "1 2 3 4 5 6 7 8", True)


class StubEmbedder:
    """Embeds every image as the same vector."""

    def embed(self, images: Sequence[bytes]) -> np.ndarray:
        """Return unit vectors, (images, 1)."""
        return np.ones((len(images), 1), dtype=np.float32)


class PlainTask:
    """A stage without Prefect: calls its function."""

    def __init__(self, function: Any, **_: Any) -> None:
        self.function = function

    def with_options(self, **_: Any) -> PlainTask:
        """Return self."""
        return self

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function."""
        return self.function(*arguments, **options)


def timed(task: Any, bodies: list[float]) -> Any:
    """Return a task class whose functions append their duration in seconds to `bodies`."""

    def build(function: Any, **options: Any) -> Any:
        @functools.wraps(function)
        def body(*arguments: Any, **more: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **more)
            finally:
                bodies.append(time.perf_counter() - started)

        return task(body, **options)

    return build


def stub_policies(*_: Any, **__: Any) -> dict[Player, StubPolicy]:
    """Return two stub policies."""
    return {player: StubPolicy(player) for player in ("base", "adversary")}


def stub_embedder(*_: Any, **__: Any) -> StubEmbedder:
    """Return a stub embedder."""
    return StubEmbedder()


def nothing(*_: Any, **__: Any) -> None:
    """Do nothing, in place of publishing artifacts."""


def settings_of(models: str, rounds: int, images: int, group: int, data: Path) -> Settings:
    """Return the offline-reference profile with this many rounds, smaller for stub models."""
    chosen: dict[str, Any] = {"rounds": rounds, "data.path": str(data)}
    if models == "stub":
        chosen |= {"images_per_round": images, "sampling.group_size": group, "evaluation.every": 25}
        chosen |= {"evaluation.adversary_prompts": 2, "data.test_images": 2, "evaluation.charts_per_stratum": 0}
    return read_settings(override(read_profile(profile_path("offline-reference")), chosen))


def play(kind: str, options: argparse.Namespace) -> None:
    """Train in this process and print its timings as JSON."""
    models, folder = options.models, options.folder
    settings = settings_of(models, options.rounds, options.images, options.group, folder / "data")
    import tasks.stages

    bodies: list[float] = []
    tasks.stages.Task = timed(PlainTask if kind == "none" else tasks.stages.Task, bodies)  # type: ignore[assignment, misc]
    import duel.embedder
    import flows.train
    import tasks.context

    if models == "stub":
        tasks.context.load_policies = stub_policies  # type: ignore[assignment]
        duel.embedder.load_embedder = stub_embedder  # type: ignore[assignment]
    if kind == "none":
        flows.train.play_chapter = flows.train.play_chapter.fn  # type: ignore[assignment]
        flows.train.publish_run = flows.train.publish_progress = nothing  # type: ignore[assignment]
    train: Any = flows.train.train.fn if kind == "none" else flows.train.train
    began: list[float] = []
    chapters = flows.train.chapters
    flows.train.chapters = lambda *bounds: began.append(time.perf_counter()) or chapters(*bounds)  # type: ignore[assignment, func-returns-value]
    process = psutil.Process()
    started, before = time.perf_counter(), process.memory_info().rss
    train(settings, f"{models}-{kind}", folder / f"state-{kind}")
    ended, grown = time.perf_counter(), process.memory_info().rss - before
    took = ended - began[0]
    found = {"start": began[0] - started, "rounds": took, "outside": took - sum(bodies), "client_mib": grown / 2**20}
    print(json.dumps(found))


def measure(kind: str, options: argparse.Namespace, folder: Path, variables: Mapping[str, str]) -> dict[str, float]:
    """Run one kind in a subprocess; return its timings and the size of its database."""
    home = Path(variables["PREFECT_HOME"])
    before = database_mib(home)
    command = [sys.executable, "-m", "benchmarks.orchestration", "--play", kind, "--folder", str(folder)]
    command += ["--models", options.models, "--rounds", str(options.rounds)]
    command += ["--images", str(options.images), "--group", str(options.group)]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"database_mib": database_mib(home) - before}


def database_mib(home: Path) -> float:
    """Return the size of Prefect's database in MiB."""
    return sum(path.stat().st_size for path in home.glob("prefect.db*")) / 2**20


def main() -> None:
    """Measure every kind and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", choices=("stub", "offline"), default="stub")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--images", type=int, default=1, help="groups per round with stub models")
    parser.add_argument("--group", type=int, default=2, help="completions per group with stub models")
    parser.add_argument("--play", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        play(options.play, options)
        return
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores; {options.models} models, {options.rounds} rounds")
    with tempfile.TemporaryDirectory(prefix="orchestration-") as name:
        folder = Path(name)
        write_dataset(folder / "data", 0)
        quiet = {"PREFECT_LOGGING_LEVEL": "ERROR", "OMP_NUM_THREADS": "1", "PREFECT_HOME": str(folder / "ephemeral")}
        bare = measure("none", options, folder, quiet)
        show("none", bare, bare, options.rounds, 0.0)
        with PrefectServer(folder) as prefect:
            assert prefect.process is not None
            server = psutil.Process(prefect.process.pid)
            before = memory_of(server)
            found = measure("server", options, folder, quiet | prefect.variables)
            show("server", found, bare, options.rounds, memory_of(server) - before)
        show("ephemeral", measure("ephemeral", options, folder, quiet), bare, options.rounds, 0.0)


def memory_of(server: psutil.Process) -> float:
    """Return the memory of the server's processes in MiB."""
    return sum(found.memory_info().rss for found in [server, *server.children(recursive=True)]) / 2**20


def show(kind: str, found: dict[str, float], bare: dict[str, float], rounds: int, server_mib: float) -> None:
    """Print one line of the table."""
    cost, outside = (1000 * (found[name] - bare[name]) / rounds for name in ("rounds", "outside"))
    print(
        f"{kind:10} start {found['start']:5.1f} s  rounds {found['rounds']:7.1f} s"
        f"  {cost:+6.0f} ms a round, {outside:+4.0f} outside stages"
        f"  memory {found['client_mib']:+5.0f} MiB  server {server_mib:+5.0f} MiB"
        f"  database {found['database_mib']:+6.1f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
