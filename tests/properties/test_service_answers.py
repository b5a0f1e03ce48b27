"""Whatever a service answers is data, a typed value or the error that its reader names; nothing else comes out."""

import json
import math
import time
import zlib
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
from hypothesis import example, given
from hypothesis import strategies as st
from openai._models import construct_type  # as the client library builds its answers
from openai.types.chat import ChatCompletion

from duel.generators.replicate.clock import ServiceClock
from duel.generators.replicate.listing import read_entries
from duel.generators.replicate.prediction import ID, MOST_IMAGES, billed, parse_json, parse_prediction
from duel.generators.replicate.refusals import is_about_prompt, is_refusal
from duel.generators.replicate.transport import LONGEST_WAIT, http_failure, retry_after
from duel.judges.billing import MOST_TOKENS, token_counts
from duel.judges.chat import text_of
from duel.judges.exact import equal
from duel.judges.grading import read_verdict
from duel.judges.numbers import read_quantity
from duel.services.addresses import is_loopback, normal_address
from duel.services.responses import OversizedError, bounded
from tests.support.strategies import json_values, numbers, scalars, texts

FIELDS = ("status", "model", "input", "output", "error", "metrics", "created_at", "logs", "urls")
STATUSES = st.sampled_from(["starting", "processing", "succeeded", "failed", "canceled", "aborted"])
URLS = st.sampled_from(["https://a.b/", "http://[", "data:", "http://\ud800.de", "https://\u2100/"]) | texts.map(
    "https://".__add__
)
predictions = st.fixed_dictionaries(
    {"id": st.just("abc0") | texts},
    optional={
        **{name: json_values() for name in FIELDS},
        "status": STATUSES | json_values(),
        "output": URLS | st.lists(URLS, max_size=2) | json_values(),
        "metrics": st.fixed_dictionaries({"image_count": numbers | json_values()}) | json_values(),
        "created_at": st.datetimes().map(datetime.isoformat) | texts | json_values(),
        "input": st.dictionaries(texts, scalars) | json_values(),
    },
)
headers = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
dates = st.datetimes(timezones=st.just(UTC)).map(lambda when: format_datetime(when, usegmt=True))


@given(predictions | json_values())
@example({"id": "abc0", "output": "https://\ud800/"})
def test_an_answer_about_a_prediction_is_read_within_bounds_or_is_a_value_error(body: object) -> None:
    try:
        found = parse_prediction(body)
    except ValueError as error:
        assert str(error)
        return
    assert ID.fullmatch(found.id)
    assert found.state in ("running", "succeeded", "failed", "stopped")
    assert found.images is None or 0 <= found.images <= MOST_IMAGES
    assert found.created_at is None or math.isfinite(found.created_at)
    for shown, length in ((found.status, 40), (found.model, 200), (found.output, 80), (found.reason, 300)):
        assert len(shown) <= length
        assert shown.isprintable()
    images, besides = billed(found, "failed")
    assert images >= 0
    assert besides in (0, 1)
    assert found.input is None or found.has_input(found.input) or "nan" in str(found.input)


@given(st.lists(predictions | json_values(), max_size=4))
def test_every_entry_of_a_list_is_read_or_counted(entries: list[object]) -> None:
    listed, unreadable = read_entries(entries)
    assert len(listed) + unreadable == len(entries)


@given(st.binary(max_size=200) | json_values().map(lambda value: json.dumps(value).encode()))
def test_bytes_are_json_or_a_value_error(data: bytes) -> None:
    try:
        parse_json(data)
    except ValueError as error:
        assert str(error)


@given(headers | dates | st.none(), json_values() | st.fixed_dictionaries({"retry_after": numbers}), st.floats(0, 4e9))
@example("Mon, 1 Jan 0001 00:00:00 -0000", None, 0.0)
def test_a_wait_that_a_service_asks_for_is_bounded(header: str | None, body: object, now: float) -> None:
    wait = retry_after(header, body, now)
    assert wait is None or 0 <= wait <= LONGEST_WAIT


@given(headers | dates)
def test_a_date_header_is_taken_or_ignored(date: str) -> None:
    clock = ServiceClock()
    clock.observe(date, time.monotonic(), time.monotonic())
    now = clock.now()
    assert clock.known is (now is not None)
    assert now is None or math.isfinite(now)


documents = json_values().map(lambda value: json.dumps(value).encode())


@given(st.integers(400, 599), st.binary(max_size=200) | documents, headers, texts)
def test_an_error_answer_is_one_printable_line(status: int, content: bytes, header: str, prompt: str) -> None:
    response = httpx.Response(status, content=content, headers=[(b"Retry-After", header.encode("latin-1"))])
    failure = http_failure(response, "r8_secret")
    assert failure.status == status
    assert failure.detail.isprintable()
    assert len(failure.detail) <= 300
    assert is_about_prompt(failure, prompt) in (True, False)


@given(texts, st.sampled_from(["flagged as sensitive", "the worker is gone"]))
def test_the_words_of_a_prompt_neither_refuse_nor_excuse(prompt: str, reason: str) -> None:
    refused = reason == "flagged as sensitive"
    assert is_refusal(reason, prompt) is refused
    assert is_refusal(f"{reason}: '{' '.join(prompt.split())}'", prompt) is refused
    assert is_refusal(f"{reason} with a chart of nsfw timeouts", "a chart of nsfw timeouts") is refused


verdicts = st.dictionaries(
    st.sampled_from(["extracted_answer", "extract_answer", "score", "other"]),
    st.sampled_from([0, 1, "1", 1.0, True, 0.5, None]) | json_values(),
)


@given(verdicts.map(json.dumps) | json_values().map(json.dumps) | texts)
@example('{"extracted_answer": ' + "[" * 900 + "]" * 900 + ', "score": 1}')
def test_a_verdict_is_a_grade_of_0_or_1_or_none(text: str) -> None:
    grades = read_verdict(text, [("extracted_answer", "score")])
    if grades is not None:
        [grade] = grades
        assert grade.score in (0.0, 1.0)
        assert isinstance(grade.extracted, str)


numbers = st.text(
    "0123456789.,-+\u2212 eExX^*()\u00d7{}$%k\u00b9\u00b2\u00b3\u2070\u2079\u207b\u207a'\u2009m\u00b5/st!", max_size=90
)


@given(numbers | st.integers().map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr) | texts)
@example("10\u207b")
def test_a_text_is_a_number_that_equals_itself_or_none(text: str) -> None:
    found = read_quantity(text)
    assert found is None or found.equals(found)
    assert equal(text, text)


choices = st.fixed_dictionaries(
    {},
    optional={
        "finish_reason": st.just("length") | scalars,
        "message": json_values() | st.fixed_dictionaries({"content": json_values()}),
    },
)
replies = st.fixed_dictionaries(
    {}, optional={"choices": st.lists(choices | scalars, max_size=2) | json_values(), "usage": json_values()}
)


@given(replies | json_values())
@example({"choices": [None]})
@example({"choices": "abc", "usage": "abc"})
@example({"choices": [{"message": {"content": ["a"]}}], "usage": {"prompt_tokens": float("nan")}})
@example({"choices": {"a": 1}, "usage": {"prompt_tokens": 10**400, "completion_tokens": 1}})
def test_a_judges_reply_is_a_text_and_counts_of_tokens_that_can_be_true(body: object) -> None:
    reply = construct_type(type_=ChatCompletion, value=body)
    text, cut = text_of(reply)
    assert isinstance(text, str)
    assert cut in (True, False)
    counts = token_counts(getattr(reply, "usage", None))
    assert counts is None or all(0 <= count <= MOST_TOKENS for count in counts)


@given(texts | URLS)
def test_an_address_has_one_form_or_is_a_value_error(url: str) -> None:
    try:
        address = normal_address(url)
    except ValueError:
        return
    assert normal_address(address) == address
    assert is_loopback(address) in (True, False)


@given(st.binary(max_size=400), st.sampled_from(["", "gzip", "deflate", "br", "GZIP "]), st.integers(0, 500))
def test_a_body_is_read_within_its_limit(data: bytes, encoding: str, limit: int) -> None:
    try:
        body = b"".join(bounded([data[:7], data[7:]], limit, encoding))
    except (OversizedError, ValueError) as error:
        assert str(error)
        return
    assert len(body) <= limit


@given(st.binary(max_size=400), st.integers(1, 50), st.integers(0, 9))
def test_a_compressed_body_comes_whole(data: bytes, piece: int, level: int) -> None:
    sent = zlib.compress(data, level)
    chunks = [sent[start : start + piece] for start in range(0, len(sent), piece)]
    assert b"".join(bounded(chunks, 10_000, "deflate")) == data
