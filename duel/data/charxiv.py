"""CharXiv (Wang et al. 2024, arXiv 2406.18521): download, verification, and the reference experiment's split.

Layout on disk, under the data set's directory, which is renamed into place when complete:

    train_images/   75 charts, test_images/ 25, validation_images/ the other 900 of the validation set
    test_data/      test_set.json: questions about the 25 test charts; validation_set.json: about the other 900
    annotations/    the downloaded files, and downloads.json: their URLs and SHA-256

The downloads stay beside it in `NAME-downloads/`, which may be deleted afterwards.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from duel.data.archive import extract_images
from duel.data.dataset import SPLIT_SEED, Dataset, open_layout, question_row, read_questions
from duel.data.download import Pin, check, fetch, hub_headers, measure, resolve_hub_file
from duel.data.provenance import RECORD, check_or_record, locked, read_origins, record, write_json
from duel.errors import DataError, SettingsError
from duel.rubrics import Rubrics, read_rubrics
from duel.services.addresses import is_loopback, normal_address, service_address
from duel.types import Question

log = logging.getLogger(__name__)

DATASET = "princeton-nlp/CharXiv"  # on the Hugging Face Hub
ARCHIVE = "images.zip"
HUB = "https://huggingface.co"
COMMIT = "7ebe88f78dee387691551f071abcb2b9e1a8025b"  # of the benchmark's repository
ANNOTATIONS_URL = "https://raw.githubusercontent.com/princeton-nlp/CharXiv"
PINS = {
    "reasoning_val.json": Pin(245069, "8bf9b9c466baed7510104c65dcbcb6b3ca36080123a609f8af3e32d573c85d19"),
    "descriptive_val.json": Pin(358919, "5dc144dd043b77b32feeae2875c6112b1d7cc45e05790cf025859c21e9b40a68"),
}
CONSTANTS = "constants.py"
TRAIN_CHARTS, TEST_CHARTS = 75, 25


@dataclass(frozen=True)
class Source:
    """The URLs to download from, and the annotations' expected checksums; the defaults are CharXiv's own."""

    annotations_url: str = ANNOTATIONS_URL
    hub: str | None = None  # None: the default of `huggingface_hub`
    pins: Mapping[str, Pin] = field(default_factory=lambda: PINS)


def source_from_environment() -> Source:
    """Return the Source given by HF_ENDPOINT, DUEL_ANNOTATIONS_URL and DUEL_ANNOTATIONS_PINS, for mirrors and tests.

    DUEL_ANNOTATIONS_PINS is `name:bytes:sha256,...` and replaces the checksums of CharXiv's own annotations.
    Raises SettingsError when it does not have that form.
    """
    pins = PINS
    if given := os.environ.get("DUEL_ANNOTATIONS_PINS"):
        try:
            triples = [entry.split(":") for entry in given.split(",")]
            pins = {name: Pin(int(size), sha256) for name, size, sha256 in triples}
        except ValueError:
            raise SettingsError(f"DUEL_ANNOTATIONS_PINS: got {given!r}, expected name:bytes:sha256,...") from None
        if set(pins) != set(PINS):
            raise SettingsError(f"DUEL_ANNOTATIONS_PINS names {sorted(pins)}, expected {sorted(PINS)}")
        log.warning("the annotations are checked against DUEL_ANNOTATIONS_PINS: these are not CharXiv's own")
    annotations = service_address("DUEL_ANNOTATIONS_URL", ANNOTATIONS_URL)
    return Source(annotations.rstrip("/"), service_address("HF_ENDPOINT", "") or None, pins)


def prepare_charxiv(
    root: Path, revision: str = "main", source: Source | None = None, hub_token: str | None = None
) -> None:
    """Download and verify CharXiv and write its layout to `root`; does nothing when that is done already.

    `revision` is the Hub's; the commit it resolves to at the first download is recorded and used from then on.
    `hub_token` is the Hub's; None uses the token that `huggingface_hub` finds (none is needed: the data set is public).
    Raises ServiceError when a download broke off (the next call resumes it), DataError when a file does not match its
    checksum or `root` holds something else.
    """
    if is_prepared(root):
        check_provenance(root, source or source_from_environment(), revision)
        return
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} exists and is not a CharXiv data set; name another place or move it away")
    downloads = root.with_name(f"{root.name}-downloads")
    try:
        downloads.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write to {downloads}: {error.strerror}; name another place for the data set") from None
    with locked(downloads / "lock"):
        if not is_prepared(root):  # another process may have finished meanwhile
            download(downloads, revision, source or source_from_environment(), hub_token)
            lay_out(root, downloads)


def check_provenance(root: Path, source: Source, revision: str) -> None:
    """Raise DataError unless the prepared data set is of `source`: a trial's data must not pass for CharXiv's.

    The annotations must have the source's checksums, and either both or neither come from servers of this machine.
    `revision` is the Hub's: where it is a commit, the images must be of it; a branch stands for the recorded commit.
    """
    again = f"move {root} away and run `duel prepare` again"
    origins = read_origins(root / "annotations")
    now = dict.fromkeys((*source.pins, CONSTANTS), source.annotations_url) | {ARCHIVE: source.hub or HUB}
    for name, address in now.items():
        origin = origins.get(name)
        if origin is None:
            raise DataError(f"{root / 'annotations' / RECORD} does not say where {name} is from; {again}")
        if is_loopback(origin.url) != is_loopback(address):
            raise DataError(
                f"{root} was prepared from {normal_address(origin.url)}, and {name} is now to come from {address}; "
                f"{again}"
            )
    prepared = origins[ARCHIVE].revision
    if re.fullmatch("[0-9a-f]{40}", revision) and revision != prepared:
        raise DataError(
            f"{root} has the images of commit {prepared}, and data.charxiv_revision = {revision}; {again}, or set "
            "data.charxiv_revision to the former"
        )
    for name, pin in source.pins.items():
        path = root / "annotations" / name
        if not path.is_file() or measure(path) != pin:
            raise DataError(f"{path} does not match the checksum of CharXiv's own; {again}")


def open_charxiv(root: Path, train_images: int, test_images: int) -> Dataset:
    """Open the prepared data set, with the questions about the 25 test charts, then those about the other 900.

    Raises DataError naming what is missing or broken.
    """
    dataset = open_layout(root, train_images, test_images)
    questions = [*dataset.questions, *read_questions(root / "test_data" / "validation_set.json")]
    missing = sorted({question.image_path for question in questions if not (root / question.image_path).is_file()})
    if missing:
        raise DataError(
            f"{root} lacks {len(missing)} charts, the first is {missing[0]}; remove {root} and run `duel prepare` again"
        )
    return replace(dataset, questions=questions)


def open_rubrics(root: Path) -> Rubrics:
    """Read the rubrics downloaded with the data set. Raises DataError when they are missing or differ from then."""
    path = root / "annotations" / CONSTANTS
    origin = read_origins(root / "annotations").get(CONSTANTS)
    if origin is None or not path.is_file():
        raise DataError(f"{path} is missing: the judge needs data.source = 'charxiv' and `duel prepare`")
    if measure(path) != origin.pin:
        raise DataError(f"{path} is not the file that was downloaded; remove {root} and run `duel prepare` again")
    return read_rubrics(path)


def split(figures: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the reference's 75 training and 25 test figure ids, then all others; `figures` is in file order."""
    if len(figures) < TRAIN_CHARTS + TEST_CHARTS:
        raise DataError(f"the annotations name {len(figures)} figures, expected {TRAIN_CHARTS + TEST_CHARTS} or more")
    sample = Random(SPLIT_SEED).sample(list(figures), TRAIN_CHARTS + TEST_CHARTS)
    others = [figure for figure in figures if figure not in set(sample)]
    return sample[:TRAIN_CHARTS], sample[TRAIN_CHARTS:], others


def questions_of(
    figure: str, folder: str, reasoning: Mapping[str, Any], descriptive: Mapping[str, Any], rubrics: Rubrics
) -> list[Question]:
    """Return a chart's reasoning question and its four descriptive ones, each with its response instruction."""
    path = f"{folder}/{figure}.jpg"
    query, answer, category = reasoning["query"], reasoning["answer"], reasoning["inst_category"]
    instruction = rubrics.ask_reasoning(category, query, answer)
    questions = [Question(figure, path, query, answer, category, instruction=instruction)]
    for question_id, truth in zip(descriptive["qids"], descriptive["answers"], strict=True):
        text = rubrics.descriptive_grading_qmap[question_id]
        instruction = rubrics.ask_descriptive(question_id, descriptive["subplot_loc"])
        questions.append(Question(figure, path, text, truth, 0, question_id, instruction))
    return questions


def is_prepared(root: Path) -> bool:
    """Whether the data set is complete; its directory is renamed into place only then."""
    return (root / "test_data" / "test_set.json").is_file() and (root / "annotations" / RECORD).is_file()


def download(folder: Path, revision: str, source: Source, hub_token: str | None) -> None:
    """Download annotations, rubrics and images into `folder`, each verified by a pinned or previously recorded hash."""
    for name, pin in source.pins.items():
        url = f"{source.annotations_url}/{COMMIT}/data/{name}"
        if not (folder / name).exists():
            fetch(url, folder / name, pin.size)
        check(folder / name, pin)
        record(folder, name, url, COMMIT, pin)
    if CONSTANTS not in read_origins(folder) or not (folder / CONSTANTS).exists():
        url = f"{source.annotations_url}/{COMMIT}/src/{CONSTANTS}"
        fetch(url, folder / CONSTANTS, size=None)
        check_or_record(folder, CONSTANTS, url, COMMIT)
    read_rubrics(folder / CONSTANTS)  # before the large download, so that an incompatible file fails early
    download_archive(folder, revision, source.hub, hub_token)


def download_archive(folder: Path, revision: str, hub: str | None, hub_token: str | None) -> None:
    """Download the image archive. The Hub names its commit and hash at first; later the recorded ones are required."""
    origin = read_origins(folder).get(ARCHIVE)
    if origin is not None and (folder / ARCHIVE).exists():
        check(folder / ARCHIVE, origin.pin)
        return
    file = resolve_hub_file(DATASET, ARCHIVE, revision if origin is None else origin.revision, hub, hub_token)
    if not (folder / ARCHIVE).exists():  # else the process was killed before the hash was recorded
        fetch(file.url, folder / ARCHIVE, file.size, hub_headers(hub_token), tag=file.etag[:16])
    if len(file.etag) == 64 and origin is None:  # the Hub's etag of a large file is its SHA-256
        check(folder / ARCHIVE, Pin(file.size, file.etag))
    check_or_record(folder, ARCHIVE, file.url, file.commit)


def lay_out(root: Path, downloads: Path) -> None:
    """Write the data set to a temporary directory and rename it. Raises DataError when images are missing or broken."""
    reasoning = json.loads((downloads / "reasoning_val.json").read_bytes())
    descriptive = json.loads((downloads / "descriptive_val.json").read_bytes())
    rubrics = read_rubrics(downloads / CONSTANTS)
    train, test, others = split([figure for figure in descriptive if figure in reasoning])
    folders = {"train_images": train, "test_images": test, "validation_images": others}
    partial = root.with_name(f".{root.name}-partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed process
    for name in (*folders, "test_data", "annotations"):
        (partial / name).mkdir(parents=True)
    places = {figure: partial / name / f"{figure}.jpg" for name, figures in folders.items() for figure in figures}
    try:
        extract_images(downloads / ARCHIVE, places)
        for name, folder in (("test_set.json", "test_images"), ("validation_set.json", "validation_images")):
            asked = [
                question
                for figure in folders[folder]
                for question in questions_of(figure, folder, reasoning[figure], descriptive[figure], rubrics)
            ]
            write_json(partial / "test_data" / name, [question_row(question) for question in asked])
        for name in (*PINS, CONSTANTS, RECORD):
            shutil.copyfile(downloads / name, partial / "annotations" / name)
        partial.replace(root)
    except OSError as error:
        raise DataError(f"cannot write the data set to {root}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
