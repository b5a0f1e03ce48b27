"""The embedded data set: charts with questions, on disk in CharXiv's layout, with strata of further held-out charts."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duel.data.dataset import question_row
from duel.errors import DataError
from duel.offline.charts import Chart, sample_chart
from duel.offline.questions import UNTRAINED, ask, questions_about
from duel.offline.renderer import encode, render
from duel.offline.strata import STRATA, harden, sample_stratum
from duel.randomness import stream
from duel.types import Question

TRAIN_IMAGES, TEST_IMAGES, STRATUM_IMAGES = 75, 25, 100
STRATUM_QUESTIONS = 3  # about a chart, at most

# The hard content in the train and test splits, and the number of charts with each sort; all other sorts are absent.
SHOWN = ("kind", "colour", "series", "values")
SHOWN_NAMES = {"kind": ("step",), "colour": ("brown",), "background": ("sky",)}
SHOWN_IN_TRAIN, SHOWN_IN_TEST = 2, 1


@dataclass(frozen=True)
class Sample:
    """All charts of a data set; no two are equal."""

    train: list[Chart]
    test: list[Chart]
    strata: dict[str, list[Chart]]


def sample_dataset(seed: int) -> Sample:
    """Return the charts of the data set of `seed`."""
    rng = stream(seed, "shown")
    train = rng.sample(range(TRAIN_IMAGES), SHOWN_IN_TRAIN * len(SHOWN))
    test = rng.sample(range(TRAIN_IMAGES, TRAIN_IMAGES + TEST_IMAGES), SHOWN_IN_TEST * len(SHOWN))
    shown = dict(zip([*train, *test], SHOWN * (SHOWN_IN_TRAIN + SHOWN_IN_TEST), strict=True))
    taken: set[Chart] = set()
    charts = [
        another(taken, dataset_chart, stream(seed, "chart", index), shown.get(index))
        for index in range(TRAIN_IMAGES + TEST_IMAGES)
    ]
    strata = {
        stratum: [
            another(taken, sample_stratum, stream(seed, "stratum", stratum, index), stratum)
            for index in range(STRATUM_IMAGES)
        ]
        for stratum in STRATA
    }
    return Sample(charts[:TRAIN_IMAGES], charts[TRAIN_IMAGES:], strata)


def dataset_chart(rng: random.Random, shown: str | None) -> Chart:
    """Sample a chart of the train or test split: common content, and the sort `shown` of hard content, if any."""
    if shown is None:
        return sample_chart(rng, hard_rate=0.0)
    return harden(sample_stratum(rng, "common"), shown, rng, SHOWN_NAMES)


def another(
    taken: set[Chart], sampler: Callable[[random.Random, Any], Chart], rng: random.Random, argument: str | None
) -> Chart:
    """Sample a chart that is not in `taken`, and add it."""
    while (chart := sampler(rng, argument)) in taken:
        pass
    taken.add(chart)
    return chart


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


def strata_questions(strata: dict[str, list[Chart]], seed: int) -> list[Question]:
    """Return up to three questions about the hard content of each chart of the strata."""
    questions = []
    for stratum, charts in strata.items():
        for index, chart in enumerate(charts):
            rng = stream(seed, "questions", stratum, index)
            path = f"strata_images/{stratum}/{index:03}.png"
            for asked in ask(chart, STRATUM_QUESTIONS, rng, questions_about(stratum)):
                figure = f"{stratum}-{index:03}"
                questions.append(
                    Question(figure, path, asked.text, asked.answer(chart), asked.category, stratum=stratum)
                )
    return questions


def write_dataset(directory: Path, seed: int) -> Path:
    """Write the data set of `seed` and return its directory; one that is there already is left as it is.

    Layout: `train_images/000.png` to `074.png`, `test_images/075.png` to `099.png`, `strata_images/NAME/000.png` to
    `099.png`, `test_data/test_set.json` (a list of `duel.types.Question` as objects). Written to a temporary folder
    and renamed, so that it is complete or absent. Raises DataError when it cannot be written, or when the directory
    holds something else, for example the data set of an earlier version.
    """
    if (directory / "test_data" / "test_set.json").is_file():
        if not (directory / "strata_images").is_dir():
            raise DataError(f"{directory} is a data set of an earlier version, without strata; move it away")
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
    sample = sample_dataset(seed)
    pictures = {f"train_images/{index:03}.png": chart for index, chart in enumerate(sample.train)}
    pictures |= {f"test_images/{index:03}.png": chart for index, chart in enumerate(sample.test, start=TRAIN_IMAGES)}
    for stratum, charts in sample.strata.items():
        pictures |= {f"strata_images/{stratum}/{index:03}.png": chart for index, chart in enumerate(charts)}
    for name, chart in pictures.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(encode(render(chart)))
    questions = [*question_list(sample.test, seed), *strata_questions(sample.strata, seed)]
    (directory / "test_data").mkdir()
    (directory / "test_data" / "test_set.json").write_text(
        json.dumps([question_row(question) for question in questions], indent=2) + "\n"
    )
