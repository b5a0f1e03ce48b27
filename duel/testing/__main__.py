"""Start local fakes of Replicate, an OpenAI-compatible judge, and a Hugging Face Hub with a data set.

    python -m duel.testing                          # prints the variables to export, and serves until Ctrl-C
    python -m duel.testing --faults 0.05 -- duel train --profile day3 --run rehearsal

With a command, the command runs with these variables set, and its exit code is returned.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from duel.offline.generator import ChartGenerator
from duel.testing.faults import Faults
from duel.testing.hub import HubServer, write_fake_hub
from duel.testing.openai import OpenAIServer
from duel.testing.predictions import ENDINGS
from duel.testing.replicate import ReplicateServer
from duel.testing.shapes import SHAPES

HANG_SECONDS = 2.0  # of a request that gets no response; short, so that a rehearsal stays short
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Start the servers, run the command or wait for Ctrl-C; print request counts and return the exit code."""
    options = build_parser().parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="duel-hub-")))
        write_fake_hub(folder)
        services = start(stack, options, folder)
        environment: dict[str, str] = {}
        for service in services.values():
            environment |= service.environment
        code = run(options.command, environment) if options.command else serve(environment)
        for name, service in services.items():
            counts = ", ".join(f"{count} {what}" for what, count in service.counts().items() if count)
            print(f"{name}: {counts or 'no requests'}", file=sys.stderr)
    return code


def start(
    stack: ExitStack, options: argparse.Namespace, folder: Path
) -> dict[str, ReplicateServer | OpenAIServer | HubServer]:
    """Start the servers, by name; `stack` stops them. With `--port`, they use it and the next two."""
    ports = [options.port + i if options.port else 0 for i in range(3)]
    rates = transient_faults(options.faults)
    drawing = Faults(rates, options.seed), Faults(rates, options.seed + 1), Faults(rates, options.seed + 2)
    replicate = ReplicateServer(
        ChartGenerator(), faults=drawing[0], seconds=options.seconds, hang_seconds=HANG_SECONDS, port=ports[0]
    )
    judge = OpenAIServer(faults=drawing[1], hang_seconds=HANG_SECONDS, port=ports[1])
    hub = HubServer(folder, faults=drawing[2], hang_seconds=HANG_SECONDS, port=ports[2])
    return {
        "replicate": stack.enter_context(replicate),
        "judge": stack.enter_context(judge),
        "hub": stack.enter_context(hub),
    }


def transient_faults(rate: float) -> dict[str, float]:
    """Return the rate of each fault that a client is expected to survive, some at `rate` and some at half of it."""
    half = rate / 2
    return {
        "throttled": rate,
        "error": half, "error-after": half,
        "hang": half, "lost": half,
        "reset": half,
        "truncated": rate, "cut": half, "bad-json": rate,
        "refused": rate,
        **dict.fromkeys(ENDINGS, rate / 10), **dict.fromkeys(SHAPES, rate / 10),
    }  # fmt: skip


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run a command with the variables set and return its exit code; SIGTERM is forwarded, Ctrl-C reaches it anyway."""
    for name in SIGNALS:
        signal.signal(name, lambda number, _: child.terminate() if number == signal.SIGTERM else None)
    child = subprocess.Popen(command, env=os.environ | environment)
    return child.wait()


def serve(environment: dict[str, str]) -> int:
    """Print the variables as shell exports and wait for Ctrl-C."""
    stop = threading.Event()
    for name in SIGNALS:
        signal.signal(name, lambda *_: stop.set())
    for variable, value in environment.items():
        print(f"export {variable}={shlex.quote(value)}", flush=True)
    stop.wait()
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m duel.testing", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--faults", type=float, default=0.0, metavar="RATE", help="each kind of fault, e.g. 0.05")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument("--seconds", type=float, default=0.5, help="minimum seconds per image (default: 0.5)")
    parser.add_argument("--port", type=int, default=0, help="first of three ports (default: free ones)")
    parser.add_argument("command", nargs="*", help="run this with the variables set; after --")
    return parser


if __name__ == "__main__":
    sys.exit(main())
