"""metrics.jsonl, one reproducible row per round, and timings.jsonl for durations and cache-dependent counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd

from artifacts.run import jsonl
from artifacts.run.directory import RunDirectory
from duel.types import Attempt, Group, InvalidReason, RoundRecord

INVALID_REASONS: tuple[InvalidReason, ...] = get_args(InvalidReason)


def round_metrics(record: RoundRecord) -> dict[str, Any]:
    """Return the row of one round; a mean over nothing is None.

    `reward_std` is the standard deviation (divisor n) over all rewards of the round; `refused` counts the
    attempts whose drawing or reconstruction was refused; `finished` is the share of completions that the
    model ended itself; `completion_tokens_mean` counts the end token.
    """
    attempts = [attempt for group in record.groups for attempt in group.attempts]
    completions = [completion for group in record.groups for completion in group.completions]
    rewards = [attempt.reward for attempt in attempts if attempt.reward is not None]
    similarities = [attempt.similarity for attempt in attempts if attempt.similarity is not None]
    ceilings = [attempt.ceiling for attempt in attempts if attempt.ceiling is not None]
    refused = sum(
        attempt.original.refusal is not None or attempt.reconstruction.refusal is not None for attempt in attempts
    )
    return {
        "round": record.round,
        "player": record.player,
        "past_adversary": record.past_adversary,
        "reward_mean": _mean(rewards),
        "reward_std": _std(rewards),
        "similarity_mean": _mean(similarities),
        "ceiling_mean": _mean(ceilings),
        **_prompt_metrics(attempts),
        "distinct_clusters": _mean([float(len(found)) for found in map(_clusters, record.groups) if found]),
        "replay_age_mean": _mean(_replay_ages(attempts)),
        "loss": record.update.loss,
        "gradient_norm": record.update.gradient_norm,
        "logprob_gap_mean": record.update.logprob_gap_mean,
        "logprob_gap_max": record.update.logprob_gap_max,
        "divergence": record.update.divergence,
        "anchor_divergence": record.update.anchor_divergence,
        "completion_tokens_mean": _mean([float(len(completion.tokens)) for completion in completions]),
        "finished": _mean([float(completion.finished) for completion in completions]),
        "groups": record.update.groups,
        "skipped_groups": record.update.skipped_groups,
        "refused": refused,
        "draws_asked": record.draws_asked,
        "optimizer_steps": record.update.optimizer_steps,
        "skipped_updates": record.update.skipped_updates,
    }


def _prompt_metrics(attempts: Sequence[Attempt]) -> dict[str, float | None]:
    """Return what each reward would give an adversary's prompts, and shares of invalid ones; None in other rounds.

    Each reward is measured whichever trains, over the prompts that have it.
    """
    parts = [attempt.parts for attempt in attempts if attempt.parts is not None]
    pairs = [(attempt.similarity, attempt.ceiling) for attempt in attempts if attempt.parts is not None]
    return {
        "plain_mean": _mean([1 - similarity for similarity, _ in pairs if similarity is not None]),
        "regret_mean": _mean(
            [ceiling - similarity for similarity, ceiling in pairs if similarity is not None and ceiling is not None]
        ),
        "learnability_mean": _mean([part.learnability for part in parts if part.learnability is not None]),
        **{f"invalid_{reason}": _mean([float(p.invalid == reason) for p in parts]) for reason in INVALID_REASONS},
        "self_similarity_mean": _mean([part.self_similarity for part in parts if part.self_similarity is not None]),
        "diversity_penalty_mean": _mean([part.penalty for part in parts]),
        "nearness_mean": _mean([part.nearness for part in parts if part.nearness is not None]),
    }


def _clusters(group: Group) -> set[int]:
    """Return the clusters of near-duplicates in a group of prompts; none in a round of another player."""
    parts = [attempt.parts for attempt in group.attempts if attempt.parts is not None]
    return {part.cluster for part in parts if part.cluster is not None}


def _replay_ages(attempts: Sequence[Attempt]) -> list[float]:
    """Return the ages of the drawings that are described again, each once."""
    ages = {attempt.original.key: attempt.original.replay_age for attempt in attempts}
    return [float(age) for age in ages.values() if age is not None]


def has_metrics(run: RunDirectory, record: RoundRecord) -> bool:
    """Return whether an identical row of the round exists, as after the replay of a recorded round."""
    return round_metrics(record) in jsonl.read_rows(run.metrics)


def append_metrics(run: RunDirectory, record: RoundRecord) -> None:
    """Append the round's row, after removing rows of this round and of later ones."""
    jsonl.keep_rows(run.metrics, before=record.round)
    jsonl.append_row(run.metrics, round_metrics(record))


def append_timings(run: RunDirectory, index: int, seconds: Mapping[str, float], draws_made: int) -> None:
    """Append a row about round `index`: seconds by stage, and images drawn for it rather than found in the store.

    A round repeated after a kill may have two rows. Their durations add up, but `draws_made` of the second includes the
    images drawn by the first.
    """
    row = {"round": index, "draws_made": draws_made, "seconds": dict(seconds)}
    jsonl.append_row(run.timings, row)


@dataclass(frozen=True)
class TrainingLog:
    """Both tables of a run, read once for summaries, plots and reports."""

    metrics: pd.DataFrame  # from `read_metrics`
    timings: pd.DataFrame  # from `read_timings`

    @property
    def draws_asked(self) -> int:
        """How many images the training rounds asked for, drawn or found in the store; evaluations are not counted."""
        return 0 if self.metrics.empty else int(self.metrics["draws_asked"].sum())


def read_training_log(run: RunDirectory) -> TrainingLog:
    """Read metrics.jsonl and timings.jsonl. Raises RunError when one is damaged."""
    return TrainingLog(read_metrics(run), read_timings(run))


def read_metrics(run: RunDirectory) -> pd.DataFrame:
    """Return metrics.jsonl, one row per round."""
    return jsonl.read_frame(run.metrics)


def read_timings(run: RunDirectory) -> pd.DataFrame:
    """Return timings.jsonl with a column `seconds.<stage>` for each stage."""
    return pd.json_normalize(jsonl.read_rows(run.timings))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _std(values: Sequence[float]) -> float | None:
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
