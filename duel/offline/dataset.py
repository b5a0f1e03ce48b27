"""The embedded data set: charts with questions, on disk in CharXiv's layout."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from duel.errors import DataError
from duel.offline.charts import Chart, sample_chart
from duel.offline.questions import UNTRAINED, ask
from duel.offline.renderer import encode, render
from duel.randomness import stream
from duel.types import Question

TRAIN_IMAGES, TEST_IMAGES = 75, 25


def sample_dataset(seed: int) -> tuple[list[Chart], list[Chart]]:
    """Return the charts of the train and the test split."""
    charts = [sample_chart(stream(seed, "chart", index)) for index in range(TRAIN_IMAGES + TEST_IMAGES)]
    return charts[:TRAIN_IMAGES], charts[TRAIN_IMAGES:]


def question_list(charts: list[Chart], seed: int) -> list[Question]:
    """Return two to four questions for each test chart; about one in five is of a kind never trained."""
    questions = []
    for index, chart in enumerate(charts, start=TRAIN_IMAGES):
        rng = stream(seed, "questions", index)
        untrained = ask(chart, 1, rng, UNTRAINED) if rng.random() < 0.7 else []
        trained = ask(chart, rng.randint(2, 4) - len(untrained), rng)
        for question in [*trained, *untrained]:
            path = f"test_images/{index:03}.png"
            questions.append(Question(str(index), path, question.text, question.answer(chart), question.category))
    return questions


def write_dataset(directory: Path, seed: int) -> Path:
    """Write the data set of `seed` and return its directory; one that is there already is left as it is.

    Layout: `train_images/000.png` to `074.png`, `test_images/075.png` to `099.png`, `test_data/test_set.json`
    (a list of `duel.types.Question` as objects). Written beside it and renamed, so that it is there whole or
    not at all. Raises DataError when it cannot be written or something else lies in its place.
    """
    if (directory / "test_data" / "test_set.json").is_file():
        return directory
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise DataError(f"{directory} exists and is no Duel data set; name another place or move it away")
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise DataError(f"cannot write the data set to {directory}: {error.strerror}") from error
    try:
        write_files(partial, seed)
        partial.chmod(0o755)
        partial.rename(directory)
    except OSError as error:
        if (directory / "test_data" / "test_set.json").is_file():  # another process was faster
            return directory
        raise DataError(f"cannot write the data set to {directory}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def write_files(directory: Path, seed: int) -> None:
    """Write images and questions into an empty directory."""
    train, test = sample_dataset(seed)
    for folder in ("train_images", "test_images", "test_data"):
        (directory / folder).mkdir()
    for index, chart in enumerate([*train, *test]):
        folder = "train_images" if index < TRAIN_IMAGES else "test_images"
        (directory / folder / f"{index:03}.png").write_bytes(encode(render(chart)))
    questions = [
        {name: value for name, value in asdict(question).items() if value is not None}
        for question in question_list(test, seed)
    ]
    (directory / "test_data" / "test_set.json").write_text(json.dumps(questions, indent=2) + "\n")
