"""The replay pool: what is kept, and how it is chosen, by hand."""

import dataclasses
from collections import Counter
from random import Random

from duel.replay import ReplayPool
from duel.types import Attempt, Drawing, PromptParts


def attempt(key, ceiling, similarity):
    return Attempt(Drawing(f"prompt {key}", 0, key), Drawing("description", 0, "r"), similarity, 0.0, ceiling)


def keys(drawings):
    return [drawing.key for drawing in drawings]


def pool(*attempts, capacity=10, gate=0.9):
    made = ReplayPool(capacity, gate)
    made.note(0, "adversary", [attempts])
    return made


def test_drawings_that_no_text_brings_back_are_not_kept():
    kept = pool(attempt("a", 0.95, 0.5), attempt("b", 0.89, 0.1), attempt("c", None, 0.5), attempt(None, 0.95, 0.5))
    assert keys(kept.choose(Random(0), 10, 0.0, 9)) == ["a"]


def test_drawings_of_prompts_that_are_invalid_for_another_reason_are_not_kept():
    off_topic = dataclasses.replace(attempt("a", 0.95, 0.5), parts=PromptParts(None, "off_topic"))
    valid = dataclasses.replace(attempt("b", 0.95, 0.5), parts=PromptParts(None, None))
    assert keys(pool(off_topic, valid).choose(Random(0), 10, 0.0, 9)) == ["b"]


def test_those_of_least_regret_leave():
    kept = pool(attempt("a", 1.0, 0.9), attempt("b", 1.0, 0.2), attempt("c", 0.95, 0.5), capacity=2)
    assert sorted(keys(kept.choose(Random(0), 10, 0.0, 9))) == ["b", "c"]


def test_a_later_description_replaces_the_regret():
    kept = pool(attempt("a", 1.0, 0.2), attempt("b", 1.0, 0.5), capacity=2)
    kept.note(1, "base", [[attempt("a", None, 0.8), attempt("a", None, 1.0), attempt("a", None, None)]])  # mean 0.9
    kept.note(2, "adversary", [[attempt("c", 1.0, 0.6)]])
    assert sorted(keys(kept.choose(Random(0), 10, 0.0, 9))) == ["b", "c"]


def test_images_that_were_never_kept_are_not_taken_up_from_the_base():
    kept = pool()
    kept.note(1, "base", [[attempt("data", None, 0.2)]])
    assert len(kept) == 0


def test_a_drawing_is_chosen_by_the_inverse_of_its_rank():
    kept = pool(attempt("a", 1.0, 0.1), attempt("b", 1.0, 0.2), attempt("c", 1.0, 0.3))
    chosen = Counter(keys(kept.choose(Random(seed), 1, 0.0, 9))[0] for seed in range(2200))
    assert abs(chosen["a"] - 1200) < 100  # 1 / (1 + 1/2 + 1/3) = 6/11
    assert abs(chosen["b"] - 600) < 100
    assert abs(chosen["c"] - 400) < 100


def test_stale_drawings_are_chosen_by_the_rank_of_their_last_description():
    kept = pool(attempt("old", 1.0, 0.9))
    kept.note(9, "adversary", [[attempt("new", 1.0, 0.1)]])
    chosen = Counter(keys(kept.choose(Random(seed), 1, 0.999, 9))[0] for seed in range(1100))
    assert abs(chosen["old"] - 733) < 60  # 1 / (1 + 1/2) = 2/3


def test_choices_do_not_repeat_and_are_the_same_for_the_same_chance():
    kept = pool(*(attempt(str(i), 1.0, i / 10) for i in range(5)))
    chosen = keys(kept.choose(Random(3), 4, 0.2, 9))
    assert len(set(chosen)) == 4
    assert keys(kept.choose(Random(3), 4, 0.2, 9)) == chosen


def test_a_chosen_drawing_has_the_rounds_since_it_was_described():
    kept = pool(attempt("a", 0.95, 0.1))
    [chosen] = kept.choose(Random(0), 1, 0.0, 9)
    assert chosen.replay_age == 9
