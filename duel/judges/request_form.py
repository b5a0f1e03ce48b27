"""The form in which a judge is asked: the official grader's, and without what a model refuses of it.

Models differ: some know `max_completion_tokens` for `max_tokens`, some take no temperature but their own, some servers
know no `seed` or no JSON mode. What a model refuses is known from its error alone, so that it is asked once more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

Limit = Literal["max_tokens", "max_completion_tokens"]

SAMPLING: dict[str, Any] = {"temperature": 0, "top_p": 1, "seed": 42, "n": 1}  # as in the official grader
JSON_MODE = {"response_format": {"type": "json_object"}}
LIMITS: tuple[Limit, Limit] = ("max_tokens", "max_completion_tokens")
NAMES = (*LIMITS, *SAMPLING, *JSON_MODE)
REFUSED = re.compile(  # of a parameter, not of its size or of the prompt
    r"unsupported|not (?:be )?supported|does(?: not|n't) support|unknown|unrecognized|unexpected|\bextra\b|"
    r"not (?:be )?(?:permitted|allowed)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class RequestForm:
    """Which parameters a request has besides model and messages."""

    limit: Limit | None = "max_tokens"  # the parameter that bounds the reply; None: the service's own bound
    left_out: tuple[str, ...] = ()  # of SAMPLING and JSON_MODE

    def parameters(self, tokens: int) -> dict[str, Any]:
        """Return the keyword arguments of a request for a reply of at most `tokens` tokens."""
        rest = {name: value for name, value in (JSON_MODE | SAMPLING).items() if name not in self.left_out}
        return rest if self.limit is None else rest | {self.limit: tokens}

    def without(self, name: str) -> RequestForm | None:
        """Return the form after a parameter was refused; None where the form does not have it."""
        if name in LIMITS:
            if name != self.limit:
                return None
            return replace(self, limit="max_completion_tokens" if name == "max_tokens" else None)
        return None if name in self.left_out else replace(self, left_out=(*self.left_out, name))

    @property
    def note(self) -> str:
        """What differs from the official grader's form, for the results; empty if nothing does."""
        changes = [f"without {name}" for name in self.left_out]
        if self.limit != LIMITS[0]:
            changes.append(f"with {self.limit}" if self.limit else "without a limit of tokens")
        return ", ".join(changes)


def refused_parameter(code: str, parameter: object, message: str) -> str | None:
    """Return the parameter that an error of status 400 or 422 refuses; None where it is about something else.

    `code` and `parameter` are the error's own, where the service has them; other services name it in `message` only.
    """
    if not REFUSED.search(f"{code} {message}"):
        return None
    if isinstance(parameter, str) and parameter in NAMES:
        return parameter
    named = re.findall(r"[A-Za-z_]+", message)
    return next((name for name in named if name in NAMES), None)
