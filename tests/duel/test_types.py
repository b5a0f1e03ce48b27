import hashlib

import pytest

from duel.types import Completion, DrawRequest, pack_logprobs


def test_the_key_is_the_hash_of_canonical_json():
    request = DrawRequest("g", "1", "blå", 7, {"size": 2, "format": "png"})
    canonical = '{"generator":"g","parameters":{"format":"png","size":2},"seed":7,"text":"blå","version":"1"}'
    assert request.key == hashlib.sha256(canonical.encode()).hexdigest()


def test_the_key_does_not_depend_on_the_order_of_parameters():
    assert DrawRequest("g", "1", "t", 0, {"a": 1, "b": 2}).key == DrawRequest("g", "1", "t", 0, {"b": 2, "a": 1}).key


@pytest.mark.parametrize(
    "other",
    [
        DrawRequest("h", "1", "t", 0, {"a": 1}),
        DrawRequest("g", "2", "t", 0, {"a": 1}),
        DrawRequest("g", "1", "T", 0, {"a": 1}),
        DrawRequest("g", "1", "t", 1, {"a": 1}),
        DrawRequest("g", "1", "t", 0, {"a": 2}),
        DrawRequest("g", "1", "t", 0, {"a": "1"}),
        DrawRequest("g", "1", "t", 0, {"a": 1}, service="http://127.0.0.1:8080"),
    ],
)
def test_the_key_depends_on_every_field(other):
    assert other.key != DrawRequest("g", "1", "t", 0, {"a": 1}).key


def test_a_text_with_a_lone_surrogate_has_a_key():
    assert len(DrawRequest("g", "1", "\ud800", 0).key) == 64


def test_tokens_are_packed_as_text():
    assert Completion("a b", "5 17 2", True).tokens == [5, 17, 2]
    assert Completion("", "", False).tokens == []


def test_logprobs_are_packed_as_float32():
    assert pack_logprobs([-1.0, -0.5]) == "AACAvwAAAL8="  # 00 00 80 bf, 00 00 00 bf
    assert Completion("a b", "5 17", True, "AACAvwAAAL8=").logprobs == [-1.0, -0.5]
    assert Completion("a b", "5 17", True).logprobs == []
    assert len(pack_logprobs([-0.1] * 512)) == 2732


def test_completions_are_equal_whatever_their_logprobs():
    assert Completion("a", "5", True, pack_logprobs([-1.0])) == Completion("a", "5", True, pack_logprobs([-1.1]))
    assert Completion("a", "5", True) != Completion("a", "6", True)
