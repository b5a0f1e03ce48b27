"""Which images and which question the anchor has in a round."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from duel.data.dataset import Dataset
from duel.settings import Settings
from duel.settings.profile import read_settings
from tasks.anchoring import anchor_images


def test_every_training_image_is_asked_about_once_an_epoch():
    settings = read_settings({"order": ["base"], "originals": "dataset", "base": {"anchor": {"images": 2}}})
    dataset = Dataset(Path(), [Path(f"{i}.png") for i in range(6)], [], [])
    epochs = [[i for round in range(3 * e, 3 * e + 3) for i in anchor_images(settings, dataset, round)] for e in (0, 1)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(6))] * 2
    assert epochs[0] != epochs[1]


def test_only_rounds_of_the_base_count_as_turns():
    settings = read_settings({"order": ["base", "adversary"], "base": {"anchor": {"images": 2}}})
    alone = read_settings({"order": ["base"], "originals": "dataset", "base": {"anchor": {"images": 2}}})
    dataset = Dataset(Path(), [Path(f"{i}.png") for i in range(6)], [], [])
    assert anchor_images(settings, dataset, 4) == anchor_images(alone, dataset, 2)


def test_questions_come_in_turn():
    anchor = read_settings({"base": {"anchor": {"questions": ["a?", "b?"], "answer": "Say: {question}"}}}).base.anchor
    assert [anchor.instruction(turn) for turn in range(3)] == ["Say: a?", "Say: b?", "Say: a?"]


def test_a_question_is_asked_in_every_way_before_the_next():
    values = {"questions": ["a?", "b?"], "answer": ["Say: {question}", "Think: {question}"]}
    anchor = read_settings({"base": {"anchor": values}}).base.anchor
    assert [anchor.instruction(turn) for turn in range(5)] == [
        "Say: a?",
        "Think: a?",
        "Say: b?",
        "Think: b?",
        "Say: a?",
    ]


def test_an_instruction_without_a_place_for_the_question_is_refused():
    with pytest.raises(ValidationError, match=r"expected a text with \{question\} in it"):
        Settings.model_validate({"base": {"anchor": {"answer": "Say it"}}})


def test_only_the_base_has_an_anchor():
    with pytest.raises(ValidationError, match=r"adversary\.anchor"):
        Settings.model_validate({"adversary": {"anchor": {"coef": 0.1}}})
