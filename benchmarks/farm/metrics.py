"""What is logged of a round."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchmarks.farm.model import MOST_TOKENS
from benchmarks.farm.runs import Described, Run
from duel.offline.reading import asked_for
from duel.offline.strata import HARD, hard_content


def adversary_metrics(run: Run, work: list[Described], ceilings: list[float]) -> dict[str, Any]:
    """Return means over the prompts of a round, and the number of drawings in the replay pool.

    ceiling: self-similarity of the prompts; invalid: share below the gate; regret: ceiling - mean similarity;
    unpinnable: share that ask for a texture; hard_*: share that ask for each sort of hard content.
    """
    count = len(work)
    asked = [asked_for(one.prompt) for one in work]
    hard = [hard_content(attributes) for attributes in asked]
    return {
        "ceiling": sum(ceilings) / count,
        "invalid": sum(ceiling < run.arm.gate for ceiling in ceilings) / count,
        "regret": sum(ceiling - one.mean for one, ceiling in zip(work, ceilings, strict=True)) / count,
        "unpinnable": sum("texture" in attributes for attributes in asked) / count,
        "distinct": len({one.prompt for one in work}) / count,
        "any_hard": sum(map(bool, hard)) / count,
        **{f"hard_{sort}": sum(sort in found for found in hard) / count for sort in HARD},
        "pool": len(run.pool.drawings),
    }


def length_metrics(lengths: Tensor) -> dict[str, float]:
    """Return the mean length of a round's descriptions, and the share that were unfinished at the limit (length 0)."""
    unfinished = lengths == 0
    return {
        "length": float(lengths.masked_fill(unfinished, MOST_TOKENS).float().mean()),
        "unfinished": float(unfinished.float().mean()),
    }
