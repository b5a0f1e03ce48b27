"""`parse_prediction`: the service's JSON about a prediction, read into a typed record whose every value is bounded.

The vendor's `Prediction` class has a closed list of states and rejects what the service has added since (`aborted`),
objects for errors and null dates. Here whatever has an id is readable: what is not understood counts as failed, with a
reason, so that nothing is polled until the deadline which will not change any more.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import httpx

from duel.generators.replicate.journal import Outcome
from duel.services.network import html_page

State = Literal["running", "succeeded", "failed", "stopped"]

RUNNING = ("starting", "processing")
ENDED: dict[str, State] = {"succeeded": "succeeded", "failed": "failed"}
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
SCHEMES = ("https", "http", "data")
LONGEST_REASON = 300  # characters
LONGEST_DIGITS = 400  # of an integer; a longer one is read as infinite
MOST_IMAGES = 1000  # of one prediction; a larger count is not believed


@dataclass(frozen=True)
class Prediction:
    """One prediction as the service shows it."""

    id: str  # letters, digits, - and _, at most 64
    state: State  # stopped: canceled, aborted, or a status that is not known; it may have been billed
    status: str  # the service's word for the state
    model: str  # as echoed; official models may name an internal one
    input: Mapping[str, Any] | None  # None: deleted, or not told
    url: str | None  # of the first output file; None: there is none
    output: str  # the output, shortened, for error messages
    text_output: bool  # whether the output is text instead of a file
    reason: str  # the service's error; empty: none
    images: int | None  # billed, as the service says; None: it does not say, or nothing that can be true
    counted: bool  # whether the service gave a number of images at all
    created_at: float | None  # Unix time by the service's clock; None: not told

    def has_input(self, input: Mapping[str, Any]) -> bool:
        """Whether this prediction's input holds all of `input`; the service may have added defaults."""
        return self.input is not None and all(
            name in self.input and self.input[name] == value for name, value in input.items()
        )


def parse_prediction(body: object) -> Prediction:
    """Return the prediction that a JSON object describes. Raises ValueError when it is none, or has no usable id."""
    if not isinstance(body, dict):
        raise ValueError(f"the service answers {shortened(body, 80)}, expected a prediction")
    id = body.get("id")
    if not isinstance(id, str) or not ID.fullmatch(id):
        raise ValueError(f"the id of a prediction is {shortened(id, 80)}, expected up to 64 letters and digits")
    status = body.get("status")
    input, output, metrics = body.get("input"), body.get("output"), body.get("metrics")
    count = metrics.get("image_count") if isinstance(metrics, dict) else None
    return Prediction(
        id=id,
        state=_state(status),
        status=shortened(status, 40),
        model=shortened(body.get("model"), 200),
        input=input if isinstance(input, dict) and input else None,
        url=_url(output),
        output=shortened(output, 80),
        text_output=isinstance(_first(output), str) and _first(output) != "" and _url(output) is None,
        reason=_reason(body.get("error")),
        images=bounded_count(count),
        counted=count is not None,
        created_at=_time(body.get("created_at")),
    )


def billed(prediction: Prediction, outcome: Outcome) -> tuple[int, int]:
    """Return how many images were billed, and how many may have been besides.

    The metric `image_count`, which official models report, counts. Without it an image that was delivered is one, and a
    failure none; whether a refusal or a stopped prediction is billed is not documented.
    """
    if prediction.images is not None:
        return prediction.images, 0
    if prediction.counted or prediction.state == "stopped" or outcome == "refused":
        return 0, 1
    return (1, 0) if prediction.state == "succeeded" else (0, 0)


def parse_json(text: bytes | str) -> Any:
    """Return parsed JSON. Raises ValueError for text that is none, also where it is nested too deeply or is HTML."""
    try:
        return json.loads(text, parse_int=_integer)
    except json.JSONDecodeError as error:
        page = html_page(text if isinstance(text, str) else text.decode("utf-8", "replace"))
        raise ValueError(f"got {page}" if page else str(error)) from None
    except RecursionError:
        raise ValueError("the service answers JSON that is nested too deeply") from None


def bounded_count(value: object) -> int | None:
    """Return a whole number from 0 to MOST_IMAGES, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= MOST_IMAGES or value != int(value):  # NaN is in no interval
        return None
    return int(value)


def shortened(value: object, length: int) -> str:
    """Return a value of parsed JSON as one line of at most `length` characters, without control characters."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _compact(value)
    text = "".join(character if character.isprintable() else " " for character in text[: 4 * length])
    return " ".join(text.split())[:length]


def _compact(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        return f"a {type(value).__name__}"


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_DIGITS + 1 else math.inf


def _state(status: object) -> State:
    if isinstance(status, str) and status in RUNNING:
        return "running"
    return ENDED.get(status, "stopped") if isinstance(status, str) else "stopped"


def _reason(error: object) -> str:
    """Return an error's text; of an object the part that is meant to be read, where it has one."""
    if isinstance(error, dict):
        error = next((error[name] for name in ("detail", "message", "title") if error.get(name)), error)
    return shortened(error, LONGEST_REASON) if error not in ({}, []) else ""


def _first(output: object) -> object:
    return (output[0] if output else None) if isinstance(output, list) else output


def _url(output: object) -> str | None:
    first = _first(output)
    if not isinstance(first, str):
        return None
    if first.startswith("data:"):
        return first if "," in first else None
    try:
        url = httpx.URL(first)
    except httpx.InvalidURL:
        return None
    return first if url.scheme in SCHEMES and url.host else None


def _time(value: object) -> float | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
