from duel.types import Completion, Drawing
from tasks.drawing import drawn_ones
from tasks.writing import NOTHING_TO_DESCRIBE


def test_a_prompt_that_was_refused_is_not_drawn_a_second_time():
    first, second = (Completion(text, "1", finished=True) for text in ("a chart", "a nude chart"))
    originals = [[Drawing("a chart", 1, "k"), Drawing("a nude chart", 1, None, "refused")]]
    assert drawn_ones([[first, second]], originals) == [[first, NOTHING_TO_DESCRIBE]]
