"""The parser of predictions: recorded bodies, and whatever JSON allows in their fields."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duel.generators.replicate.listing import read_entries
from duel.generators.replicate.prediction import MOST_IMAGES, billed, parse_json, parse_prediction, shortened
from duel.generators.replicate.refusals import is_refusal

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data/replicate/exchanges.json").read_text("utf-8"))
INPUT = {"prompt": "a bar chart", "seed": 8}


def changed(**fields: Any) -> dict[str, Any]:
    return RECORDED["succeeded"] | fields


def test_a_recorded_success_is_read():
    prediction = parse_prediction(RECORDED["succeeded"])
    assert (prediction.id, prediction.state, prediction.images) == ("gm3qorzdhgbfurvjtvhg6dckhu", "succeeded", 1)
    assert prediction.url == "https://replicate.delivery/xezq/2T3TkW3UlcIvDfqm/out-0.webp"
    assert prediction.has_input(INPUT)  # among defaults that the service added
    assert not prediction.has_input(INPUT | {"seed": 9})
    assert prediction.created_at == pytest.approx(1694189974.766, abs=0.001)
    assert billed(prediction, "drawn") == (1, 0)


@pytest.mark.parametrize(
    ("name", "state", "outcome", "images"),
    [
        ("created", "running", "failed", (0, 0)),
        ("deleted", "succeeded", "lost", (1, 0)),
        ("refused", "failed", "refused", (0, 1)),
        ("refused_with_an_empty_list", "failed", "refused", (0, 1)),
        ("aborted", "stopped", "failed", (0, 1)),
    ],
)
def test_recorded_ends_and_what_they_cost(name, state, outcome, images):
    prediction = parse_prediction(RECORDED[name])
    assert (prediction.state, prediction.url) == (state, None)
    assert billed(prediction, outcome) == images


def test_a_recorded_list_is_read():
    (prediction,), unreadable = read_entries(RECORDED["listed"]["results"])
    assert (prediction.input, prediction.reason, prediction.text_output, unreadable) == ({"text": "Alice"}, "", True, 0)


@pytest.mark.parametrize("status", ["canceled", "aborted", "queued", "", None, 3, ["failed"], {"is": "failed"}])
def test_a_status_that_is_not_known_has_ended_and_may_have_been_billed(status):
    prediction = parse_prediction(RECORDED["aborted"] | {"status": status})
    assert prediction.state == "stopped"
    assert billed(prediction, "failed") == (0, 1)


@pytest.mark.parametrize(
    ("count", "images"),
    [(2, (2, 0)), (0, (0, 0)), (1.0, (1, 0)), (None, (1, 0))]
    + [(bad, (0, 1)) for bad in (float("nan"), float("inf"), -1, 1.5, 10**400, MOST_IMAGES + 1, True, "1", [1])],
)
def test_a_count_that_cannot_be_true_is_uncertain(count, images):
    assert billed(parse_prediction(changed(metrics={"image_count": count})), "drawn") == images


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"detail": "no GPU", "code": 3}, "no GPU"),
        ({"code": 3}, '{"code": 3}'),
        (["a", "b"], '["a", "b"]'),
        ("a\x00b\x1b[2Jc\n d", "a b [2Jc d"),
        ("x" * 10_000, "x" * 300),
        ({}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_an_error_of_any_type_is_one_bounded_line(error, reason):
    assert parse_prediction(changed(error=error)).reason == reason


@pytest.mark.parametrize("id", [None, "", 7, "a/b", "../account", "a\n", "a\x00", "x" * 65, ["a"], "é"])
def test_an_id_that_could_not_be_asked_for_is_no_prediction(id):
    with pytest.raises(ValueError, match="the id of a prediction is"):
        parse_prediction(changed(id=id))


@pytest.mark.parametrize("body", [None, [], [{}], "text", 3, True])
def test_a_body_that_is_no_object_is_no_prediction(body):
    with pytest.raises(ValueError, match="expected a prediction"):
        parse_prediction(body)


@pytest.mark.parametrize(
    "output", [None, [], {}, {"url": "https://x.org/a"}, [[]], 3, "text", "http://x.org:port/a", "file:///a"]
)
def test_an_output_that_is_no_address_has_no_file(output):
    assert parse_prediction(changed(output=output)).url is None


def test_numbers_of_any_length_and_nesting_of_any_depth_are_values_or_a_value_error():
    assert parse_json("9" * 5000) == float("inf")
    assert parse_json("9" * 400) == int("9" * 400)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize(
    ("reason", "refused"),
    [
        (RECORDED["refused"]["error"], True),
        (RECORDED["refused_with_an_empty_list"]["error"], True),
        ("The input or output was flagged as sensitive. Please try again with different inputs. (E005)", True),
        ("a chart of connection timeouts: flagged as sensitive", True),  # the prompt is quoted
        ("Content moderation timed out; NSFW check service unavailable", False),
        ("content moderation: HTTP 503", False),
        ("could not reach the moderation service", False),
        ("CUDA out of memory", False),
    ],
)
def test_only_what_a_retry_would_repeat_is_a_refusal(reason, refused):
    assert is_refusal(reason, "a chart of connection timeouts") is refused


@pytest.mark.parametrize("prompt", ["a", "sensitive", "as", "nsfw", ""])
def test_a_short_prompt_does_not_change_the_services_own_words(prompt):
    assert is_refusal("flagged as sensitive", prompt)
    assert is_refusal(f"flagged as sensitive: {prompt!r}", prompt)


@pytest.mark.parametrize(("prompt", "refused"), [("nsfw", False), ("moderation", False), ("a pie", False)])
def test_a_short_prompt_in_quotation_marks_refuses_nothing(prompt, refused):
    assert is_refusal(f"the worker failed at '{prompt}'", prompt) is refused


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("id", "status", "model", "input", "output", "error", "metrics", "created_at")


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.booleans())
def test_any_json_is_a_bounded_prediction_or_a_value_error(fields, keep_id):
    body = RECORDED["succeeded"] | fields
    try:
        prediction = parse_prediction(body | ({"id": "abc"} if keep_id else {}))
    except ValueError:
        assert not keep_id
        return
    assert len(prediction.reason) <= 300
    assert all(text.isprintable() for text in (prediction.id, prediction.status, prediction.model, prediction.reason))
    images, uncertain = billed(prediction, "drawn")
    assert 0 <= images <= MOST_IMAGES
    assert uncertain in (0, 1)
    prediction.has_input(INPUT)


@given(JSON, st.integers(1, 50))
def test_shortened_is_one_printable_line(value, length):
    text = shortened(value, length)
    assert len(text) <= length
    assert text.isprintable()
