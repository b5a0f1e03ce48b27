"""What a round leaves behind for people: its images as files, its texts and numbers as JSON, and a PDF."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artifacts.run import files
from artifacts.run.directory import RunDirectory
from duel.errors import RunError
from duel.types import Attempt, Completion, Drawing, DrawnImage, Group, RoundRecord

ReadImage = Callable[[Drawing], DrawnImage]
WritePdf = Callable[[Path, dict[str, Any], Path], None]  # the file, record.json's content, where the images lie
SUFFIXES = {"image/jpeg": ".jpg", "image/webp": ".webp", "image/png": ".png"}


def write_round(run: RunDirectory, record: RoundRecord, read_image: ReadImage, write_pdf: WritePdf) -> Path:
    """Write the round's directory, whole or not at all, and return it.

    `read_image` gives the image of a drawing; the files hold its bytes unchanged. `write_pdf` draws round.pdf.
    """
    path = run.round_directory(record.round)
    with files.new_directory(path, durable=False) as directory:
        groups = [_write_group(directory, number, group, read_image) for number, group in enumerate(record.groups)]
        content = _round_json(record, groups)
        files.write_json(directory / "record.json", content)
        write_pdf(directory / "round.pdf", content, directory)
    return path


def read_round(run: RunDirectory, index: int) -> dict[str, Any]:
    """Return record.json of a round; raises RunError when it is missing or damaged."""
    file = run.round_directory(index) / "record.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {file}: {error}; the round was not recorded whole, resume the run") from None
    return content


def _round_json(record: RoundRecord, groups: list[dict[str, Any]]) -> dict[str, Any]:
    update = record.update
    return {
        "round": record.round,
        "player": record.player,
        "draws_asked": record.draws_asked,
        "update": {
            "loss": update.loss,
            "gradient_norm": update.gradient_norm,
            "groups": update.groups,
            "skipped_groups": update.skipped_groups,
            "rounds_learned": update.rounds_learned,
            "optimizer_steps": update.optimizer_steps,
        },
        "groups": groups,
    }


def _write_group(directory: Path, number: int, group: Group, read_image: ReadImage) -> dict[str, Any]:
    """Write a group's images: one drawing for all its descriptions, or one for each prompt."""
    shared = len({attempt.original for attempt in group.attempts}) == 1
    attempts = []
    for place, (completion, attempt) in enumerate(zip(group.completions, group.attempts, strict=True)):
        drawing = f"group-{number}-drawing" if shared else f"group-{number}-drawing-{place}"
        drawn = _write_image(directory, drawing, attempt.original, read_image)
        redrawn = _write_image(directory, f"group-{number}-reconstruction-{place}", attempt.reconstruction, read_image)
        attempts.append(_attempt_json(completion, attempt, drawn, redrawn))
    return {"attempts": attempts}


def _attempt_json(completion: Completion, attempt: Attempt, drawn: str | None, redrawn: str | None) -> dict[str, Any]:
    return {
        "prompt": attempt.original.text,
        "drawing": _drawing_json(attempt.original, drawn),
        "description": attempt.reconstruction.text,
        "reconstruction": _drawing_json(attempt.reconstruction, redrawn),
        "similarity": attempt.similarity,
        "reward": attempt.reward,
        "tokens": len(completion.tokens),
        "finished": completion.finished,
    }


def _drawing_json(drawing: Drawing, file: str | None) -> dict[str, Any]:
    return {"key": drawing.key, "seed": drawing.seed, "file": file, "refusal": drawing.refusal}


def _write_image(directory: Path, name: str, drawing: Drawing, read_image: ReadImage) -> str | None:
    if drawing.key is None:
        return None
    image = read_image(drawing)
    suffix = SUFFIXES.get(image.media_type) or mimetypes.guess_extension(image.media_type) or ".bin"
    path = directory / (name + suffix)
    if not path.exists():  # a drawing that its whole group shares
        path.write_bytes(image.data)
    return path.name
