"""Answers about predictions in shapes that clients do not expect, by fault name.

Bodies follow recorded answers where there are any; the rest is what JSON allows in a field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]

# The answer is about the right prediction, and the image can be had.
READABLE: dict[str, Callable[[Body], Any]] = {
    "null-dates": lambda body: body | {"created_at": None, "started_at": None, "completed_at": None},
    "no-dates": lambda body: body | {"created_at": "0000-99-99T99", "started_at": 7, "completed_at": []},
    "internal-model": lambda body: body | {"model": "internal/flux-1-fast", "version": None},
    "added-inputs": lambda body: body | {"input": body["input"] | {"prompt_upsampling": False, "image_prompt": None}},
    "list-metrics": lambda body: body | {"metrics": [body["metrics"]]},
    "nan-count": lambda body: _counted(body, float("nan")),
    "negative-count": lambda body: _counted(body, -7),
    "infinite-count": lambda body: _counted(body, float("inf")),
    "huge-count": lambda body: _counted(body, 10**399),
    "text-count": lambda body: _counted(body, "1"),
    "object-urls": lambda body: body | {"urls": None, "logs": ["a", "list"], "error": ""},
}
# The answer is not about the prediction that was asked for, or about none.
UNREADABLE: dict[str, Callable[[Body], Any]] = {
    "control-id": lambda body: body | {"id": f"{body['id'][:5]}\x00\x1b[2J\n{body['id']}"},
    "number-id": lambda body: body | {"id": 7},
    "other-input": lambda body: body | {"input": body["input"] | {"prompt": "what somebody else asked for"}},
    "list": lambda body: [body],
    "null": lambda _: None,
    "deep": lambda _: _Deep(),
}
SHAPES = READABLE | UNREADABLE


class _Deep(dict[str, Any]):
    """Stands for JSON that is nested deeper than a parser goes; see `nested`."""


def shaped(body: Body, fault: str | None) -> Any:
    """Return a prediction's JSON with a fault."""
    return body if fault is None else SHAPES[fault](body)


def nested(body: Any) -> bytes | None:
    """Return the JSON text of the fault `deep`, which Python cannot build as objects; None for other bodies."""
    return b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}" if isinstance(body, _Deep) else None


def _counted(body: Body, count: Any) -> Body:
    return body | {"metrics": {"image_count": count}}
