"""Keys, prompts and JSON records: what is written is read again; anything else is an error that names the file."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from artifacts.prefect_ui import _escape
from artifacts.run.jsonl import append_row, keep_rows, read_rows
from artifacts.run.records import read_record, write_record
from artifacts.run.round_record import RecordedAttempt, RecordedDrawing, RecordedGroup, RecordedRound
from artifacts.text import legible, printable, shorten, visual_order, wrap
from cache.blob_store import Entry, key_of, pack, unpack
from cache.image_store import from_entry, to_entry
from duel.errors import RunError
from duel.judges.grading import replace_surrogates
from duel.types import DrawRequest, Refusal
from tests.support.fake_run import update
from tests.support.strategies import json_values, texts

numbers = st.floats(allow_nan=False, allow_infinity=False)
drawings = st.builds(
    RecordedDrawing,
    key=st.none() | texts, seed=st.integers(0, 2**31 - 1), file=st.none() | texts, refusal=st.none() | texts,
)  # fmt: skip
attempts = st.builds(
    RecordedAttempt,
    prompt=texts, drawing=drawings, description=texts, reconstruction=drawings,
    similarity=st.none() | numbers, reward=st.none() | numbers, tokens=st.integers(0, 10**6), finished=st.booleans(),
    ceiling=st.none() | numbers, parts=st.none(),
)  # fmt: skip
groups = st.lists(st.builds(RecordedGroup, st.lists(attempts, max_size=2)), max_size=2)
scalar = st.none() | st.booleans() | st.integers() | numbers | texts
requests = st.builds(
    DrawRequest, texts, texts, texts, st.integers(0, 5), st.dictionaries(texts, scalar, max_size=3), texts
)
KEY = "0123456789abcdef" * 4


@given(requests, requests)
def test_requests_have_one_key_exactly_where_they_are_the_same_json(first: DrawRequest, second: DrawRequest) -> None:
    assert len(first.key) == 64
    fields = [json.dumps(vars(request), sort_keys=True) for request in (first, second)]
    assert (first.key == second.key) is (fields[0] == fields[1])


@given(texts, texts, st.binary(max_size=50), texts)
def test_an_entry_of_a_store_is_unpacked_as_it_was(kind: str, media_type: str, body: bytes, origin: str) -> None:
    entry = Entry(kind, media_type, body, origin)
    packed = pack(KEY, entry)
    assert unpack(KEY, packed) == entry
    assert key_of(packed) == KEY
    assert unpack(KEY[::-1], packed) is None


@given(texts.map(Refusal).map(to_entry), st.integers(0, 10**6), st.integers(1, 255))
def test_an_entry_with_a_changed_byte_is_missing(entry: Entry, place: int, change: int) -> None:
    packed = bytearray(pack(KEY, entry))
    packed[place % len(packed)] ^= change
    assert unpack(KEY, bytes(packed)) is None
    assert key_of(bytes(packed)) is None


@given(texts)
def test_a_refusal_is_stored_as_it_was(reason: str) -> None:
    assert from_entry(to_entry(Refusal(reason))) == Refusal(reason)


@given(groups)
def test_a_round_is_read_as_it_was_written(groups: list[RecordedGroup]) -> None:
    written = RecordedRound(3, "base", 4, update(), groups)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "record.json")
        write_record(path, written, durable=False)
        assert read_record(path, RecordedRound) == written


@given(
    st.binary(max_size=100)
    | json_values().map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"schema": json_values(2), "round": json_values(3), "groups": json_values()}).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_any_bytes_for_a_record_are_a_run_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "record.json")
        path.write_bytes(content)
        try:
            read_record(path, RecordedRound)
        except RunError as error:
            assert str(path) in str(error)
        else:
            raise AssertionError("it was read")


@given(st.lists(st.dictionaries(texts, scalar, max_size=3), max_size=4), st.integers(0, 300))
def test_rows_up_to_a_cut_are_read_as_they_were(rows: list[dict[str, Any]], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metrics.jsonl")
        path.touch()
        for row in rows:
            append_row(path, row)
        whole = path.read_bytes()
        path.write_bytes(whole[:cut])
        keep_rows(path)
        assert read_rows(path) == rows[: whole[:cut].count(b"\n")]


@given(st.binary(max_size=60) | st.lists(json_values(3).map(json.dumps)).map(lambda lines: "\n".join(lines).encode()))
def test_any_bytes_for_rows_are_rows_or_a_run_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metrics.jsonl")
        path.write_bytes(content + b"\n")
        try:
            rows = read_rows(path)
            keep_rows(path, before=3)
        except RunError as error:
            assert str(path) in str(error)
            return
        assert all(isinstance(row, dict) for row in rows)


@given(texts)
def test_a_prompt_is_shown_as_text(prompt: str) -> None:
    shown = printable(prompt)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert len(shorten(shown, 10)) <= 10
    assert len(visual_order(shown)) <= len(shown)
    lines = wrap(shown, 7.0, 3, len)
    assert all(len(line) <= 7 for line in lines)
    assert len(lines) <= 3
    assert legible(legible(prompt)) == legible(prompt)
    assert not {"\n", "\r", "\0"} & set(_escape(prompt))
    legible(prompt).encode()
    replace_surrogates(prompt).encode()
