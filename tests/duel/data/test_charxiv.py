import json
import os
import random
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from duel.data.charxiv import (
    ARCHIVE,
    COMMIT,
    DATASET,
    PINS,
    Source,
    open_charxiv,
    open_rubrics,
    prepare_charxiv,
    source_from_environment,
    split,
)
from duel.data.dataset import first_charts, of_kind
from duel.data.download import measure
from duel.data.provenance import read_origins
from duel.errors import DataError, ServiceError, SettingsError
from duel.settings import EvaluationSettings
from duel.testing.faults import Faults
from duel.testing.hub import HubServer, write_fake_hub
from duel.types import Question

KINDS = ("reasoning", "descriptive")
REAL = json.loads((Path(__file__).parents[2] / "data" / "charxiv" / "split.json").read_text())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    write_fake_hub(folder)
    return folder


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def hub(written, faults, monkeypatch):
    with HubServer(written, faults=faults) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def files_below(root):
    return {str(path.relative_to(root)): measure(path).sha256 for path in root.rglob("*") if path.is_file()}


def test_the_split_is_the_references():
    train, test, others = split(REAL["figure_ids"].split())
    assert " ".join(train) == REAL["train"]
    assert " ".join(test) == REAL["test"]
    assert len(others) == 900
    assert {*train, *test, *others} == set(REAL["figure_ids"].split())
    assert others == sorted(others, key=int)  # in file order


@pytest.mark.skipif("DUEL_ANNOTATIONS" not in os.environ, reason="DUEL_ANNOTATIONS names no folder of CharXiv's files")
def test_the_split_is_that_of_the_real_annotation_files():
    folder = Path(os.environ["DUEL_ANNOTATIONS"])
    assert {name: measure(folder / name) for name in PINS} == PINS
    reasoning, descriptive = (json.loads((folder / f"{kind}_val.json").read_bytes()) for kind in KINDS)
    figures = [figure for figure in descriptive if figure in reasoning]
    assert " ".join(figures) == REAL["figure_ids"]
    sample = random.Random(7111994).sample(figures, 100)  # as the reference's random.seed and random.sample
    train, test, _ = split(figures)
    assert (train, test) == (sample[:75], sample[75:])


def test_too_few_figures_cannot_be_split():
    with pytest.raises(DataError, match="name 99 figures, expected 100 or more"):
        split([str(i) for i in range(99)])


def test_prepare_writes_the_layout(hub, tmp_path):
    root = tmp_path / "charxiv"
    prepare_charxiv(root)
    dataset = open_charxiv(root, 75, 25)
    assert (len(dataset.train_images), len(dataset.test_images)) == (75, 25)
    assert len(list((root / "validation_images").iterdir())) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["charxiv", "charxiv-downloads"]
    reasoning = json.loads((root / "annotations" / "reasoning_val.json").read_text())
    train, test, _ = split(list(reasoning))
    assert {path.stem for path in dataset.train_images} == set(train)
    assert [q.figure_id for q in first_charts(of_kind(dataset.questions, "reasoning"), 25)] == test
    with zipfile.ZipFile(hub.folder / "hub" / DATASET / ARCHIVE) as archive:
        assert dataset.train_images[0].read_bytes() == archive.read(f"images/{dataset.train_images[0].name}")


def test_questions_keep_category_template_and_instruction(hub, tmp_path):
    prepare_charxiv(tmp_path / "charxiv")
    rows = json.loads((tmp_path / "charxiv" / "test_data" / "test_set.json").read_text())
    assert len(rows) == 25 * 5
    entry = json.loads((tmp_path / "charxiv" / "annotations" / "reasoning_val.json").read_text())[rows[0]["figure_id"]]
    reasoning = Question(**rows[0])
    assert (reasoning.question, reasoning.ground_truth) == (entry["query"], entry["answer"])
    assert (reasoning.answer_category, reasoning.kind) == (entry["inst_category"], "reasoning")
    assert reasoning.instruction.startswith(entry["query"] + "\n    * ")
    assert rows[1] == {
        "figure_id": rows[0]["figure_id"],
        "image_path": f"test_images/{rows[0]['figure_id']}.jpg",
        "question": "Title?",
        "ground_truth": rows[1]["ground_truth"],
        "answer_category": 0,
        "question_id": 1,
        "instruction": "In this plot, which title is written?",
    }
    assert Question(**rows[1]).kind == "descriptive"
    assert rows[4]["instruction"] == "How many subplots are there?"


def test_the_charts_of_an_evaluation_are_ten_twenty_five_or_all_never_trained_on(hub, tmp_path):
    prepare_charxiv(tmp_path / "charxiv")
    dataset = open_charxiv(tmp_path / "charxiv", 75, 25)
    trained = {path.stem for path in dataset.train_images}
    for charts, figures in ((10, 10), (25, 25), (None, 45)):
        asked = first_charts(of_kind(dataset.questions, "both"), charts)
        assert len({question.figure_id for question in asked}) == figures
        assert not trained & {question.figure_id for question in asked}
        assert all((dataset.root / question.image_path).is_file() for question in asked)


def test_a_chart_that_went_missing_is_named(hub, tmp_path):
    prepare_charxiv(tmp_path / "charxiv")
    gone = next((tmp_path / "charxiv" / "validation_images").iterdir())
    gone.unlink()
    with pytest.raises(DataError, match=f"lacks 1 charts, the first is validation_images/{gone.name}; remove"):
        open_charxiv(tmp_path / "charxiv", 75, 25)


def test_the_kind_of_questions_is_a_setting():
    questions = [Question("1", "1.jpg", "?", "a", 2), Question("1", "1.jpg", "Title?", "b", 0, question_id=1)]
    kinds = [EvaluationSettings(questions=kind).questions for kind in ("reasoning", "descriptive", "both")]
    assert [of_kind(questions, kind) for kind in kinds] == [questions[:1], questions[1:], questions]


def test_a_second_prepare_makes_no_request_and_changes_nothing(hub, tmp_path):
    prepare_charxiv(tmp_path / "charxiv")
    shutil.rmtree(tmp_path / "charxiv-downloads")
    before, asked = files_below(tmp_path), hub.counts()
    prepare_charxiv(tmp_path / "charxiv")
    assert (files_below(tmp_path), hub.counts()) == (before, asked)


def test_a_data_set_of_a_trial_hub_does_not_pass_for_charxivs_own(hub, tmp_path, monkeypatch):
    prepare_charxiv(tmp_path / "charxiv")
    for name in hub.environment:
        monkeypatch.delenv(name)
    with pytest.raises(
        DataError, match=r"was prepared from http://127.0.0.1:\d+/.*now to come from https://raw.github"
    ):
        prepare_charxiv(tmp_path / "charxiv")


def test_the_annotations_of_a_prepared_data_set_are_checked_against_the_pins(hub, tmp_path):
    prepare_charxiv(tmp_path / "charxiv")
    path = tmp_path / "charxiv" / "annotations" / "reasoning_val.json"
    path.write_bytes(path.read_bytes().replace(b" ", b"  ", 1))
    with pytest.raises(DataError, match="reasoning_val.json does not match the checksum"):
        prepare_charxiv(tmp_path / "charxiv")


def test_a_commit_that_was_not_downloaded_is_refused(hub, tmp_path):
    root = tmp_path / "charxiv"
    prepare_charxiv(root)
    commit = read_origins(root / "annotations")[ARCHIVE].revision
    prepare_charxiv(root, commit)
    prepare_charxiv(root, "main")  # the commit that it was at the first download
    with pytest.raises(DataError, match=f"has the images of commit {commit}, and data.charxiv_revision = 0000"):
        prepare_charxiv(root, "0" * 40)


def test_downloaded_files_are_not_requested_again(hub, faults, tmp_path):
    faults.script(ARCHIVE, "error")
    with pytest.raises(ServiceError, match="images.zip broke off"):
        prepare_charxiv(tmp_path / "charxiv")
    assert not (tmp_path / "charxiv").exists()
    requests = hub.counts()["requests"]
    prepare_charxiv(tmp_path / "charxiv")
    assert hub.counts()["requests"] - requests == 3  # HEAD, GET and where it sends one: the images only


@pytest.mark.parametrize("name", ["reasoning_val.json", "descriptive_val.json", ARCHIVE])
def test_wrong_bytes_are_refused_and_the_next_prepare_downloads_again(hub, faults, tmp_path, name):
    faults.script(name, "wrong")
    with pytest.raises(DataError, match=f"{name} does not match its checksum: .*it was removed"):
        prepare_charxiv(tmp_path / "charxiv")
    prepare_charxiv(tmp_path / "charxiv")
    assert len(open_charxiv(tmp_path / "charxiv", 75, 25).train_images) == 75


def test_wrong_annotations_are_refused_by_the_pins_of_the_real_ones(hub, tmp_path):
    source = Source(annotations_url=hub.environment["DUEL_ANNOTATIONS_URL"], hub=hub.url)
    with pytest.raises(DataError, match=r"reasoning_val.json has another size than the expected 245069 bytes"):
        prepare_charxiv(tmp_path / "charxiv", source=source)
    assert not (tmp_path / "charxiv").exists()


def test_the_archive_is_recorded_at_first_and_checked_from_then_on(written, hub, tmp_path, monkeypatch):
    prepare_charxiv(tmp_path / "charxiv")
    origin = read_origins(tmp_path / "charxiv" / "annotations")[ARCHIVE]
    assert (origin.revision, origin.pin) == (hub.commit, measure(written / "hub" / DATASET / ARCHIVE))
    shutil.rmtree(tmp_path / "charxiv")
    (tmp_path / "charxiv-downloads" / ARCHIVE).unlink()
    other = tmp_path / "other"
    write_fake_hub(other, seed=1)
    shutil.copytree(written / "github", other / "github", dirs_exist_ok=True)
    with HubServer(other) as changed:
        monkeypatch.setenv("HF_ENDPOINT", changed.url)
        with pytest.raises(DataError, match="images.zip does not match its checksum"):
            prepare_charxiv(tmp_path / "charxiv")


def test_an_interrupted_layout_is_removed_and_written_again(hub, tmp_path):
    litter = tmp_path / ".charxiv-partial" / "train_images"
    litter.mkdir(parents=True)
    (litter / "1.jpg").write_bytes(b"half")
    prepare_charxiv(tmp_path / "charxiv")
    assert len(open_charxiv(tmp_path / "charxiv", 75, 25).train_images) == 75
    assert not (tmp_path / ".charxiv-partial").exists()


def test_an_archive_without_the_charts_leaves_no_data_set(written, hub, tmp_path, monkeypatch):
    bare = tmp_path / "bare"
    shutil.copytree(written, bare)
    with zipfile.ZipFile(bare / "hub" / DATASET / ARCHIVE, "w") as archive:
        archive.writestr("images/readme.txt", "none here")
    with HubServer(bare) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(DataError, match="lacks 120 of 120 charts"):
            prepare_charxiv(tmp_path / "charxiv")
    assert not (tmp_path / "charxiv").exists()
    assert not (tmp_path / ".charxiv-partial").exists()


def test_two_at_once_download_once(hub, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(prepare_charxiv, tmp_path / "charxiv") for _ in range(2)]:
            done.result()
    assert hub.counts()["requests"] == 6  # three small files; HEAD, GET and where it sends one


def test_something_else_in_its_place_is_left_alone(hub, tmp_path):
    (tmp_path / "charxiv").mkdir()
    (tmp_path / "charxiv" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and is not a CharXiv data set"):
        prepare_charxiv(tmp_path / "charxiv")
    assert os.listdir(tmp_path) == ["charxiv"]  # noqa: PTH208


def test_a_place_that_cannot_be_written_is_named(hub, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to .*charxiv-downloads: Not a directory"):
        prepare_charxiv(tmp_path / "file" / "charxiv")


@pytest.mark.parametrize("given", [None, "hf_not_for_others"])
def test_the_users_token_stays_with_the_hub(hub, tmp_path, monkeypatch, given):
    if given is None:
        monkeypatch.setenv("HF_TOKEN", "hf_not_for_others")
    prepare_charxiv(tmp_path / "charxiv", hub_token=given)
    assert hub.counts()["tokens_at_hub"] == 2  # which file, and where its bytes are
    assert hub.counts()["tokens_at_files"] == 0
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"hf_not_for_others" not in written


def test_rubrics_come_with_the_data_set_and_may_not_change(hub, tmp_path):
    prepare_charxiv(tmp_path / "charxiv")
    assert open_rubrics(tmp_path / "charxiv").descriptive_grading_qmap[16] == "Trend?"
    with (tmp_path / "charxiv" / "annotations" / "constants.py").open("a") as file:
        file.write("# edited\n")
    with pytest.raises(DataError, match="is not the file that was downloaded"):
        open_rubrics(tmp_path / "charxiv")


def test_a_data_set_without_rubrics_says_what_the_judge_needs(tmp_path):
    with pytest.raises(DataError, match="the judge needs data.source = 'charxiv'"):
        open_rubrics(tmp_path)


def test_the_real_source_is_the_default(monkeypatch):
    for name in ("HF_ENDPOINT", "DUEL_ANNOTATIONS_URL", "DUEL_ANNOTATIONS_PINS"):
        monkeypatch.delenv(name, raising=False)
    assert source_from_environment() == Source("https://raw.githubusercontent.com/princeton-nlp/CharXiv", None, PINS)
    assert COMMIT == "7ebe88f78dee387691551f071abcb2b9e1a8025b"


def test_a_slash_at_the_end_of_an_address_does_not_matter(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror/")
    monkeypatch.setenv("DUEL_ANNOTATIONS_URL", "https://other/")
    monkeypatch.delenv("DUEL_ANNOTATIONS_PINS", raising=False)
    assert source_from_environment() == Source("https://other", "https://mirror", PINS)


@pytest.mark.parametrize("pins", ["reasoning_val.json", "a:1:b", "reasoning_val.json:x:y,descriptive_val.json:1:y"])
def test_other_pins_must_be_well_formed(monkeypatch, pins):
    monkeypatch.setenv("DUEL_ANNOTATIONS_PINS", pins)
    with pytest.raises(SettingsError, match="DUEL_ANNOTATIONS_PINS"):
        source_from_environment()
