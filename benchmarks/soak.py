"""Soak test: thousands of stub rounds with random faults of the service and random kills, and as many without.

Models are stubs that respond at once; Prefect's server, drawing through a local Replicate, stores, ledger, records and
checkpoints are real. Each process of the run is watched from outside: memory, threads, open files and sockets, and
files in its temporary folder. At the end, results must equal those of the run without faults and kills, no image may
be billed twice, the ledger must agree with the service's count, and nothing may have grown. Exit code 1 otherwise.

    python -m benchmarks.soak                              3000 rounds, about an hour on two cores
    python -m benchmarks.soak --rounds 300 --kills 4
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.chaos import fingerprint
from benchmarks.orchestration import StubPolicy
from benchmarks.prefect_site import PrefectServer
from cache.ledger import SpendLedger
from duel.generators.replicate.retries import RetrySettings
from duel.offline.dataset import write_dataset
from duel.offline.generator import ChartGenerator
from duel.randomness import stream
from duel.settings import Settings
from duel.settings.profile import override, read_profile, read_settings
from duel.testing.__main__ import transient_faults
from duel.testing.faults import Faults
from duel.testing.replicate import ReplicateServer
from duel.types import Group, ModelInput, Player, UpdateReport
from flows.profiles import profile_path

RATE = 0.02  # of each kind of fault
MOST_GROWTH = {"memory": 40.0, "threads": 4.0, "handles": 6.0, "temporary": 2.0}  # MiB or number, second half on first


class SoakPolicy(StubPolicy):
    """A stub whose state is a hash of everything that it learned from; saved and loaded, so that it can be compared."""

    def __init__(self, player: Player) -> None:
        super().__init__(player)
        self.learned = ""

    def learn(self, inputs: Sequence[ModelInput], groups: Sequence[Group]) -> UpdateReport:
        """Count a round, and hash its texts and rewards into the state; not its images' keys, which name a port."""
        report = super().learn(inputs, groups)
        seen = [
            (attempt.original.text, attempt.reconstruction.text, attempt.similarity, attempt.reward)
            for group in groups
            for attempt in group.attempts
        ]
        self.learned = hashlib.sha256(f"{self.learned} {seen!r}".encode()).hexdigest()
        return report

    def save(self, directory: Path) -> None:
        """Write the number of rounds and the hash."""
        (directory / "state.safetensors").write_text(f"{self.rounds_learned} {self.learned}")

    save_training_state = save

    def load_training_state(self, directory: Path) -> None:
        """Read what `save` wrote."""
        count, _, self.learned = (directory / "state.safetensors").read_text().partition(" ")
        self.rounds_learned = int(count)


class SmallEmbedder:
    """Embeds an image as its 8 x 8 pixels."""

    def embed(self, images: Sequence[bytes]) -> np.ndarray:
        """Return unit vectors, (images, 192)."""
        rows = []
        for data in images:
            with Image.open(io.BytesIO(data)) as image:
                rows.append(np.asarray(image.convert("RGB").resize((8, 8)), dtype=np.float32).ravel() + 1)
        vectors = np.stack(rows)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@dataclass(frozen=True)
class Sample:
    """What a process held at a moment."""

    process: int
    round: int
    memory: float  # MiB
    threads: int
    handles: int  # open files and sockets
    temporary: int  # files in its temporary folder


def settings_of(rounds: int, data: Path) -> Settings:
    """Return the settings of the run: small rounds, frequent checkpoints, draws at the paid service."""
    chosen: dict[str, Any] = {
        "rounds": rounds,
        "data.path": str(data),
        "data.test_images": 2,
        "images_per_round": 1,
        "sampling.group_size": 2,
        "generator.service": "replicate",
        "generator.requests_per_minute": 60_000,
        "generator.attempts": 50,
        "evaluation.every": 50,
        "evaluation.adversary_prompts": 2,
        "evaluation.charts_per_stratum": 0,
    }
    return read_settings(override(read_profile(profile_path("offline-reference")), chosen))


def play(rounds: int, folder: Path, state: Path) -> None:
    """Train in this process, from where the run stands to its end."""
    import duel.embedder
    import duel.generators.replicate.retries
    import flows.train
    import tasks.context

    waits = {"poll": 0.02, "first_wait": 0.02, "listing_delay": 0.5}  # a local service is quick
    duel.generators.replicate.retries.RetrySettings = functools.partial(RetrySettings, **waits)  # type: ignore[misc]
    tasks.context.load_policies = lambda *_, **__: {name: SoakPolicy(name) for name in ("base", "adversary")}  # type: ignore[assignment]
    duel.embedder.load_embedder = lambda *_, **__: SmallEmbedder()  # type: ignore[assignment, return-value]
    flows.train.train(settings_of(rounds, folder / "data"), "run", state)


def watch(command: Sequence[str], folder: Path, environment: Mapping[str, str], stop_at: int | None) -> list[Sample]:
    """Run a process until it ends, or kill it once `stop_at` rounds are recorded; return what it held every second.

    Raises RuntimeError when it fails.
    """
    temporary, metrics = folder / "tmp", folder / "state" / "runs" / "run" / "training_logs" / "metrics.jsonl"
    temporary.mkdir(exist_ok=True)
    samples: list[Sample] = []
    with (folder / "said.txt").open("ab") as said:
        child = subprocess.Popen(command, env={**environment, "TMPDIR": str(temporary)}, stdout=said, stderr=said)
        process = psutil.Process(child.pid)
        while child.poll() is None:
            done = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
            try:
                held = (process.memory_info().rss / 2**20, process.num_threads(), process.num_fds())
            except psutil.Error:
                break
            samples.append(Sample(child.pid, done, *held, sum(1 for _ in temporary.rglob("*"))))
            if stop_at is not None and done >= stop_at:
                child.kill()
                break
            time.sleep(0.1 if stop_at is not None else 1.0)
    code = child.wait()
    if code not in (0, -9):
        raise RuntimeError(f"exit code {code}: {(folder / 'said.txt').read_text()[-3000:]}")
    return samples


def run(
    folder: Path, name: str, rounds: int, kills: Sequence[int], faults: Faults, variables: Mapping[str, str]
) -> dict[str, Any]:
    """Train one run to its end, killed at these numbers of rounds; return its results, counts and samples."""
    place = folder / name
    place.mkdir()
    command = [sys.executable, "-m", "benchmarks.soak", "--rounds", str(rounds), "--play", str(place / "state")]
    command += ["--folder", str(folder)]
    with ReplicateServer(ChartGenerator(), faults=faults, retry_after=0.05, hang_seconds=0.5) as replicate:
        environment = os.environ | variables | replicate.environment
        started, samples = time.monotonic(), []
        for stop_at in [*kills, None]:
            samples += watch(command, place, environment, stop_at)
        seconds, counts = time.monotonic() - started, replicate.counts()
        billed_twice = counts["images_billed"] - counts["distinct_inputs"]
    with SpendLedger(place / "state" / "spend.sqlite") as ledger:
        spend = ledger.spend("run")
    leftovers = list((place / "state").rglob(".writing-*"))
    return {
        "found": fingerprint(place / "state"),
        "counts": counts,
        "spend": spend,
        "samples": samples,
        "seconds": seconds,
        "billed_twice": billed_twice,
        "leftovers": len(leftovers),
        "faults": sum(faults.counts.values()),
    }


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Return each quantity's median in the second and in the last quarter of the process with most rounds."""
    longest = max({one.process for one in samples}, key=lambda pid: span(samples, pid))
    own = [one for one in samples if one.process == longest]
    own = [one for one in own if one.round > own[0].round] or own  # without its start
    first, last = own[len(own) // 4 : len(own) // 2], own[-max(1, len(own) // 4) :]
    return {
        name: tuple(float(np.median([getattr(one, name) for one in part])) for part in (first, last))  # type: ignore[misc]
        for name in MOST_GROWTH
    }


def span(samples: Sequence[Sample], process: int) -> int:
    """Return how many rounds a process played."""
    rounds = [one.round for one in samples if one.process == process]
    return max(rounds) - min(rounds)


def report(name: str, rounds: int, found: Mapping[str, Any]) -> list[str]:
    """Print what a run did and held; return what is wrong with it."""
    spend, counts = found["spend"], found["counts"]
    print(
        f"{name}: {rounds} rounds in {found['seconds'] / 60:.1f} min, {found['faults']} faults, "
        f"{counts['created']} predictions for {counts['distinct_inputs']} draws, {counts['images_billed']} billed, "
        f"ledger {spend.images} and {spend.uncertain} unknown, billed twice: {found['billed_twice']}"
    )
    wrong = [f"{name}: {found['billed_twice']} images billed twice"] if found["billed_twice"] > 0 else []
    if not spend.images <= counts["images_billed"] <= spend.images + spend.uncertain:
        wrong.append(f"{name}: the ledger says {spend.images} to {spend.images + spend.uncertain} images")
    if found["leftovers"]:
        wrong.append(f"{name}: {found['leftovers']} temporary files left in the run")
    for what, (first, last) in growth(found["samples"]).items():
        print(f"  {what:10} {first:8.1f} in the second quarter, {last:8.1f} in the last ({last - first:+.1f})")
        if last - first > MOST_GROWTH[what]:
            wrong.append(f"{name}: {what} grew from {first:.1f} to {last:.1f}")
    return wrong


def main() -> int:
    """Run both, compare, and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--kills", type=int, help="default: one in 300 rounds")
    parser.add_argument("--seed", type=int, default=0, help="of faults and kills")
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds: int = options.rounds
    if options.play:
        play(rounds, options.folder, options.play)
        return 0
    count = rounds // 300 if options.kills is None else options.kills
    kills = sorted(stream(options.seed, "kills").sample(range(1, rounds), count))
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} cores; {rounds} stub rounds, killed after {kills}", flush=True
    )
    rates = {name: rate for name, rate in transient_faults(RATE).items() if name != "refused"}  # a result, not a fault
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        write_dataset(folder / "data", 0)
        with PrefectServer(folder) as server:
            variables = server.variables | {"PREFECT_LOGGING_LEVEL": "ERROR", "OMP_NUM_THREADS": "1"}
            faulty = run(folder, "faulty", rounds, kills, Faults(rates, options.seed), variables)
            wrong = report("with faults and kills", rounds, faulty)
            quiet = run(folder, "quiet", rounds, [], Faults(), variables)
            wrong += report("without", rounds, quiet)
    names = sorted(faulty["found"].keys() | quiet["found"].keys())
    differ = [one for one in names if faulty["found"].get(one) != quiet["found"].get(one)]
    print(f"{len(names)} results compared, {len(differ)} differ; wrong: {wrong + differ or 'nothing'}")
    return min(1, len(wrong) + len(differ))


if __name__ == "__main__":
    sys.exit(main())
