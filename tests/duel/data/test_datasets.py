import json
from dataclasses import replace

import pytest
from PIL import Image

from duel.data.dataset import (
    check_image,
    first_charts,
    open_folder,
    open_layout,
    question_fields,
    read_questions,
    set_aside,
)
from duel.errors import DataError
from duel.types import Question


def write_images(folder, count):
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (8, 8), (i, i, i)).save(folder / f"{i:03d}.png")


def test_a_folder_is_split_into_distinct_training_and_held_out_images(tmp_path):
    write_images(tmp_path / "mine", 10)
    dataset = open_folder(tmp_path / "mine", 7, 3)
    assert len({*dataset.train_images, *dataset.test_images}) == 10


def test_the_split_of_a_folder_is_fixed(tmp_path):
    write_images(tmp_path / "mine", 10)
    assert open_folder(tmp_path / "mine", 4, 3) == open_folder(tmp_path / "mine", 4, 3)


def test_too_few_images_are_named_with_the_setting_to_lower(tmp_path):
    write_images(tmp_path / "mine", 5)
    with pytest.raises(DataError, match=r"holds 5 different images, expected at least 10; .*lower data.train_images"):
        open_folder(tmp_path / "mine", 7, 3)


def test_equal_files_are_never_on_both_sides_of_a_split(tmp_path):
    write_images(tmp_path / "mine", 6)
    for name in ("copy.png", "another.png", "zzz.png"):
        (tmp_path / "mine" / name).write_bytes((tmp_path / "mine" / "003.png").read_bytes())
    dataset = open_folder(tmp_path / "mine", 4, 2)
    contents = [path.read_bytes() for path in (*dataset.train_images, *dataset.test_images)]
    assert len(set(contents)) == 6


def test_copies_do_not_make_a_folder_large_enough(tmp_path):
    write_images(tmp_path / "mine", 2)
    (tmp_path / "mine" / "copy.png").write_bytes((tmp_path / "mine" / "001.png").read_bytes())
    with pytest.raises(DataError, match="holds 2 different images, expected at least 3"):
        open_folder(tmp_path / "mine", 2, 1)


def test_a_layout_with_one_image_on_both_sides_is_refused_by_name(tmp_path):
    write_images(tmp_path / "train_images", 3)
    (tmp_path / "test_images").mkdir()
    (tmp_path / "test_images" / "held.png").write_bytes((tmp_path / "train_images" / "001.png").read_bytes())
    with pytest.raises(DataError, match=r"train_images/001\.png and .*test_images/held\.png are the same image"):
        open_layout(tmp_path, 3, 1)


def test_a_training_image_in_a_stratum_is_refused_by_name(tmp_path):
    write_images(tmp_path / "train_images", 2)
    (tmp_path / "test_images").mkdir()
    (tmp_path / "strata_images" / "kind").mkdir(parents=True)
    hard = tmp_path / "strata_images" / "kind" / "hard.png"
    hard.write_bytes((tmp_path / "train_images" / "001.png").read_bytes())
    with pytest.raises(DataError, match=r"train_images/001\.png and .*kind/hard\.png are the same image"):
        open_layout(tmp_path, 2, 0)


def test_digests_of_questions_outside_strata_do_not_know_strata():
    outside = Question("1", "a.png", "Why?", "so", 1)
    assert list(question_fields(outside)) == [
        "figure_id", "image_path", "question", "ground_truth", "answer_category", "question_id", "instruction"
    ]  # fmt: skip
    assert question_fields(replace(outside, stratum="kind")) == {**question_fields(outside), "stratum": "kind"}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="no folder .*nowhere"):
        open_folder(tmp_path / "nowhere", 1, 1)


def test_a_broken_image_is_named(tmp_path):
    write_images(tmp_path / "mine", 3)
    (tmp_path / "mine" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\nhalf")
    with pytest.raises(DataError, match=r"broken image .*001\.png"):
        open_folder(tmp_path / "mine", 2, 1)


def test_a_truncated_image_is_broken(tmp_path):
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cut\.png"):
        check_image(path)


def test_a_layout_without_test_set_says_to_prepare(tmp_path):
    write_images(tmp_path / "train_images", 1)
    write_images(tmp_path / "test_images", 2)
    (tmp_path / "test_images" / "000.png").unlink()
    with pytest.raises(DataError, match="run `duel prepare` again"):
        open_layout(tmp_path, 1, 1)


def test_a_test_set_with_a_field_missing_is_refused(tmp_path):
    path = tmp_path / "test_set.json"
    path.write_text(json.dumps([{"figure_id": "1", "question": "?"}]))
    with pytest.raises(DataError, match="bad test set .*expected a list of objects with figure_id"):
        read_questions(path)


def test_first_charts_keeps_all_questions_of_each_chart():
    questions = [Question(figure, "i.png", q, "a", 1) for figure, q in [("b", "1"), ("a", "2"), ("b", "3"), ("c", "4")]]
    assert [q.question for q in first_charts(questions, 2)] == ["1", "2", "3"]
    assert first_charts(questions, None) == questions


def ask(*figures):
    return [Question(figure, f"{figure}.png", "?", "1", 1) for figure in figures]


def test_the_last_charts_are_set_aside_with_all_their_questions():
    others, apart = set_aside(ask("1", "2", "2", "3", "3"), 1)
    assert [question.figure_id for question in others] == ["1", "2", "2"]
    assert [question.figure_id for question in apart] == ["3", "3"]


def test_setting_no_chart_aside_leaves_all():
    assert set_aside(ask("1", "2"), 0) == (ask("1", "2"), [])
    assert set_aside([], 0) == ([], [])


def test_setting_all_charts_aside_is_refused():
    with pytest.raises(DataError, match="about 2 charts, expected more than the 2"):
        set_aside(ask("1", "2"), 2)
