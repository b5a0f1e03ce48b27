"""Time to write an HTML report, to rewrite it, and to load it in a browser.

The run is synthetic: every round is recorded, with texts of some 700 characters and distinct images of 160 pixels.
Run: python -m benchmarks.report --rounds 60 1000
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

from artifacts.report.content import BESIDE
from artifacts.report.html import write_report
from artifacts.run.directory import RunDirectory
from tests.support.browser import open_page
from tests.support.fake_run import write_long_run

OPENINGS = 5
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, nargs="+", default=[60, 1000])
    parser.add_argument("--groups", type=int, default=1, help="groups of 8 per round")
    options = parser.parse_args()
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores")
    print(
        f"command: python -m benchmarks.report --rounds {' '.join(map(str, options.rounds))} --groups {options.groups}"
    )
    print("| rounds | attempts | write | write again | page | small pictures | first paint | loaded |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for rounds in options.rounds:
        with tempfile.TemporaryDirectory() as state:
            measure(write_long_run(Path(state), rounds, distinct=10**9, groups=options.groups), options.groups)


def measure(run: RunDirectory, groups: int) -> None:
    """Print one run's row; paint and load times are median and maximum over several fresh browsers."""
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        html = write_report(run)
        seconds.append(time.perf_counter() - began)
    small = [path.stat().st_size for path in (run.path / BESIDE).iterdir()]
    times = sorted(opening(html) for _ in range(OPENINGS))
    paint, loaded = zip(*times, strict=True)
    rounds = len(run.rounds_recorded())
    cells = [
        str(rounds),
        str(rounds * groups * 8),
        *(f"{second:.1f} s" for second in seconds),
        f"{html.stat().st_size / 1e6:.1f} MB",
        f"{len(small)}, {sum(small) / 1e6:.1f} MB",
        _milliseconds(paint),
        _milliseconds(loaded),
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def opening(html: Path) -> tuple[float, float]:
    """Return the milliseconds to first contentful paint and to the load event in a fresh browser."""
    with open_page() as opened:
        opened.page.goto(html.as_uri())
        opened.wait_until("performance.getEntriesByName('first-contentful-paint').length === 1")
        assert opened.faults == []
        paint, loaded = opened.page.evaluate(f"[{PAINT}, {LOADED}]")
    return float(paint), float(loaded)


def _milliseconds(times: tuple[float, ...]) -> str:
    ordered = sorted(times)
    return f"{ordered[len(ordered) // 2]:.0f} ms, at most {ordered[-1]:.0f}"


if __name__ == "__main__":
    main()
