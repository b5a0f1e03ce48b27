"""Data sets on disk: CharXiv's layout (`train_images/`, `test_images/`, `test_data/test_set.json`), or any folder.

CharXiv's layout may have strata, `strata_images/NAME/`: further held-out images, evaluated separately by NAME.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from random import Random

from duel.errors import DataError
from duel.images import decode_image, read_image_file
from duel.types import Question

SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
SPLIT_SEED = 7111994  # the reference experiment's


@dataclass(frozen=True)
class Dataset:
    """Training and held-out image files, and questions about the held-out charts (none for a plain folder)."""

    root: Path
    train_images: list[Path]
    test_images: list[Path]
    questions: list[Question]
    strata: dict[str, list[Path]] = field(default_factory=dict)  # further held-out image files, by stratum


def open_layout(root: Path, train_images: int, test_images: int) -> Dataset:
    """Open a data set in CharXiv's layout, and keep the first images of each split.

    Raises DataError naming what is missing or broken.
    """
    train = list_images(root / "train_images")
    test = list_images(root / "test_images")
    _check_enough(root / "train_images", len(train), train_images, "data.train_images")
    _check_enough(root / "test_images", len(test), test_images, "data.test_images")
    train, test = train[:train_images], test[:test_images]
    folders = sorted(path for path in (root / "strata_images").glob("*") if path.is_dir())
    strata = {folder.name: list_images(folder) for folder in folders}
    _check_disjoint(train, [*test, *(path for paths in strata.values() for path in paths)])
    return Dataset(root, train, test, read_questions(root / "test_data" / "test_set.json"), strata)


def open_folder(root: Path, train_images: int, test_images: int) -> Dataset:
    """Open any folder of images: a fixed random sample, split into training and held-out images, without questions.

    Files of equal content count once, under the first of their names, so that none is in both splits.
    Raises DataError when the folder is missing, holds too few images, or a sampled image does not decode.
    """
    found = sorted({digest_of(path): path for path in reversed(list_images(root))}.values())
    wanted = train_images + test_images
    _check_enough(root, len(found), wanted, "data.train_images and data.test_images")
    sample = Random(SPLIT_SEED).sample(found, wanted)
    for path in sample:
        check_image(path)
    return Dataset(root, sample[:train_images], sample[train_images:], [])


def list_images(folder: Path) -> list[Path]:
    """Return a folder's image files (by suffix, hidden files left out), sorted. Raises DataError without the folder."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: expected a folder of images; check data.path or run `duel prepare`")
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def digest_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_image(path: Path) -> None:
    """Decode an image completely. Raises DataError naming the file when that fails."""
    try:
        decode_image(read_image_file(path))
    except DataError as error:
        raise DataError(f"broken image {path}: {error}; remove or replace it") from None


def read_questions(path: Path) -> list[Question]:
    """Read a JSON list of questions. Raises DataError when the file is missing or has another form."""
    names = [field.name for field in fields(Question)]
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Question(**{name: row[name] for name in names if name in row}) for row in rows]
    except FileNotFoundError:
        raise DataError(f"no test set {path}: run `duel prepare` again") from None
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise DataError(f"bad test set {path}: {error!r}; expected a list of objects with {', '.join(names)}") from None


def question_row(question: Question) -> dict[str, str | int]:
    """Return a question as in `test_set.json`: without the fields that are None."""
    return {name: value for name, value in asdict(question).items() if value is not None}


def question_fields(question: Question) -> dict[str, str | int | None]:
    """Return a question's fields for a digest; without `stratum` if that is None, as before there were strata."""
    found = asdict(question)
    return found if question.stratum is not None else {name: found[name] for name in found if name != "stratum"}


def first_charts(questions: Sequence[Question], charts: int | None) -> list[Question]:
    """Return the questions about the first `charts` charts, in the order of the test set; None: about all."""
    figures = list(dict.fromkeys(question.figure_id for question in questions))[:charts]
    return [question for question in questions if question.figure_id in set(figures)]


def first_of_strata(questions: Sequence[Question], charts: int | None) -> list[Question]:
    """Return the questions about the first `charts` charts of each stratum; None: about all."""
    strata = dict.fromkeys(question.stratum for question in questions if question.stratum is not None)
    return [
        question
        for stratum in strata
        for question in first_charts([question for question in questions if question.stratum == stratum], charts)
    ]


def set_aside(questions: Sequence[Question], charts: int) -> tuple[list[Question], list[Question]]:
    """Split questions by chart: (about all but the last `charts` charts of the test set, about the last ones).

    Raises DataError when the first part would be empty.
    """
    figures = list(dict.fromkeys(question.figure_id for question in questions))
    if charts and charts >= len(figures):
        raise DataError(
            f"the test set has questions about {len(figures)} charts, expected more than the {charts} that "
            "evaluation.development_charts sets aside"
        )
    apart = set(figures[len(figures) - charts :])
    others = [question for question in questions if question.figure_id not in apart]
    return others, [question for question in questions if question.figure_id in apart]


def _check_disjoint(train: Sequence[Path], test: Sequence[Path]) -> None:
    held_out = {digest_of(path): path for path in test}
    for path in train:
        twin = held_out.get(digest_of(path))
        if twin is not None:
            raise DataError(f"{path} and {twin} are the same image, on both sides of the split; remove one of them")


def _check_enough(folder: Path, found: int, wanted: int, setting: str) -> None:
    if found < wanted:
        raise DataError(
            f"{folder} holds {found} different images, expected at least {wanted}; add images or lower {setting}"
        )


def of_kind(questions: Sequence[Question], wanted: str) -> list[Question]:
    """Return only the `reasoning` or only the `descriptive` questions, or `both`, in their order."""
    return [question for question in questions if wanted in (question.kind, "both")]
