from duel.diversity import RecentDrawings, clusters, self_similarities
from duel.types import Attempt, Drawing

PLACES = {"a": 0.0, "b": 0.125, "c": 0.5, "d": 1.0}


def drawing(key):
    return Drawing(f"prompt {key}", 0, key)


REFUSED = Drawing("prompt", 0, None, "refused")


def similarity(one, other):
    if one.key is None or other.key is None:
        return None
    return 1 - abs(PLACES[one.key] - PLACES[other.key])


def group_of(*keys):
    return [Attempt(drawing(key) if key else REFUSED, drawing("a"), 0.5, 0.5) for key in keys]


def test_each_drawing_is_as_similar_as_the_most_similar_other_one():
    assert self_similarities([drawing(key) for key in "abcd"], [], similarity) == [0.875, 0.875, 0.625, 0.5]


def test_drawings_of_recent_rounds_count_as_others():
    assert self_similarities([drawing("a"), drawing("d")], [drawing("c")], similarity) == [0.5, 0.5]


def test_a_drawing_is_not_compared_with_itself_but_with_an_equal_one():
    assert self_similarities([drawing("a"), drawing("a"), drawing("d")], [], similarity) == [1.0, 1.0, 0.0]


def test_a_refused_drawing_and_one_that_is_alone_have_no_self_similarity():
    assert self_similarities([drawing("a"), REFUSED], [], similarity) == [None, None]


def test_the_last_rounds_of_the_adversary_are_remembered():
    recent = RecentDrawings(2)
    for player, keys in (("adversary", "a"), ("adversary", "b"), ("base", "d"), ("adversary", "c")):
        recent.note(player, [group_of(*keys)])
    assert [found.key for found in recent.drawings] == ["b", "c"]


def test_a_refused_drawing_is_not_remembered_and_an_image_once():
    recent = RecentDrawings(3)
    recent.note("adversary", [group_of("a", "", "b"), group_of("a", "c")])
    assert [found.key for found in recent.drawings] == ["a", "b", "c"]


def test_no_rounds_remembered_is_nothing():
    recent = RecentDrawings(0)
    recent.note("adversary", [group_of("a")])
    assert recent.drawings == []


def test_near_duplicates_of_the_first_of_a_cluster_are_in_it():
    group = [drawing("a"), REFUSED, drawing("c"), drawing("b"), drawing("a")]
    assert clusters(group, similarity, 0.9) == [0, None, 1, 2, 0]
    assert clusters(group, similarity, 0.8) == [0, None, 1, 0, 0]
    assert clusters(group, similarity, -1.0) == [0, None, 0, 0, 0]
