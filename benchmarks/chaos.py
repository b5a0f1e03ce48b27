"""Fault-injection test: kill trainings at every kind of moment, resume them, and compare with an uninterrupted run.

All runs share one Prefect server; each has its own state directory and its own fake Replicate, which counts what it
served. A child process is forked from a preloaded one, installs a kill, and calls the train flow. Weights, optimizer
states, metrics.jsonl and evaluations must be equal, no draw may be paid for twice, and the ledger must agree with the
service. Some runs are tuned whole instead of with LoRA; for some the service fails one request in five or so.

    python -m benchmarks.chaos                 all scenarios
    python -m benchmarks.chaos --containing "full tuning"
    python -m benchmarks.chaos --only 7        7 of them, evenly spread over the list, as in the tests
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
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

from benchmarks.kills import AFTER_SECONDS, IMPORT, Kill, Scenario, die, install, scenarios, spread
from benchmarks.prefect_site import PrefectServer
from cache.ledger import SpendLedger
from duel.offline.dataset import write_dataset
from duel.offline.generator import ChartGenerator
from duel.settings import Settings
from duel.settings.profile import read_settings
from duel.testing.__main__ import transient_faults
from duel.testing.faults import Faults
from duel.testing.replicate import ReplicateServer

ROUNDS = 12
FAULTS = {name: rate for name, rate in transient_faults(0.05).items() if name != "refused"}  # a result, not a fault


def settings_of(data: Path, tuning: str) -> Settings:
    """Return the settings of the runs: short, with checkpoints inside a player's accumulation window."""
    return read_settings(
        {
            "rounds": ROUNDS,
            "images_per_round": 1,
            "data": {"source": "offline", "path": str(data), "train_images": 4, "test_images": 2},
            "models": {"rows_per_forward": 2, "tuning": tuning},
            "sampling": {"group_size": 3, "max_new_tokens": 24},
            "base": {"grpo": {"accumulation": 2}, "optimizer": {"learning_rate": 1e-3}},
            "adversary": {"grpo": {"accumulation": 2}, "optimizer": {"learning_rate": 1e-3}},
            "generator": {"service": "replicate", "requests_per_minute": 6000, "attempts": 50},
            "evaluation": {"every": 3, "proxy_completions": 1, "adversary_prompts": 2},
        }
    )


def play(settings: Settings, state: Path, kill: Kill | None, replicate: dict[str, str], output: Path) -> None:
    """Train in this process, which dies at `kill`; stdout and stderr go to the file `output`."""
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(replicate)
    if kill is not None and kill.place == AFTER_SECONDS:
        threading.Timer(kill.nth, die).start()
    elif kill is not None:
        install(kill)
    from flows.train import train

    train(settings, "run", state)


def run_through_kills(folder: Path, data: Path, scenario: Scenario) -> dict[str, Any]:
    """Run one training through its kills to the end; return a fingerprint of its results and the request counts."""
    folder.mkdir()
    context = multiprocessing.get_context("forkserver")
    settings = settings_of(data, scenario.tuning)
    faults = Faults(FAULTS if scenario.faults else {}, seed=len(str(scenario)))
    with ReplicateServer(ChartGenerator(), faults=faults, retry_after=0.05, hang_seconds=0.5) as replicate:
        left: list[Kill | None] = [*scenario.kills, None]
        killed_each = []
        while left:
            kill = left.pop(0)
            output = folder / f"output-{len(killed_each)}.txt"
            arguments = (settings, folder / "state", kill, replicate.environment, output)
            if kill is not None and kill.place == IMPORT:
                code = killed_while_importing(kill.nth, folder / "state", data, replicate.environment)
            else:
                process = context.Process(target=play, args=arguments)
                process.start()
                process.join()
                code = process.exitcode
            if code not in (0, -signal.SIGKILL):
                raise RuntimeError(f"{kill}: exit code {code}; {output.read_text()[-3000:]}")
            killed_each.append(code != 0)
            if code == 0 and kill is not None:  # the resumed part was too short to reach the kill
                left = []
        counts = replicate.counts()
    with SpendLedger(folder / "state" / "spend.sqlite") as ledger:
        spend = ledger.spend("run")
    return {
        "kills": sum(killed_each),
        "counts": counts,
        "found": fingerprint(folder / "state"),
        "faults": sum(faults.counts.values()),
        "recorded": (spend.images, spend.images + spend.uncertain),
    }


def killed_while_importing(seconds: float, state: Path, data: Path, replicate: dict[str, str]) -> int:
    """Start the command line and kill it after `seconds`; return its exit code."""
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


def fingerprint(state: Path, name: str = "run", shared_store: bool = False) -> dict[str, str]:
    """Return hashes of all results of a run that must not depend on interruptions.

    With `shared_store`, `draws_made` of evaluations does not count: another run may have drawn the images before.
    """
    run = state / "runs" / name
    paths = [run / "training_logs" / "metrics.jsonl", *sorted(run.glob("ckpts/**/*.safetensors"))]
    paths += sorted(run.glob("ckpts/**/training_state.json"))
    found = {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    paths = sorted(run.glob("training_logs/round-*/record.json"))
    records = [json.loads(path.read_text(), object_hook=without_key) for path in paths]
    for path in sorted(run.glob("eval_logs/*.json")):
        content = json.loads(path.read_text())
        for player in ("base", "adversary"):
            if shared_store and content[player] is not None:
                del content[player]["draws_made"]
        found[f"eval_logs/{path.name}"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    found["records"] = hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()
    return found


def without_key(fields: dict[str, Any]) -> dict[str, Any]:
    """Return an object of a record without its image's key, which names the address: each run has its own server."""
    return {name: value for name, value in fields.items() if name != "key"}


def differences(uninterrupted: dict[str, Any], interrupted: dict[str, Any]) -> list[str]:
    """Return how an interrupted run differs from the uninterrupted one; an empty list means not at all."""
    wrong = [
        name
        for name in sorted(uninterrupted["found"].keys() | interrupted["found"].keys())
        if uninterrupted["found"].get(name) != interrupted["found"].get(name)
    ]
    billed, needed = interrupted["counts"]["images_billed"], uninterrupted["counts"]["images_billed"]
    if billed != needed:
        wrong.append(f"{billed} images paid for, {needed} needed")
    least, most = interrupted["recorded"]
    if not least <= billed <= most:
        wrong.append(f"{billed} images paid for, the ledger says {least} to {most}")
    return wrong


def count_non_terminal_flow_runs(url: str) -> int:
    """Return the number of flow runs on the server that are in no terminal state."""
    query = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "SCHEDULED"]}}}}
    return int(httpx.post(f"{url}/flow_runs/count", json=query).json())


def main() -> int:
    """Run the scenarios, `--at-once` in parallel, and print each one's outcome; exit code 1 if any differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, help="this many scenarios, spread over the list")
    parser.add_argument("--containing", help="scenarios with this text, e.g. 'full tuning' or 'service faults'")
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    chosen = scenarios()
    if options.only:
        chosen = spread(chosen, options.only)
    if options.containing:
        chosen = [scenario for scenario in chosen if options.containing in str(scenario)]
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores; {len(chosen)} runs of {ROUNDS} rounds", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        wrong = run_scenarios(Path(name), chosen, options.at_once)
    print(f"{len(chosen)} runs, {wrong} wrong, {(time.monotonic() - started) / 60:.1f} minutes")
    return min(wrong, 1)


def run_scenarios(folder: Path, chosen: Sequence[Scenario], at_once: int) -> int:
    """Run the uninterrupted runs and all scenarios, print one line each, and return the number of failures."""
    write_dataset(folder / "data", 0)
    wrong = 0
    with PrefectServer(folder) as server, ThreadPoolExecutor(at_once) as pool:
        os.environ |= server.variables | {"PREFECT_LOGGING_LEVEL": "WARNING", "OMP_NUM_THREADS": "1"}
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["flows.train", "duel.policies.load", "duel.embedder", "duel.generators.replicate.generator"]
        )
        runs = [*(Scenario((), tuning) for tuning in dict.fromkeys(one.tuning for one in chosen)), *chosen]
        played = {
            one: pool.submit(run_through_kills, folder / str(number), folder / "data", one)
            for number, one in enumerate(runs)
        }
        for one in runs:
            try:
                found = played[one].result()
                uninterrupted = played[Scenario((), one.tuning)].result()
                faults = differences(uninterrupted, found)
                if not found["kills"] and one.kills:
                    faults.append("was never killed")
                happened = f" ({found['faults']} faults)" if one.faults else ""
                if not one.kills:
                    happened = f" ({found['counts']['created']} images, {len(found['found'])} results)"
            except RuntimeError:
                faults, happened = [traceback.format_exc(limit=0)], ""
            wrong += bool(faults)
            print(f"{one if one.kills else f'never killed, {one.tuning}'}{happened}: {faults or 'equal'}", flush=True)
        left = count_non_terminal_flow_runs(server.url)
        print(f"flow runs left in no terminal state: {left}")
    return wrong + bool(left)


if __name__ == "__main__":
    sys.exit(main())
