"""Named points in a training at which the process can be killed, and the wrapping that kills it there."""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGES = (
    "write_prompts", "draw", "describe_drawings", "redraw", "score", "learn", "record_round",
    "evaluate_players", "save_checkpoint", "publish_run",
)  # fmt: skip
IMPORT = "import"
AFTER_SECONDS = "after seconds"

# Kill points: (module or class that holds the function, its name, before | after | torn).
PLACES: dict[str, tuple[str, str, str]] = {
    **{f"before {name}": ("flows.train", name, "before") for name in STAGES},
    **{f"after {name}": ("flows.train", name, "after") for name in STAGES},
    "image drawn, not stored": ("cache.blob_store:BlobStore", "put", "before"),
    "image stored": ("cache.blob_store:BlobStore", "put", "after"),
    "prediction about to be created": ("cache.ledger:SpendLedger", "intend", "after"),
    "prediction created": ("cache.ledger:SpendLedger", "created", "after"),
    "result about to be written": ("prefect.filesystems:LocalFileSystem", "write_path", "before"),
    "result half written": ("prefect.filesystems:LocalFileSystem", "write_path", "torn"),
    "result written": ("prefect.filesystems:LocalFileSystem", "write_path", "after"),
    "checkpoint about to be renamed": ("artifacts.run.files", "_put_in_place", "before"),
    "checkpoint renamed": ("artifacts.run.files", "_put_in_place", "after"),
    "old training state removed": ("artifacts.run.files", "remove_directory", "after"),
    "one player saved": ("duel.policies.policy:LocalPolicy", "save_training_state", "after"),
    "half of the gradient": ("duel.policies.update", "_rows_loss", "after"),
    "step taken": ("duel.policies.optimizer:PlayerOptimizer", "end_round", "after"),
    "line of metrics": ("artifacts.run.jsonl", "append_row", "torn"),
    "round written, no metrics": ("artifacts.run.jsonl", "append_row", "before"),
    "session begun": ("tasks.sessions", "begin_session", "after"),
}
PURCHASES = ("before draw", "after redraw", "image drawn, not stored", "image stored", "prediction about to be created",
             "prediction created", "result half written")  # fmt: skip
UPDATES = ("after learn", "checkpoint about to be renamed", "checkpoint renamed", "old training state removed",
           "one player saved", "half of the gradient", "step taken")  # fmt: skip


@dataclass(frozen=True)
class Kill:
    """A kill at the n-th time that `place` is reached; for `import` and `after seconds`, n is in seconds."""

    place: str
    nth: float

    def __str__(self) -> str:
        return f"{self.place} ({self.nth:g})"


def highest_n(place: str) -> int:
    """Return the highest n of a kill at `place`: it is reached at least that often in twelve rounds."""
    if "publish_run" in place or "session" in place:
        return 1
    return {"checkpoint": 4, "evaluate_players": 4, "save_checkpoint": 4, "removed": 2}.get(place.split()[-1], 8)


@dataclass(frozen=True)
class Scenario:
    """One run: where its processes are killed, one after the other, and what is different about it."""

    kills: tuple[Kill, ...]
    tuning: str = "lora"  # of both players, or full
    faults: bool = False  # whether the service fails some requests at random

    def __str__(self) -> str:
        besides = [f"{self.tuning} tuning"] if self.tuning != "lora" else []
        return "; ".join([*map(str, self.kills), *besides, *(["service faults"] if self.faults else [])])


def scenarios() -> list[Scenario]:
    """Return all runs, more than 60: LoRA without faults, with faults, and full tuning with and without."""
    rng = random.Random(20261125)
    single = [[Kill(place, rng.randint(1, highest_n(place)))] for place in PLACES]
    clocks = [[Kill(AFTER_SECONDS, round(rng.uniform(1.0, 9.0), 2))] for _ in range(5)]
    early = [[Kill(IMPORT, seconds)] for seconds in (0.3, 1.5)]
    several = [
        [Kill(place, rng.randint(1, min(3, highest_n(place)))) for place in rng.sample(sorted(PLACES), 3)]
        for _ in range(6)
    ]
    plain = [Scenario(tuple(kills)) for kills in [*single, *clocks, *early, *several]]
    paid = [[Kill(place, rng.randint(1, highest_n(place)))] for place in PURCHASES]
    faulty = [Scenario(tuple(kills), faults=True) for kills in [*paid, *several[:2]]]
    saved = [[Kill(place, rng.randint(1, highest_n(place)))] for place in UPDATES]
    full = [
        Scenario(tuple(kills), "full", faults=bool(number % 2)) for number, kills in enumerate([*saved, several[2]])
    ]
    return [*plain, *faulty, *full]


def spread(chosen: Sequence[Scenario], count: int) -> list[Scenario]:
    """Return `count` scenarios, evenly spread over the list, the first and the last among them."""
    steps = max(1, count - 1)
    return [chosen[number * (len(chosen) - 1) // steps] for number in range(min(count, len(chosen)))]


def install(kill: Kill) -> None:
    """Wrap the function at the kill point so that it kills the process."""
    holder, name, when = PLACES[kill.place]
    module, _, owner = holder.partition(":")
    target: Any = importlib.import_module(module)
    target = getattr(target, owner) if owner else target
    setattr(target, name, kill_on_call(getattr(target, name), when, int(kill.nth)))


def kill_on_call(function: Callable[..., Any], when: str, nth: int) -> Callable[..., Any]:
    """Wrap `function`: its n-th call kills the process before it, after it, or halfway through a write (`torn`)."""
    calls = [0]
    lock = threading.Lock()

    def call(*arguments: Any, **options: Any) -> Any:
        with lock:
            calls[0] += 1
            now = calls[0] == nth
        if now and when == "before":
            die()
        if now and when == "torn":
            write_half_then_die(*arguments, **options)
        result = function(*arguments, **options)
        if now:
            die()
        return result

    return call


def write_half_then_die(*arguments: Any, **options: Any) -> None:
    """Write half of what the call would have written, then kill the process."""
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
    """Kill this process with SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)
