"""Files of results: everything measured (`*.json.gz`), and a table with one row per run and evaluation (`*.csv`)."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.farm.runs import Run
from duel.offline.strata import HARD, STRATA

PURPOSES = ("drawings", "ceilings", "descriptions")  # of draws
HARD_STRATA = STRATA[1:]
ROUND_COLUMNS = (  # means over the rounds since the evaluation before
    "length",
    "unfinished",
    "ceiling",
    "invalid",
    "regret",
    "unpinnable",
    "distinct",
    "any_hard",
    *(f"hard_{sort}" for sort in HARD),
)
COLUMNS = (
    *("arm", "seed", "round", "draws", *PURPOSES, "seconds"),
    *(f"similarity_{stratum}" for stratum in STRATA),
    *(f"answers_{stratum}" for stratum in STRATA),
    *(f"reasoned_{stratum}" for stratum in STRATA),
    *ROUND_COLUMNS,
)
Row = dict[str, Any]


def write_runs(runs: Sequence[Run], path: Path) -> None:
    """Write everything that the runs measured."""
    data = [
        {
            "name": run.name,
            "seed": run.seed,
            "arm": asdict(run.arm),
            "rounds": [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in run.rounds],
            "evaluations": run.evaluations,
            "spent": dict(run.spent),
        }
        for run in runs
    ]
    temporary = path.with_suffix(".tmp")
    with gzip.open(temporary, "wt", compresslevel=4) as file:
        json.dump({"runs": data}, file, separators=(",", ":"))
    temporary.replace(path)


def read_runs(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the runs of several files, each with its share of the wall time of its process."""
    found = []
    for path in paths:
        with gzip.open(path, "rt") as file:
            runs = json.load(file)["runs"]
        found += [run | {"share": 1 / len(runs)} for run in runs]
    return found


def evaluation_rows(run: Mapping[str, Any]) -> list[Row]:
    """Return one row of `COLUMNS` per evaluation of a run; spending by purpose is known at the last only."""
    rows, since = [], 0
    for evaluation in run["evaluations"]:
        row: Row = {key: evaluation[key] for key in ("round", "draws")}
        row |= {"arm": run["name"], "seed": run["seed"], "seconds": round(evaluation["seconds"] * run["share"], 1)}
        for stratum in STRATA:
            row[f"similarity_{stratum}"] = round(fmean(evaluation["similarity"][stratum]), 4)
            for how in ("answers", "reasoned"):
                row[f"{how}_{stratum}"] = round(fmean(answers_by_chart(evaluation, stratum, how)), 4)
        played = [row for row in run["rounds"] if since <= row["round"] < evaluation["round"]]
        for column in ROUND_COLUMNS:
            known = [row[column] for row in played if column in row]
            row[column] = round(fmean(known), 3) if known else ""
        since = evaluation["round"]
        rows.append(row)
    rows[-1] |= {purpose: run["spent"].get(purpose, 0) for purpose in PURPOSES}
    return rows


def answers_by_chart(evaluation: Mapping[str, Any], stratum: str, how: str) -> list[float]:
    """Return each chart's share of right answers, mean over the questions of its stratum.

    `how`: `answers` for those given at once, `reasoned` for those after a description.
    """
    of_question = [row for key, row in evaluation[how].items() if key.startswith(f"{stratum}:")]
    return [fmean(shares) for shares in zip(*of_question, strict=True)]


def write_table(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read_table(path: Path) -> list[Row]:
    """Return the rows of a table, numbers as numbers, empty cells left out."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: value if key == "arm" else float(value) for key, value in row.items() if value != ""}
            for row in csv.DictReader(file)
        ]


def hard_mean(row: Row, what: str) -> float:
    """Return the mean over the hard strata of `similarity`, `answers` or `reasoned`."""
    return fmean([row[f"{what}_{stratum}"] for stratum in HARD_STRATA])


def print_progress(runs: Sequence[Run], index: int, seconds: float) -> None:
    """Print one line per arm, means over its seeds."""
    print(f"round {index}, {seconds:.0f} s", flush=True)
    for name in dict.fromkeys(run.name for run in runs):
        measured = [
            evaluation_rows({**vars(run), "rounds": [], "share": 1, "evaluations": run.evaluations[-1:]})[0]
            for run in runs
            if run.name == name
        ]
        draws, common = (fmean([row[key] for row in measured]) for key in ("draws", "similarity_common"))
        hard, answers, reasoned = (
            fmean([hard_mean(row, what) for row in measured]) for what in ("similarity", "answers", "reasoned")
        )
        print(
            f"  {name:16} draws {draws:6.0f}  similarity: common {common:.3f} hard {hard:.3f}  "
            f"answers: {answers:.3f} reasoned {reasoned:.3f}"
        )
