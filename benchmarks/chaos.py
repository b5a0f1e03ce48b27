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
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.kills import AFTER_SECONDS, IMPORT, PLACES, Kill, die, most_of, put
from benchmarks.prefect_site import PrefectServer
from duel.offline.dataset import write_dataset
from duel.offline.generator import ChartGenerator
from duel.profile import read_settings
from duel.settings import Settings
from duel.testing.replicate import ReplicateServer

ROUNDS = 12


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


def settings_of(data: Path) -> Settings:
    """Return the short profile: a checkpoint every three rounds, which is inside a player's accumulation."""
    return read_settings(
        {
            "rounds": ROUNDS,
            "images_per_round": 1,
            "data": {"source": "offline", "path": str(data), "train_images": 4, "test_images": 2},
            "models": {"rows_per_forward": 2},
            "sampling": {"group_size": 3, "max_new_tokens": 24},
            "base": {"grpo": {"accumulation": 2}, "optimizer": {"learning_rate": 1e-3}},
            "adversary": {"grpo": {"accumulation": 2}, "optimizer": {"learning_rate": 1e-3}},
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
    paths += sorted(run.glob("ckpts/**/training_state.json")) + sorted(run.glob("eval_logs/*.json"))
    found = {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
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
    with PrefectServer(folder) as server:
        os.environ |= server.variables | {"PREFECT_LOGGING_LEVEL": "WARNING", "OMP_NUM_THREADS": "1"}
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["flows.train", "duel.policies.load", "duel.embedder", "duel.generators.replicate.generator"]
        )
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
        left = flow_runs_that_never_end(server.url)
        print(f"flow runs left in no terminal state: {left}")
    return wrong + bool(left)


if __name__ == "__main__":
    sys.exit(main())
