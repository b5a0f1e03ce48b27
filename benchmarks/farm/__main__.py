"""Which adversary is worth its draws? Trains many runs of the duel side by side in one process.

    python -m benchmarks.farm --arms none:0-4 duel:0-4 --rounds 450 --out farm-results

An arm is a recipe (`arms.py`), a run is an arm with a seed. All runs go round by round together. On an H100, 60 runs
of 450 rounds take 7 minutes; on two CPU cores count 1 to 2 seconds a round and run. `tables.py` makes tables of what
this writes, `check.py` compares the arithmetic with `duel.policies`; docs/adversary.md says what came out.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import torch

from benchmarks.farm.arms import ARMS, arms_named
from benchmarks.farm.charts import ChartImages
from benchmarks.farm.evaluate import Evaluation
from benchmarks.farm.game import Farm
from benchmarks.farm.model import StackedModel
from benchmarks.farm.results import print_progress, write_runs
from duel.devices import choose_device
from duel.offline.pretraining.models import VLM_FOLDER


def main() -> None:
    """Train all runs, evaluate them every so many rounds, and write what was measured."""
    options = parse_options()
    started = time.monotonic()
    images = ChartImages(options.workers)  # forks, so before CUDA is used
    torch.set_float32_matmul_precision("high")
    model = StackedModel(options.vlm, torch.device(options.device) if options.device else choose_device("auto"))
    images.load(model)
    farm = Farm(arms_named(options.arms), images, model)
    evaluation = Evaluation(farm, options.charts)
    path = options.out / f"{options.name}.json.gz"
    options.out.mkdir(parents=True, exist_ok=True)
    playing, longest = 0.0, 0.0
    for index in range(options.rounds + 1):
        spent = time.monotonic() - started + 1.5 * longest
        is_last = index == options.rounds or spent > options.seconds
        before = time.monotonic()
        if is_last or index % options.every == 0:
            evaluation.evaluate(index, playing)
            write_runs(farm.runs, path)
            longest = max(longest, time.monotonic() - before)
            print_progress(farm.runs, index, time.monotonic() - started)
        if is_last:
            break
        before = time.monotonic()
        farm.play_round(index)
        playing += time.monotonic() - before
    images.close()


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", required=True, help=f"name:seed or name:first-last, of {', '.join(ARMS)}")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--every", type=int, default=40, help="rounds between two evaluations")
    parser.add_argument("--charts", type=int, default=48, help="held-out charts of each stratum")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long, evaluated and written")
    parser.add_argument("--vlm", type=Path, default=VLM_FOLDER, help="folder of the base; default: the embedded one")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that draw")
    parser.add_argument("--device", default="", help="cpu or cuda; default: CUDA where there is a GPU")
    parser.add_argument("--out", type=Path, default=Path("farm-results"))
    parser.add_argument("--name", default="runs", help="the file is NAME.json.gz")
    return parser.parse_args()


if __name__ == "__main__":
    main()
