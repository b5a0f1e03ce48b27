"""Prints the tables of docs/adversary.md from the files in docs/data (`summarise.py` writes them).

python -m benchmarks.farm.tables docs/data
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.farm.intervals import at_draws, draws_until, paired_difference
from benchmarks.farm.results import HARD_STRATA, Row, hard_mean, read_table
from benchmarks.farm.summarise import DRAWS, TABLE, read_charts
from duel.offline.strata import STRATA

MAIN = ("none", "plain", "frozen", "frozen_warm", "frozen_plr", "regret", "duel", "upper")
RIVALS = tuple(("duel", rival) for rival in ("none", "plain", "frozen", "frozen_warm", "frozen_plr", "upper"))
PARTS = tuple(("duel", arm) for arm in ("regret", "duel_cold", "duel_nogate", "duel_kl00", "duel_alt", "duel_short"))
FEW = (
    *[("duel16", rival) for rival in ("none16", "frozen16")],
    *[("duel4", rival) for rival in ("none4", "frozen4")],
)
MEASURES = (  # heading, file, strata
    ("hard strata", "similarity", HARD_STRATA),
    ("hard in every way", "similarity", ("all",)),
    ("common", "similarity", ("common",)),
    ("answers after a description, hard", "reasoned", HARD_STRATA),
    ("answers at once, hard", "answers", HARD_STRATA),
    ("canary", "answers", ("common",)),
)
BUDGETS = (0, 1000, 2000, 3000, 4000, 6000)  # draws
ROUNDS = (75, 150, 225, 300)  # upper bounds of the rounds averaged in `print_prompts`
Runs = dict[str, dict[float, list[Row]]]  # arm -> seed -> rows by evaluation


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/data")
    runs: Runs = defaultdict(lambda: defaultdict(list))
    for row in read_table(folder / TABLE):
        runs[row["arm"]][row["seed"]].append(row)
    print(f"## Differences after {DRAWS:,} draws\n")
    print_differences(folder, RIVALS)
    print("\n## Parts of the recipe\n")
    print_differences(folder, PARTS)
    print("\n## Few images\n")
    print_differences(folder, FEW)
    print(f"\n## Values after {DRAWS:,} draws\n")
    print_values(runs, MAIN)
    print("\n## Hard similarity by draws\n")
    print_by_draws(runs, MAIN)
    print("\n## The base's stability, at the end\n")
    print_stability(runs)
    print("\n## Prompts\n")
    print_prompts(runs, ("frozen_warm", "plain", "duel_nogate", "duel_kl00", "duel"))
    print(f"\n## All arms after {DRAWS:,} draws\n")
    print_values(runs, sorted(runs))


def print_row(cells: Iterable[object]) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_head(*headings: str) -> None:
    print_row(headings)
    print_row("---" for _ in headings)


def print_differences(folder: Path, pairs: Sequence[tuple[str, str]]) -> None:
    """Print paired differences between arms, with intervals over seeds and charts."""
    charts = {what: read_charts(folder, what) for what in ("similarity", "answers", "reasoned")}
    print_head("difference", "seeds", *(heading for heading, _, _ in MEASURES))
    for one, other in pairs:
        if one not in charts["similarity"] or other not in charts["similarity"]:
            continue
        seeds = set(charts["similarity"][one]) & set(charts["similarity"][other])
        found = [paired_difference(charts[what][one], charts[what][other], strata) for _, what, strata in MEASURES]
        cells = [f"{each.mean:+.3f} [{each.low:+.3f}, {each.high:+.3f}]".replace("-", "−") for each in found]
        print_row([f"{one} − {other}", len(seeds), *cells])


def print_values(runs: Runs, arms: Iterable[str]) -> None:
    """Print means over seeds after so many draws; runs that never paid as many show their last values."""
    strata = [f"similarity_{stratum}" for stratum in STRATA]
    print_head(
        "arm",
        "seeds",
        "rounds",
        "draws at the end",
        "hard",
        *STRATA,
        "answers after a description",
        "at once",
        "draws until .95",
    )
    for arm in arms:
        seeds = list(runs[arm].values()) if arm in runs else []
        if not seeds:
            continue
        means = [mean_at(seeds, lambda row, key=key: row[key]) for key in strata]  # type: ignore[misc]
        hard = mean_at(seeds, lambda row: hard_mean(row, "similarity"))
        answers = [mean_at(seeds, lambda row, how=how: hard_mean(row, how)) for how in ("reasoned", "answers")]  # type: ignore[misc]
        until = draws_until(seeds, 0.95, lambda row: hard_mean(row, "similarity"))
        print_row(
            [
                arm,
                len(seeds),
                f"{min(rows[-1]['round'] for rows in seeds):.0f}",
                f"{fmean(rows[-1]['draws'] for rows in seeds):,.0f}",
                *(f"{value:.3f}" for value in (hard, *means, *answers)),
                "never" if until is None else f"{until:,.0f}",
            ]
        )


def mean_at(seeds: Iterable[list[Row]], value: Callable[[Row], float], draws: float = DRAWS) -> float:
    """Return a value after so many draws, mean over seeds."""
    return fmean(float(at_draws(rows, draws, lambda row: np.array(value(row)))) for rows in seeds)


def print_by_draws(runs: Runs, arms: Iterable[str]) -> None:
    """Print hard similarity after more and more draws, means over seeds."""
    print_head("arm", *(f"{draws:,}" for draws in BUDGETS))
    for arm in arms:
        if arm in runs:
            found = [mean_at(runs[arm].values(), lambda row: hard_mean(row, "similarity"), draws) for draws in BUDGETS]
            print_row([arm, *(f"{value:.3f}" for value in found)])


def print_stability(runs: Runs) -> None:
    """Print what became of the base's abilities: the canary, unfinished descriptions, their length."""
    print_head("arm", "seeds", "rounds", "hard", "common", "canary, lowest", "unfinished, last", "length, last")
    for arm in (*(name for name in runs if name.startswith("none")), "frozen_plr", "duel", "duel_short"):
        if arm not in runs:
            continue
        seeds = list(runs[arm].values())
        lowest = min(row["answers_common"] for rows in seeds for row in rows)
        last = [rows[-1] for rows in seeds]
        values = (
            fmean(hard_mean(row, "similarity") for row in last),
            fmean(row["similarity_common"] for row in last),
            lowest,
            fmean(row["unfinished"] for row in last),
        )
        rounds = f"{min(row['round'] for row in last):.0f}"
        length = f"{fmean(row['length'] for row in last):.0f}"
        print_row([arm, len(seeds), rounds, *(f"{value:.3f}" for value in values), length])


def print_prompts(runs: Runs, arms: Iterable[str]) -> None:
    """Print what adversaries ask for: shares of prompts, means over seeds and the rounds before an evaluation."""
    columns = ("ceiling", "unpinnable", "any_hard", *(f"hard_{s}" for s in HARD_STRATA[:-1]), "distinct")
    print_head("arm", "rounds up to", *columns)
    for arm in arms:
        if arm not in runs:
            continue
        for least in ROUNDS:
            rows = [
                next((r for r in seed if r["round"] >= least and "ceiling" in r), None) for seed in runs[arm].values()
            ]
            known = [row for row in rows if row is not None]
            if known:
                upto = fmean(row["round"] for row in known)
                print_row([arm, f"{upto:.0f}", *(f"{fmean(row[c] for row in known):.2f}" for c in columns)])


if __name__ == "__main__":
    main()
