"""Prefect artifacts of a run: progress, last rounds, images, plots, evaluations and spend.

The only module of `artifacts` that imports Prefect. Images are embedded as small data URIs, because the UI cannot show
local files.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from PIL import Image
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from artifacts.evaluation.comparison import Comparison
from artifacts.evaluation.read import Evaluations
from artifacts.evaluation.strata import compare_strata_with_start
from artifacts.evaluation.table import EvaluationRow
from artifacts.pictures import shrink
from artifacts.plots.curves import write_plots
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import TrainingLog
from artifacts.run.round_record import RecordedAttempt, RecordedRound
from artifacts.run.rounds import read_round
from artifacts.text import bracketed, decimals, printable
from duel.statistics import Interval
from duel.types import Spend

ROUNDS = 20  # in the table of the last rounds
THUMBNAIL, PLOT = 144, 720  # pixels
TEXT = 300  # characters shown of a text
ATTEMPTS = 4  # shown of a round: those with the highest and the lowest similarity


def artifact_key(run: str, what: str) -> str:
    """Return an artifact key of the form that Prefect requires: lower-case letters, digits and dashes.

    A run's name that is not of this form gets 6 digits of its hash: run_1, run-1 and Run.1 have different keys.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")
    name = plain if plain == run else f"{plain}-{hashlib.sha256(run.encode()).hexdigest()[:6]}"
    return f"{name}-{what}"


def show_progress(run: RunDirectory, done: int, rounds: int, artifact: UUID | None) -> UUID:
    """Update the progress bar `artifact`, or create one if it is None; return its id."""
    percent = 100.0 * min(done, rounds) / rounds
    description = f"{run.name}: {done} of {rounds} rounds"
    if artifact is not None:
        update_progress_artifact(artifact, progress=percent, description=description)
        return artifact
    created = create_progress_artifact(percent, key=artifact_key(run.name, "progress"), description=description)
    assert isinstance(created, UUID)  # a coroutine only where an event loop runs
    return created


def show_rounds(run: RunDirectory, log: TrainingLog) -> None:
    """Publish the last ROUNDS rounds as a table, latest first; nothing if there are none."""
    metrics = log.metrics
    if metrics.empty:
        return
    columns = [
        "round", "player", "similarity_mean", "reward_mean", "reward_std", "loss", "gradient_norm", "logprob_gap_mean",
        "logprob_gap_max", "divergence", "refused", "skipped_updates",
    ]  # fmt: skip
    rows = [
        {name: _cell(row[name]) for name in columns} for _, row in metrics[columns].iloc[: -ROUNDS - 1 : -1].iterrows()
    ]
    create_table_artifact(rows, key=artifact_key(run.name, "rounds"), description=f"The last rounds of {run.name}")


def show_images(run: RunDirectory) -> None:
    """Publish the last recorded round of each player: drawings, descriptions, reconstructions, similarities."""
    last: dict[str, RecordedRound] = {}
    for index in reversed(run.rounds_recorded()[-ROUNDS:]):
        record = read_round(run, index)
        last.setdefault(record.player, record)
    if last:
        text = "\n\n".join(_round_markdown(run, record) for record in last.values())
        _markdown(run, "images", text)


def show_plots(evaluations: Evaluations, log: TrainingLog, rows: Sequence[EvaluationRow]) -> None:
    """Write the run's plots and publish them."""
    run = evaluations.run
    plots = write_plots(run, log, rows, evaluations)
    if plots:
        text = "\n\n".join(f"![{name}]({_png(path)})" for name, path in plots.items())
        _markdown(run, "plots", text)


def show_strata(evaluations: Evaluations) -> None:
    """Publish similarity and answers on common and hard charts, at the start and now; nothing without strata."""
    found = compare_strata_with_start(evaluations)
    rows = [
        {"charts": stratum.label, **_change("similarity", stratum.similarity), **_change("answers", stratum.answers)}
        for stratum in found
    ]
    if rows:
        run = evaluations.run
        create_table_artifact(
            rows, key=artifact_key(run.name, "strata"), description=f"Charts of {run.name} by stratum"
        )


def _change(what: str, found: Comparison | None) -> dict[str, str]:
    if found is None:
        return {f"{what}, start": "–", f"{what}, now": "–", f"{what}, difference": "–"}
    return {
        f"{what}, start": decimals(found.before_mean),
        f"{what}, now": decimals(found.after_mean),
        f"{what}, difference": bracketed(found.difference, "+"),
    }


def show_evaluations(run: RunDirectory, rows: Sequence[EvaluationRow]) -> None:
    """Publish held-out similarity, adversary's reward and pass@1 of every checkpoint with 95 % intervals."""
    shown = [
        {
            "rounds": row.rounds_done,
            "held-out similarity": _interval(row.similarity),
            "adversary's reward": _interval(row.adversary_reward),
            "canary": _interval(row.canary),
            "pass@1": _interval(row.questions.pass_at_1 if row.questions else None),
            "invalid": row.questions.invalid if row.questions else "–",
            "ungraded": row.questions.ungraded if row.questions else "–",
            "reported": "yes" if row.reported else "",
        }
        for row in rows
    ]
    if shown:
        create_table_artifact(
            shown,
            key=artifact_key(run.name, "evaluations"),
            description=f"{run.name}: means with 95 % intervals over images, prompts, questions",
        )


def show_spend(run: RunDirectory, spend: Spend | None) -> None:
    """Publish what the run's images cost; 0 dollars for `spend` None, as of images drawn on this machine."""
    row = {"service": run.settings.generator.service, "dollars": 0.0, "images billed": 0}
    if spend is not None:
        row |= {"dollars": spend.dollars, "images billed": spend.images, **spend.outcomes}
    create_table_artifact([row], key=artifact_key(run.name, "spend"), description=f"What the images of {run.name} cost")


def _round_markdown(run: RunDirectory, record: RecordedRound) -> str:
    scored = [(attempt.similarity, attempt) for attempt in record.attempts if attempt.similarity is not None]
    attempts = [attempt for _, attempt in sorted(scored, key=lambda found: -found[0])]
    if len(attempts) > ATTEMPTS:
        attempts = attempts[: ATTEMPTS // 2] + attempts[-ATTEMPTS // 2 :]
    directory = run.round_directory(record.round)
    shown = [_attempt_markdown(directory, attempt) for attempt in attempts]
    return "\n\n".join([f"## Round {record.round}, {record.player}", *shown])


def _attempt_markdown(directory: Path, attempt: RecordedAttempt) -> str:
    """Return a table of the two images and, below it, the two texts, which a table's cells would truncate."""
    images = {"drawing": attempt.drawing.file, "reconstruction": attempt.reconstruction.file}
    drawing, redrawn = (f"![{what}]({_jpeg(directory / (file or ''))})" for what, file in images.items())
    return (
        f"| drawing | reconstruction: similarity {decimals(attempt.similarity)} |\n| --- | --- |\n"
        f"| {drawing} | {redrawn} |\n\n"
        f"**Prompt:** {_escape(attempt.prompt)}\n\n**Description:** {_escape(attempt.description)}"
    )


def _markdown(run: RunDirectory, what: str, text: str) -> None:
    create_markdown_artifact(text, key=artifact_key(run.name, what), description=f"{run.name}: {what}")


def _escape(text: str) -> str:
    """Return a model's text, truncated, with all Markdown and HTML characters escaped."""
    shown = printable(text[: TEXT * 4])[:TEXT]
    return re.sub(r"([\\`*_{}\[\]()#+.!|<>&~:@-])", r"\\\1", shown)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return None if value != value else float(f"{value:.4g}")
    return value.item() if hasattr(value, "item") else value


def _interval(found: Interval | None) -> str:
    return "–" if found is None else bracketed(found)


def _jpeg(path: Path) -> str:
    return _data_uri(shrink(path, THUMBNAIL), "JPEG", quality=80)


def _png(path: Path) -> str:
    return _data_uri(shrink(path, PLOT).quantize(64), "PNG", optimize=True)


def _data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
