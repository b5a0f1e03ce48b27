"""Writes and reads a round's directory: images as files, texts and numbers as JSON, and a PDF."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from pathlib import Path

from artifacts.run import files
from artifacts.run.directory import RunDirectory
from artifacts.run.records import read_record, write_record
from artifacts.run.round_record import RecordedGroup, RecordedRound, as_attempt, record_attempt
from duel.types import Attempt, Drawing, DrawnImage, Group, Player, RoundRecord

ReadImage = Callable[[Drawing], DrawnImage]
WritePdf = Callable[[Path, RecordedRound, Path], None]  # the PDF's path, the record, the directory of the images
SUFFIXES = {"image/jpeg": ".jpg", "image/webp": ".webp", "image/png": ".png"}


def write_round(run: RunDirectory, record: RoundRecord, read_image: ReadImage, write_pdf: WritePdf) -> Path:
    """Write the round's directory atomically and return it.

    `read_image` returns the image of a drawing, whose bytes are written unchanged; `write_pdf` writes round.pdf.
    """
    path = run.round_directory(record.round)
    with files.new_directory(path, durable=False) as directory:
        groups = [_write_group(directory, number, group, read_image) for number, group in enumerate(record.groups)]
        recorded = RecordedRound(
            record.round, record.player, record.draws_asked, record.update, groups, record.past_adversary
        )
        write_record(directory / "record.json", recorded)
        write_pdf(directory / "round.pdf", recorded, directory)
    return path


def read_round(run: RunDirectory, index: int) -> RecordedRound:
    """Return a round's record.json. Raises RunError when it is missing, damaged, or has an unsupported schema."""
    return read_record(run.round_directory(index) / "record.json", RecordedRound)


def _write_group(directory: Path, number: int, group: Group, read_image: ReadImage) -> RecordedGroup:
    """Write a group's images and return its record; a drawing shared by the whole group is one file."""
    shared = len({attempt.original for attempt in group.attempts}) == 1
    attempts = []
    for place, (completion, attempt) in enumerate(zip(group.completions, group.attempts, strict=True)):
        drawing = f"group-{number}-drawing" if shared else f"group-{number}-drawing-{place}"
        drawn = _write_image(directory, drawing, attempt.original, read_image)
        redrawn = _write_image(directory, f"group-{number}-reconstruction-{place}", attempt.reconstruction, read_image)
        attempts.append(record_attempt(completion, attempt, drawn, redrawn))
    return RecordedGroup(attempts)


def _write_image(directory: Path, name: str, drawing: Drawing, read_image: ReadImage) -> str | None:
    if drawing.key is None:
        return None
    image = read_image(drawing)
    suffix = SUFFIXES.get(image.media_type) or mimetypes.guess_extension(image.media_type) or ".bin"
    path = directory / (name + suffix)
    if not path.exists():  # a shared drawing is written once
        path.write_bytes(image.data)
    return path.name


def read_attempts(run: RunDirectory, index: int) -> tuple[Player, list[list[Attempt]]]:
    """Return who trained in a recorded round, and its groups of attempts. Raises RunError if the record is damaged."""
    recorded = read_round(run, index)
    groups = [[as_attempt(attempt) for attempt in group.attempts] for group in recorded.groups]
    return recorded.player, groups
