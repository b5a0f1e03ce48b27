"""Which of the service's errors are about the prompt, and so a result to remember, and which are about the service."""

from __future__ import annotations

import re

from duel.generators.replicate.transport import HTTPFailure

REFUSED = re.compile(r"nsfw|flagged as sensitive|\bE005\b|content (policy|moderation)|moderat(ed|ion)", re.IGNORECASE)
# A content filter that did not answer has refused nothing. «Try running it again with a different prompt» is not meant.
TRANSIENT = re.compile(
    r"tim(ed|e|ing)[ -]?out|deadline exceeded|unavailable|temporar|overload|unreachable|connection|rate limit"
    r"|internal (server )?error|service error|unexpected error|try again (later|in )|\bHTTP 5\d\d\b|\b50[0-4]\b"
    r"|(failed|unable|could not) (to )?(reach|connect|contact|complete|perform|run)",
    re.IGNORECASE,
)
SHORTEST_QUOTED = 20  # characters of a prompt that is not taken for a part of the service's own words
PROMPT = ("input.prompt", "prompt")
WRONG_SETTINGS = ("invalid_type", "required", "additional_property_not_allowed")  # kinds of validation error


def is_refusal(reason: str, prompt: str) -> bool:
    """Whether an error says that a content filter rejected the prompt, which a retry would only repeat.

    An error may quote the prompt, whose words say nothing about the service. A short prompt may also be a part of the
    service's own words (the prompt "a"): it counts as quoted within quotation marks only.
    """
    text, quoted = " ".join(reason.split()), " ".join(prompt.split())
    if len(quoted) >= SHORTEST_QUOTED:
        text = text.replace(quoted, "")
    elif quoted:
        text = re.sub(f"""(['"`]){re.escape(quoted)}\\1""", "", text)
    return REFUSED.search(text) is not None and TRANSIENT.search(text) is None


def is_about_prompt(failure: HTTPFailure, prompt: str) -> bool:
    """Whether a response rejects the text of this one prompt, instead of parameters that all prompts share."""
    if failure.status not in (400, 422):
        return False
    if failure.invalid_fields:
        return all(name in PROMPT and kind not in WRONG_SETTINGS for name, kind in failure.invalid_fields)
    return is_refusal(failure.detail, prompt)
