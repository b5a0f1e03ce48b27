"""A chat model behind OpenAI's API or a compatible one: one reply to one prompt, billed, bounded, within a deadline."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import httpx2  # the client library's HTTP library
import openai

from duel.errors import DuelError, JudgeError, SettingsError, UserError
from duel.judges.billing import Billing
from duel.judges.client import BoundedBody, TrustingClient
from duel.judges.request_form import RequestForm, refused_parameter
from duel.services.addresses import OPENAI, normal_address, service_address
from duel.services.network import check_key, html_page
from duel.services.responses import OversizedError

log = logging.getLogger(__name__)

RETRIES = 1000  # of the client library: effectively unlimited, the deadline ends them
UNLIMITED = 16_384  # tokens reserved for a reply that the service alone bounds
TOO_LARGE = re.compile(r"max_(?:completion_)?tokens\W.*too large|maximum context length", re.IGNORECASE | re.DOTALL)
UNGRADABLE = {"content_filter", "invalid_prompt", "context_length_exceeded", "string_above_max_length"}


class Ungradable(Exception):
    """The judge gave no usable verdict; the request's answers get the score None."""


class RefusedParameter(Exception):
    """The model refuses a parameter of the request."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class DeadlineError(Exception):
    """The deadline of one grading request has passed."""


class NoCreditError(Exception):
    """The account has no credit. OpenAI signals it by a 429, which the client library would retry."""


class ChatModel:
    """Sends prompts in JSON mode, in the official grader's form as far as the model takes it. Safe across threads.

    `billing` records what requests cost; None: nothing does. The API key is `api_key` or OPENAI_API_KEY, the base URL
    OPENAI_BASE_URL; the key is held by the client only, so that it appears in no repr.
    """

    def __init__(
        self, model: str, billing: Billing | None, api_key: str | None, timeout_seconds: float, deadline_seconds: float
    ) -> None:
        self.model = model
        self.billing = billing
        self.deadline_seconds = deadline_seconds
        self.form = RequestForm()
        self._lock = threading.Lock()  # of the form
        self._now = threading.local()  # .deadline, .status and .usage of the request in progress in this thread
        http = TrustingClient(event_hooks={"request": [self._check_deadline], "response": [self._note]})
        self._client = openai.OpenAI(
            api_key=check_ready(api_key),
            base_url=service_address("OPENAI_BASE_URL", OPENAI),
            http_client=http,
            timeout=timeout_seconds,
            max_retries=RETRIES,
        )
        self.base_url = str(self._client.base_url)
        self.service = normal_address(self.base_url)
        self.host = urlsplit(self.base_url).hostname or ""

    def close(self) -> None:
        """Close the connection pool."""
        self._client.close()

    def begin(self) -> None:
        """Start this thread's deadline: all its requests until the next call end within `deadline_seconds`."""
        self._now.deadline, self._now.status = time.monotonic() + self.deadline_seconds, "none"

    def reply(self, key: str, prompt: str, tokens: int) -> tuple[str, bool]:
        """Return the model's text of at most `tokens` tokens, and whether it was cut off there; call `begin` before.

        It is asked again without each parameter that it refuses; later requests are without it, too. `key` names the
        request in the account. Raises JudgeError when the service cannot be reached, UserError when it rejects key,
        model or request or the budget is used up, Ungradable when it refuses the prompt.
        """
        while True:
            form = self.form
            try:
                return self._pay(key, prompt, tokens, form)
            except RefusedParameter as refused:
                changed = form.without(refused.name)
            if changed is None:
                raise UserError(f"{self.host} refuses a parameter that was not sent; check judge.model")
            with self._lock:
                if self.form == form:  # else another thread met the refusal first
                    self.form = changed
                    log.warning("%s at %s is now asked %s", self.model, self.host, changed.note)

    def _pay(self, key: str, prompt: str, tokens: int, form: RequestForm) -> tuple[str, bool]:
        """Send one request, as `_complete` does, with its cost recorded. Raises LimitError at the budget's limit."""
        if self.billing is None:
            return self._complete(prompt, tokens, form)
        self._now.usage, self._now.status = None, "none"
        number = self.billing.reserve(key, prompt, tokens if form.limit else UNLIMITED)
        try:
            return self._complete(prompt, tokens, form)
        finally:
            self.billing.settle(number, self._now.usage, self._now.status)

    def _complete(self, prompt: str, tokens: int, form: RequestForm) -> tuple[str, bool]:
        """Send one request; return the reply's text, and whether it was cut off at the token limit.

        Exceptions of the client library are never chained: they hold the request, and that holds the API key.
        """
        failure: Exception
        try:
            reply = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": prompt}],
                **form.parameters(tokens),
            )
        except openai.APIStatusError as error:
            failure = self._explain(error)
        except DeadlineError:
            failure = JudgeError(
                f"{self.host} gave no answer within {self.deadline_seconds:g} s, the last status was "
                f"{self._now.status}; evaluate again later, what is graded already is remembered"
            )
        except NoCreditError:
            failure = UserError(f"{self.host}: the account of the API key has no credit left")
        except OversizedError as error:
            failure = JudgeError(f"{self.host}: {error}; check OPENAI_BASE_URL, or evaluate again later")
        except openai.APIConnectionError as error:
            failure = JudgeError(f"{self.host} cannot be reached: {type(error).__name__}; check OPENAI_BASE_URL")
        except ValueError:
            return "", False  # the body is not JSON
        else:
            self._now.usage = getattr(reply, "usage", None)
            page = html_page(reply) if isinstance(reply, str) else None
            if page is None:
                return text_of(reply)
            failure = JudgeError(f"{self.host} answers with {page}")
        raise failure

    def _explain(self, error: openai.APIStatusError) -> DuelError | Ungradable | RefusedParameter:
        code, status = str(error.code), error.status_code
        if status in (400, 422) and (name := refused_parameter(code, error.param, error.message)) is not None:
            return RefusedParameter(name)
        if status == 400 and TOO_LARGE.search(error.message):
            return Ungradable(f"{self.host} writes no reply as long as that: {error.message[:120]}")
        if code in UNGRADABLE:
            return Ungradable(f"{self.host} refused the prompt: {code}")
        if status in (401, 403):
            return UserError(f"{self.host} refused the API key (HTTP {status}); check it and its rights")
        if status == 404:
            return UserError(f"{self.host} has no model {self.model!r} for this key; check judge.model")
        if status in (400, 413, 422):
            return UserError(f"{self.host} refused the request (HTTP {status}, {code}); check judge.model")
        return JudgeError(f"{self.host} failed with HTTP {status} ({code}); evaluate again later")

    def _check_deadline(self, request: Any) -> None:  # noqa: ARG002
        if time.monotonic() > self._now.deadline:
            raise DeadlineError

    def _note(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.SyncByteStream)
        encoding = response.headers.pop("Content-Encoding", "")
        response.stream = BoundedBody(response.stream, encoding, lambda: self._check_deadline(None))
        self._now.status = f"HTTP {response.status_code}"
        if response.status_code == 429 and b"insufficient_quota" in response.read():
            raise NoCreditError


def check_ready(api_key: str | None = None) -> str:
    """Return the API key, without any request. Raises SettingsError when there is none or it cannot be one."""
    key = check_key(api_key or os.environ.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY")
    if not key:
        raise SettingsError(
            "judge.service = 'openai' needs OPENAI_API_KEY, which is not set; export it, or use 'exact'"
        )
    return key


def text_of(reply: object) -> tuple[str, bool]:
    """Return the first choice's text, and whether it was cut off at the token limit; ("", False) without a choice.

    The client library does not check what a server answers: any field may be of any type.
    """
    choices: object = getattr(reply, "choices", None)
    choice: object = choices[0] if isinstance(choices, list) and choices else None
    text: object = getattr(getattr(choice, "message", None), "content", None)
    return text if isinstance(text, str) else "", getattr(choice, "finish_reason", None) == "length"
