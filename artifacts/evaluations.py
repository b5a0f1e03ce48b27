"""What evaluations found: proxy evaluations of `eval_logs/` and question answering of `ckpt_tests/`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from artifacts.run import RunDirectory
from duel.errors import RunError
from duel.statistics import Interval, mean_interval


@dataclass(frozen=True)
class ProxyEvaluation:
    """`eval-N.json`: how well held-out images come back, and what fresh prompts earn, after N rounds."""

    rounds_done: int
    similarities: list[float]  # one a held-out image
    adversary_rewards: list[float]  # one a prompt; empty without an adversary
    adversary_similarities: list[float]
    draws_asked: int  # 0 where the file does not say
    draws_made: int


@dataclass(frozen=True)
class CheckpointTest:
    """`ckpt-N.json`: pass@1 of each question at the checkpoint of N rounds."""

    rounds_done: int
    name: str
    pass_at_1: float | None  # None: no answer could be graded
    questions: list[float]  # pass@1 of each that was graded


def read_proxy_evaluations(run: RunDirectory) -> list[ProxyEvaluation]:
    """Return the proxy evaluations by rounds done; raises RunError when one is damaged."""
    found = []
    for path in run.eval_logs.glob("eval-*.json"):
        content = _read(path)
        adversary = content.get("adversary") or {}
        found.append(
            ProxyEvaluation(
                rounds_done=content["round"],
                similarities=_numbers((content.get("base") or {}).get("similarities")),
                adversary_rewards=_numbers(adversary.get("rewards")),
                adversary_similarities=_numbers(adversary.get("similarities")),
                draws_asked=content.get("draws_asked", 0),
                draws_made=content.get("draws_made", 0),
            )
        )
    return sorted(found, key=lambda evaluation: evaluation.rounds_done)


def read_checkpoint_tests(run: RunDirectory) -> list[CheckpointTest]:
    """Return the tests of all checkpoints by rounds done; raises RunError when one is damaged."""
    found = []
    for path in run.checkpoint_tests.glob("ckpt-*.json"):
        content = _read(path)
        found.append(
            CheckpointTest(
                rounds_done=int(path.stem.removeprefix("ckpt-")),
                name=content["checkpoint_name"],
                pass_at_1=content["overall_pass_at_1"],
                questions=_numbers(result["pass_at_1"] for result in content["per_chart_results"]),
            )
        )
    return sorted(found, key=lambda test: test.rounds_done)


def interval(values: Sequence[float]) -> Interval:
    """Return `mean_interval` of the values, computed once for equal ones."""
    return _interval(tuple(values))


@cache
def _interval(values: tuple[float, ...]) -> Interval:
    return mean_interval(values)


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values or [] if value is not None]


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}; remove it and evaluate again") from None
    return content
