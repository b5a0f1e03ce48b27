from concurrent.futures import ThreadPoolExecutor

import pytest

from cache.answer_store import AnswerStore
from cache.image_store import ImageStore
from duel.errors import DataError
from duel.types import DrawnImage, Refusal

KEY = "ab" * 32


def never():
    raise AssertionError("asked")


def test_a_reply_is_requested_once(tmp_path):
    with AnswerStore(tmp_path) as store:
        assert store.answer_once(KEY, lambda: '{"score": 1, "α": "β"}') == '{"score": 1, "α": "β"}'
        assert store.answer_once(KEY, never) == '{"score": 1, "α": "β"}'
        assert len(store) == 1


def test_a_reply_survives_closing(tmp_path):
    with AnswerStore(tmp_path) as store:
        store.answer_once(KEY, lambda: "kept")
    with AnswerStore(tmp_path) as store:
        assert store.answer_once(KEY, never) == "kept"


def test_threads_that_want_one_reply_request_it_once(tmp_path):
    asked = []
    with AnswerStore(tmp_path) as store, ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(store.answer_once, KEY, lambda: asked.append(1) or "one") for _ in range(8)]
        assert [answer.result() for answer in answers] == ["one"] * 8
    assert len(asked) == 1


def test_an_exception_stores_nothing(tmp_path):
    with AnswerStore(tmp_path) as store:
        with pytest.raises(AssertionError):
            store.answer_once(KEY, never)
        assert len(store) == 0
        assert store.answer_once(KEY, lambda: "later") == "later"


def test_half_a_surrogate_pair_is_kept_as_it_is(tmp_path):
    with AnswerStore(tmp_path) as store:
        assert store.answer_once(KEY, lambda: "\ud800") == "\ud800"
        assert store.answer_once(KEY, never) == "\ud800"


@pytest.mark.parametrize("entry", [DrawnImage(b"\x89PNG", "image/png"), Refusal("no")])
def test_an_image_store_is_not_an_answer_store(tmp_path, entry):
    with ImageStore(tmp_path) as images:
        images.put(KEY, entry)
    with AnswerStore(tmp_path) as store, pytest.raises(DataError, match="is not a judge.s reply; is it an image store"):
        store.answer_once(KEY, never)
