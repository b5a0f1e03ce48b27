"""Makes the small files that the tables and figures of docs/adversary.md are made of, from everything measured.

    python -m benchmarks.farm.summarise farm-results/*.json.gz --out docs/data

adversary.csv has one row per run and evaluation; adversary_charts.json.gz has each run's value of every held-out chart
after 3,000 draws, for intervals over charts.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.farm.intervals import Array, ByStratum, at_draws
from benchmarks.farm.results import answers_by_chart, evaluation_rows, read_runs, write_table
from duel.offline.strata import STRATA

TABLE, CHARTS = "adversary.csv", "adversary_charts.json.gz"
DRAWS = 3000
ByArm = dict[str, dict[int, ByStratum]]  # arm -> seed -> stratum -> one value per chart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="written by python -m benchmarks.farm")
    parser.add_argument("--out", type=Path, default=Path("docs/data"))
    options = parser.parse_args()
    write_summary(read_runs(options.files), options.out)


def write_summary(runs: Sequence[dict[str, Any]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    runs = sorted(runs, key=lambda run: (run["name"], run["seed"]))
    write_table([row for run in runs for row in evaluation_rows(run)], folder / TABLE)
    data = [{"arm": run["name"], "seed": run["seed"]} | charts_at(run["evaluations"], DRAWS) for run in runs]
    with gzip.GzipFile(folder / CHARTS, "wb", mtime=0) as file:
        file.write(json.dumps({"draws": DRAWS, "runs": data}, separators=(",", ":")).encode())


def charts_at(evaluations: Sequence[dict[str, Any]], draws: float) -> dict[str, dict[str, list[float]]]:
    """Return similarity and shares of right answers after so many draws, by stratum, one value per chart."""

    def similarity(stratum: str) -> Array:
        return at_draws(evaluations, draws, lambda found: np.array(found["similarity"][stratum]))

    def answers(stratum: str, how: str) -> Array:
        return at_draws(evaluations, draws, lambda found: np.array(answers_by_chart(found, stratum, how)))

    return {
        "similarity": {stratum: similarity(stratum).round(3).tolist() for stratum in STRATA},
        **{
            how: {stratum: answers(stratum, how).round(2).tolist() for stratum in STRATA}
            for how in ("answers", "reasoned")
        },
    }


def read_charts(folder: Path, what: str) -> ByArm:
    """Return `similarity`, `answers` or `reasoned` of every chart after 3,000 draws."""
    with gzip.open(folder / CHARTS, "rt") as file:
        found: ByArm = defaultdict(dict)
        for run in json.load(file)["runs"]:
            found[run["arm"]][run["seed"]] = run[what]
    return found


if __name__ == "__main__":
    main()
