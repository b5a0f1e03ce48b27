"""Kill a training at every kind of moment, run the same command again, and compare with a run never killed.

One long-lived Prefect server; every run has a state directory and a Replicate of its own on this machine, which counts
what it served. A child process is forked from one that has everything imported, puts a kill where it is told, and
calls the train flow. Equal are: weights, optimizer states, metrics.jsonl, evaluations; and no draw is paid for twice.

    python -m benchmarks.chaos                 all scenarios
    python -m benchmarks.chaos --only 8        every n-th, so that 8 remain, as the tests do
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from duel.offline.dataset import write_dataset
from duel.offline.generator import ChartGenerator
from duel.settings import Settings, read_settings
from duel.testing.replicate import ReplicateServer

ROUNDS = 12
STAGES = (
    "write_prompts", "draw", "describe_drawings", "score", "learn", "record_round",
    "evaluate_players", "save_checkpoint", "publish_run",
)  # fmt: skip
IMPORT = "import"
AFTER_SECONDS = "after seconds"

# Where a kill can be put, as (module or class that holds the function, its name, before | after | torn).
PLACES: dict[str, tuple[str, str, str]] = {
    **{f"before {name}": ("flows.train", name, "before") for name in STAGES},
    **{f"after {name}": ("flows.train", name, "after") for name in STAGES},
    "image drawn, not stored": ("cache.images:ImageStore", "put", "before"),
    "image stored": ("cache.images:ImageStore", "put", "after"),
    "prediction about to be created": ("cache.ledger:SpendLedger", "intend", "after"),
    "prediction created": ("cache.ledger:SpendLedger", "created", "after"),
    "result about to be written": ("prefect.filesystems:LocalFileSystem", "write_path", "before"),
    "result half written": ("prefect.filesystems:LocalFileSystem", "write_path", "torn"),
    "result written": ("prefect.filesystems:LocalFileSystem", "write_path", "after"),
    "checkpoint about to be renamed": ("artifacts.files", "_put_in_place", "before"),
    "checkpoint renamed": ("artifacts.files", "_put_in_place", "after"),
    "old training state removed": ("artifacts.files", "remove_directory", "after"),
    "one player saved": ("duel.policy:LocalPolicy", "save_training_state", "after"),
    "half of the gradient": ("duel.update", "_rows_loss", "after"),
    "step taken": ("duel.optimizer:PlayerOptimizer", "end_round", "after"),
    "line of metrics": ("artifacts.tables", "append_row", "torn"),
    "round written, no metrics": ("artifacts.tables", "append_row", "before"),
    "session begun": ("artifacts.sessions", "begin_session", "after"),
}


@dataclass(frozen=True)
class Kill:
    """The n-th time that `place` is reached; `import` and `after seconds` count seconds from the start."""

    place: str
    nth: float

    def __str__(self) -> str:
        return f"{self.place} ({self.nth:g})"


def scenarios() -> list[list[Kill]]:
    """Return what each run has to bear, one process after the other; more than 40 runs."""
    chance = random.Random(20261125)
    single = [[Kill(place, chance.randint(1, most_of(place)))] for place in PLACES]
    clocks = [[Kill(AFTER_SECONDS, round(chance.uniform(1.0, 9.0), 2))] for _ in range(5)]
    early = [[Kill(IMPORT, seconds)] for seconds in (0.3, 1.5)]
    several = [
        [Kill(place, chance.randint(1, min(3, most_of(place)))) for place in chance.sample(sorted(PLACES), 3)]
        for _ in range(6)
    ]
    return [*single, *clocks, *early, *several]


def most_of(place: str) -> int:
    """Return up to which occurrence a kill is put: every place is reached so often in twelve rounds."""
    if "publish_run" in place or "session" in place:
        return 1
    return {"checkpoint": 4, "evaluate_players": 4, "save_checkpoint": 4, "removed": 2}.get(place.split()[-1], 8)


def settings_of(data: Path) -> Settings:
    """Return the short profile: a checkpoint every three rounds, which is inside a player's accumulation."""
    return read_settings(
        {
            "rounds": ROUNDS,
            "images_per_round": 1,
            "data": {"source": "offline", "path": str(data), "train_images": 4, "test_images": 2},
            "models": {"rows_per_forward": 2},
            "sampling": {"group_size": 3, "max_new_tokens": 24},
            "grpo": {"accumulation": 2},
            "optimizer": {"learning_rate": 1e-3},
            "generator": {"service": "replicate", "requests_per_minute": 6000},
            "evaluation": {"every": 3, "proxy_completions": 1, "adversary_prompts": 2},
        }
    )


def play(settings: Settings, state: Path, kill: Kill | None, replicate: dict[str, str], said: Path) -> None:
    """Train in this process, which dies where `kill` says; what it prints goes to `said`."""
    with said.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(replicate)
    if kill is not None and kill.place == AFTER_SECONDS:
        threading.Timer(kill.nth, die).start()
    elif kill is not None:
        put(kill)
    from flows.train import train

    train(settings, "run", state)


def put(kill: Kill) -> None:
    """Wrap the function at the kill's place."""
    holder, name, when = PLACES[kill.place]
    module, _, owner = holder.partition(":")
    target: Any = __import__(module, fromlist=["*"])
    target = getattr(target, owner) if owner else target
    setattr(target, name, deadly(getattr(target, name), when, int(kill.nth)))


def deadly(function: Callable[..., Any], when: str, nth: int) -> Callable[..., Any]:
    """Return `function`, whose n-th call kills the process before it, after it, or half way through a write."""
    calls = [0]
    lock = threading.Lock()

    def call(*arguments: Any, **options: Any) -> Any:
        with lock:
            calls[0] += 1
            now = calls[0] == nth
        if now and when == "before":
            die()
        if now and when == "torn":
            tear(*arguments, **options)
        result = function(*arguments, **options)
        if now:
            die()
        return result

    return call


def tear(*arguments: Any, **options: Any) -> None:
    """Write half of what the call would have written, then die."""
    if isinstance(arguments[-1], bytes) or "content" in options:  # LocalFileSystem.write_path(path, content)
        path, content = options.get("path", arguments[1] if len(arguments) > 1 else None), options.get("content")
        content = arguments[-1] if content is None else content
        Path(str(path)).parent.mkdir(parents=True, exist_ok=True)
        Path(str(path)).write_bytes(content[: len(content) // 2])
    else:  # append_row(path, row)
        with arguments[0].open("a") as file:
            file.write(json.dumps(arguments[1])[:40])
    die()


def die() -> None:
    """Kill this process as the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)


def bear(folder: Path, data: Path, kills: Sequence[Kill]) -> dict[str, Any]:
    """Play one run through its kills and to its end; return what it left, and what was served."""
    folder.mkdir()
    context = multiprocessing.get_context("forkserver")
    settings = settings_of(data)
    with ReplicateServer(ChartGenerator()) as replicate:
        left = [*kills, None]
        hit = []
        while left:
            kill = left.pop(0)
            said = folder / f"said-{len(hit)}.txt"
            arguments = (settings, folder / "state", kill, replicate.environment, said)
            if kill is not None and kill.place == IMPORT:
                code = killed_while_importing(kill.nth, folder / "state", data, replicate.environment)
            else:
                process = context.Process(target=play, args=arguments)
                process.start()
                process.join()
                code = process.exitcode
            if code not in (0, -signal.SIGKILL):
                raise RuntimeError(f"{kill}: exit code {code}; {said.read_text()[-3000:]}")
            hit.append(code != 0)
            if code == 0 and kill is not None:  # the place was reached less often than that in what was left to do
                left = []
        counts = replicate.counts()
    return {"kills": sum(hit), "counts": counts, "found": fingerprint(folder / "state")}


def killed_while_importing(seconds: float, state: Path, data: Path, replicate: dict[str, str]) -> int:
    """Start the command line itself, and kill it after some seconds."""
    command = [
        sys.executable,
        "-m",
        "flows.cli",
        "train",
        "--run",
        "run",
        "--state",
        str(state),
        "--data.path",
        str(data),
    ]
    process = subprocess.Popen(command, env=os.environ | replicate, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    return process.wait()


def fingerprint(state: Path, name: str = "run") -> dict[str, str]:
    """Return the hash of everything of a run that must not differ."""
    run = state / "runs" / name
    paths = [run / "training_logs" / "metrics.jsonl", *sorted(run.glob("ckpts/**/*.safetensors"))]
    paths += sorted(run.glob("ckpts/**/training_state.json"))
    found = {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    for path in sorted(run.glob("eval_logs/*.json")):
        measured = {name: value for name, value in json.loads(path.read_text()).items() if name != "draws_made"}
        found[path.name] = hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()
    records = [json.loads(path.read_text()) for path in sorted(run.glob("training_logs/round-*/record.json"))]
    found["records"] = hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()
    return found


def verdict(whole: dict[str, Any], borne: dict[str, Any]) -> list[str]:
    """Return in what a killed run differs from the whole one; nothing is right."""
    wrong = [
        name
        for name in sorted(whole["found"].keys() | borne["found"].keys())
        if whole["found"].get(name) != borne["found"].get(name)
    ]
    if borne["counts"]["created"] != whole["counts"]["created"]:
        wrong.append(f"{borne['counts']['created']} images paid for, {whole['counts']['created']} needed")
    return wrong


@contextmanager
def prefect_server(folder: Path) -> Iterator[dict[str, str]]:
    """Run a Prefect server of its own until the block ends; yield the variables that point a process at it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    variables = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_API_PORT": port,  # else the UI would call 4200
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
    }
    log = folder / "server.txt"
    with log.open("wb") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", port],
            env=os.environ | variables, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for_server(server, variables["PREFECT_API_URL"], log)
        yield variables
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def wait_for_server(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when the server answers; raises RuntimeError when it ends or is silent for two minutes."""
    for _ in range(240):
        if server.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"no Prefect server at {url}: {log.read_text()[-2000:]}")


def flow_runs_that_never_end(url: str) -> int:
    """Count the flow runs of the server that are in no terminal state."""
    query = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "SCHEDULED"]}}}}
    return int(httpx.post(f"{url}/flow_runs/count", json=query).json())


def main() -> int:
    """Run the scenarios, two at a time, and print what became of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, help="this many scenarios, spread over the list")
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    chosen = scenarios()
    if options.only:
        chosen = chosen[:: max(1, len(chosen) // options.only)][: options.only]
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores; {len(chosen)} runs of {ROUNDS} rounds", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        wrong = storm(Path(name), chosen, options.at_once)
    print(f"{len(chosen)} runs, {wrong} wrong, {(time.monotonic() - started) / 60:.1f} minutes")
    return min(wrong, 1)


def storm(folder: Path, chosen: Sequence[Sequence[Kill]], at_once: int) -> int:
    """Play the whole run and all others; print one line for each; return how many went wrong."""
    write_dataset(folder / "data", 0)
    wrong = 0
    with prefect_server(folder) as variables:
        os.environ |= variables | {"PREFECT_LOGGING_LEVEL": "WARNING", "OMP_NUM_THREADS": "1"}
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["flows.train", "duel.players", "duel.embedder", "duel.replicate"])
        whole = bear(folder / "whole", folder / "data", [])
        print(f"never killed: {whole['counts']['created']} images, {len(whole['found'])} things to compare", flush=True)
        with ThreadPoolExecutor(at_once) as pool:
            played = [pool.submit(bear, folder / str(i), folder / "data", kills) for i, kills in enumerate(chosen)]
            for kills, future in zip(chosen, played, strict=True):
                try:
                    borne = future.result()
                    faults = verdict(whole, borne)
                    killed = borne["kills"]
                except RuntimeError:
                    faults, killed = [traceback.format_exc(limit=0)], 0
                if not killed:
                    faults.append("was never killed")
                wrong += bool(faults)
                print(f"{'; '.join(map(str, kills))}: {faults or 'equal'}", flush=True)
        left = flow_runs_that_never_end(variables["PREFECT_API_URL"])
        print(f"flow runs left in no terminal state: {left}")
    return wrong + bool(left)


if __name__ == "__main__":
    sys.exit(main())
