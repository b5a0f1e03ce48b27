"""LLM judge: CharXiv's official grading prompts, sent to OpenAI or any server with a compatible API."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from typing import Any
from urllib.parse import urlsplit

import httpx2  # the client library's HTTP library
import openai

from duel.errors import DuelError, JudgeError, SettingsError, UserError
from duel.judges.billing import Billing
from duel.judges.client import BoundedBody, TrustingClient
from duel.judges.grading import GradingRequest, by_completion, grading_requests, read_verdict, replace_surrogates
from duel.rubrics import Rubrics
from duel.services.addresses import OPENAI, normal_address, service_address
from duel.services.network import check_key, html_page
from duel.services.responses import OversizedError
from duel.services.stopping import abandon, request_pool
from duel.types import Grade, Question

log = logging.getLogger(__name__)

SAMPLING: dict[str, Any] = {"temperature": 0, "top_p": 1, "seed": 42, "n": 1}  # as in the official grader
FIRST_TOKENS, MOST_TOKENS = 256, 1024  # max_tokens of the first attempt; doubled when the verdict was cut off
TRIES = 10  # attempts to get parseable JSON
RETRIES = 1000  # of the client library: effectively unlimited, `deadline_seconds` ends them
UNGRADABLE = {"content_filter", "invalid_prompt", "context_length_exceeded", "string_above_max_length"}

AnswerOnce = Callable[[str, Callable[[], str]], str]


class Ungradable(Exception):
    """The judge gave no usable verdict; the request's answers get the score None."""


class DeadlineError(Exception):
    """The deadline of one grading request has passed."""


class NoCreditError(Exception):
    """The account has no credit. OpenAI signals it by a 429, which the client library would retry."""


def no_cache(key: str, ask: Callable[[], str]) -> str:  # noqa: ARG001
    """Call `ask`, without caching; `cache.answer_store` has the caching counterpart."""
    return ask()


class OpenAIJudge:
    """Grades by CharXiv's rubrics with a chat model in JSON mode. Sends `concurrency` requests at a time.

    `answer_once(key, ask)` returns the judge's reply to a request: from a cache, or by calling `ask`. The API key is
    `api_key` or OPENAI_API_KEY, the base URL OPENAI_BASE_URL; the key is held by the client only, so that it appears
    in no repr of the judge. Not thread-safe: call it from one thread. `billing`
    records what requests cost; None: nothing does.
    """

    def __init__(
        self,
        model: str,
        rubrics: Rubrics,
        *,
        answer_once: AnswerOnce = no_cache,
        billing: Billing | None = None,
        api_key: str | None = None,
        concurrency: int = 8,
        timeout_seconds: float = 60.0,
        deadline_seconds: float = 600.0,
    ) -> None:
        self.model = model
        self.rubrics = rubrics
        self.answer_once = answer_once
        self.billing = billing
        self.concurrency = concurrency
        self.deadline_seconds = deadline_seconds
        self._now = threading.local()  # .deadline, .status and .usage of the request in progress in this thread
        http = TrustingClient(event_hooks={"request": [self._check_deadline], "response": [self._note]})
        self._client = openai.OpenAI(
            api_key=check_ready(api_key),
            base_url=service_address("OPENAI_BASE_URL", OPENAI),
            http_client=http,
            timeout=timeout_seconds,
            max_retries=RETRIES,
        )
        self.service = normal_address(str(self._client.base_url))
        self.host = urlsplit(str(self._client.base_url)).hostname or ""

    def grade(self, question: Question, answers: Sequence[str]) -> list[Grade]:
        """Return one Grade per answer to one question; the score is None where no usable verdict came.

        Raises JudgeError when the judge cannot be reached, UserError when it rejects the key, model or request.
        """
        return self.grade_all([question], [answers])[0]

    def grade_all(self, questions: Sequence[Question], answers: Sequence[Sequence[str]]) -> list[list[Grade]]:
        """Return a Grade for every answer to every question, shape (questions, answers per question).

        Equal answers are graded once; descriptive answers to the same question id share requests. Replies received
        before an error are in the cache. Raises as `grade` does.
        """
        pairs = [
            (question, replace_surrogates(text)) for question, row in by_completion(questions, answers) for text in row
        ]
        requests = list(grading_requests(self.rubrics, dict.fromkeys(pairs)))
        grades: dict[tuple[Question, str], Grade] = {}
        for request, verdict in zip(requests, self._grade_requests(requests), strict=True):
            grades.update(zip(request.answers, verdict, strict=True))
        ungraded = sum(grades[pair].score is None for pair in pairs)
        if ungraded:
            log.warning("%d of %d answers could not be graded", ungraded, len(pairs))
        return [
            [grades[question, replace_surrogates(text)] for text in row]
            for question, row in zip(questions, answers, strict=True)
        ]

    def close(self) -> None:
        """Close the connection pool."""
        self._client.close()

    def _grade_requests(self, requests: Sequence[GradingRequest]) -> list[list[Grade]]:
        pool = request_pool(self.concurrency, "judge")
        futures = [pool.submit(self._grade_request, request) for request in requests]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:  # stopped
            abandon(pool, futures)
            raise
        pool.shutdown(cancel_futures=True)  # after an error; running requests still reach the cache
        failures = [future.exception() for future in futures if not future.cancelled()]
        for failure in sorted((error for error in failures if error), key=lambda error: isinstance(error, JudgeError)):
            raise failure
        return [future.result() for future in futures]

    def _grade_request(self, request: GradingRequest) -> list[Grade]:
        try:
            text = self.answer_once(self._key(request.prompt), lambda: self._ask(request))
        except Ungradable as reason:
            log.warning("ungraded: %s", reason)
            return [Grade(None, "")] * len(request.answers)
        return read_verdict(text, request.keys) or [Grade(None, "")] * len(request.answers)

    def _key(self, prompt: str) -> str:
        # The base URL is part of the key: replies of a test server must never be taken for the real judge's.
        request = {"service": str(self._client.base_url), "model": self.model, "prompt": prompt, **SAMPLING}
        encoded = json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(encoded.encode()).hexdigest()

    def _ask(self, request: GradingRequest) -> str:
        """Return the first reply that holds a usable verdict. Raises Ungradable after TRIES replies without one."""
        self._now.deadline, self._now.status = time.monotonic() + self.deadline_seconds, "none"
        tokens = FIRST_TOKENS
        for _ in range(TRIES):
            text, cut = self._pay(request.prompt, tokens)
            if read_verdict(text, request.keys) is not None:
                return text
            if cut and tokens == MOST_TOKENS:
                raise Ungradable(f"the verdict is longer than {MOST_TOKENS} tokens")
            tokens = min(MOST_TOKENS, 2 * tokens) if cut else tokens
        raise Ungradable(f"no usable JSON in {TRIES} tries")

    def _pay(self, prompt: str, tokens: int) -> tuple[str, bool]:
        """Send one request, as `_complete` does, with its cost recorded. Raises LimitError at the budget's limit."""
        if self.billing is None:
            return self._complete(prompt, tokens)
        self._now.usage, self._now.status = None, "none"
        number = self.billing.reserve(self._key(prompt), prompt, tokens)
        try:
            return self._complete(prompt, tokens)
        finally:
            self.billing.settle(number, self._now.usage, self._now.status)

    def _complete(self, prompt: str, tokens: int) -> tuple[str, bool]:
        """Send one request; return the reply's text, and whether it was cut off at the token limit.

        Exceptions of the client library are never chained: they hold the request, and that holds the API key.
        """
        failure: Exception
        try:
            reply = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": prompt}],
                response_format={"type": "json_object"},
                max_tokens=tokens,
                **SAMPLING,
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

    def _explain(self, error: openai.APIStatusError) -> DuelError | Ungradable:
        code, status = str(error.code), error.status_code
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
