"""The data set's fingerprint: added, removed or changed files and questions are refused by name."""

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

from artifacts.run.directory import RunDirectory
from artifacts.run.fingerprint import check_data
from duel.data.dataset import Dataset, open_folder
from duel.errors import RunError
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Question


def folder(tmp_path: Path, count: int) -> Path:
    path = tmp_path / "mine"
    path.mkdir(exist_ok=True)
    for i in range(count):
        Image.new("RGB", (8, 8), (i, i, i)).save(path / f"{i:03d}.png")
    return path


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    opened = RunDirectory.open(StateDirectory(tmp_path), "run_1", Settings())
    opened.close()
    return opened


def test_equal_files_in_another_folder_are_the_same_data_set(tmp_path: Path, run: RunDirectory) -> None:
    dataset = open_folder(folder(tmp_path, 6), 4, 2)
    check_data(run, dataset)
    (tmp_path / "mine").rename(tmp_path / "moved")
    check_data(run, open_folder(tmp_path / "moved", 4, 2))


def test_an_added_file_that_would_change_the_split_is_refused_by_name(tmp_path: Path, run: RunDirectory) -> None:
    check_data(run, open_folder(folder(tmp_path, 20), 12, 8))
    with pytest.raises(
        RunError, match=r"mine is not the one that run run_1 .*image 0\d\d\.png is (gone|new);.*restore"
    ):
        check_data(run, open_folder(folder(tmp_path, 21), 12, 8))


def test_a_file_with_other_bytes_is_named(tmp_path: Path, run: RunDirectory) -> None:
    dataset = open_folder(folder(tmp_path, 6), 4, 2)
    check_data(run, dataset)
    Image.new("RGB", (8, 8), "red").save(dataset.test_images[0])
    with pytest.raises(RunError, match=f"held-out image {dataset.test_images[0].name} has other bytes"):
        check_data(run, dataset)


def test_a_changed_question_is_refused(tmp_path: Path, run: RunDirectory) -> None:
    dataset = open_folder(folder(tmp_path, 6), 4, 2)
    check_data(run, dataset)
    asked: Dataset = dataclasses.replace(dataset, questions=[Question("1", "a.png", "Why?", "so", 1)])
    with pytest.raises(RunError, match="the questions differ"):
        check_data(run, asked)


def test_a_changed_image_of_a_stratum_is_named(tmp_path: Path, run: RunDirectory) -> None:
    hard = folder(tmp_path, 1) / "000.png"
    dataset = Dataset(tmp_path, [], [], [], strata={"kind": [hard]})
    check_data(run, dataset)
    Image.new("RGB", (8, 8), "red").save(hard)
    with pytest.raises(RunError, match=r"stratum image kind/000\.png has other bytes"):
        check_data(run, dataset)
