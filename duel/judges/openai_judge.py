"""An LLM as judge: CharXiv's official grading, asked of OpenAI or of any service that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion

from duel.errors import DuelError, JudgeError, SettingsError, UserError
from duel.judges.grading import Sheet, by_completion, clean, read_verdict, sheets_of
from duel.rubrics import Rubrics
from duel.types import Grade, Question

log = logging.getLogger(__name__)

SAMPLING: dict[str, Any] = {"temperature": 0, "top_p": 1, "seed": 42, "n": 1}  # the official grader's
FIRST_TOKENS, MOST_TOKENS = 256, 1024
TRIES = 10  # of an answer that is no usable JSON
RETRIES = 1000  # of the client library; the deadline comes first
UNGRADABLE = {"content_filter", "invalid_prompt", "context_length_exceeded", "string_above_max_length"}

AnswerOnce = Callable[[str, Callable[[], str]], str]


class Ungradable(Exception):
    """No usable verdict came; the answers it was about stay ungraded."""


class DeadlineError(Exception):
    """The time for one answer is over."""


class NoCreditError(Exception):
    """The account is empty: a 429 like any other to the client library, which would try again until the deadline."""


def ask_always(key: str, ask: Callable[[], str]) -> str:  # noqa: ARG001
    """Ask without remembering; `cache.answer_store` has the one that remembers."""
    return ask()


class OpenAIJudge:
    """Grades by CharXiv's rubrics; safe to call from one thread, works in several.

    `answer_once(key, ask)` returns the judge's text for a request, asking only if it is not remembered. The key
    comes from `api_key` or OPENAI_API_KEY, the address from OPENAI_BASE_URL; neither is kept in a field of its own.
    """

    def __init__(
        self,
        model: str,
        rubrics: Rubrics,
        *,
        answer_once: AnswerOnce = ask_always,
        api_key: str | None = None,
        concurrency: int = 8,
        timeout_seconds: float = 60.0,
        deadline_seconds: float = 600.0,
    ) -> None:
        check_ready(api_key)
        self.model = model
        self.rubrics = rubrics
        self.answer_once = answer_once
        self.concurrency = concurrency
        self.deadline_seconds = deadline_seconds
        self._now = threading.local()  # .deadline and .status of the request that this thread has under way
        http = openai.DefaultHttpxClient(event_hooks={"request": [self._check_deadline], "response": [self._note]})
        self._client = openai.OpenAI(api_key=api_key, http_client=http, timeout=timeout_seconds, max_retries=RETRIES)
        self.host = urlsplit(str(self._client.base_url)).hostname or ""

    def grade(self, question: Question, answers: Sequence[str]) -> list[Grade]:
        """Grade every answer to one question; None as a score where no usable verdict came.

        Raises JudgeError when the judge cannot be reached, UserError when it refuses key, model or request.
        """
        return self.grade_all([question], [answers])[0]

    def grade_all(self, questions: Sequence[Question], answers: Sequence[Sequence[str]]) -> list[list[Grade]]:
        """Grade every answer to every question, (questions, answers); equal answers are graded once.

        Descriptive answers of one question id share requests. What was graded before an error is remembered.
        """
        pairs = [(question, clean(text)) for question, row in by_completion(questions, answers) for text in row]
        sheets = list(sheets_of(self.rubrics, dict.fromkeys(pairs)))
        grades: dict[tuple[Question, str], Grade] = {}
        for sheet, verdict in zip(sheets, self._grade_sheets(sheets), strict=True):
            grades.update(zip(sheet.answers, verdict, strict=True))
        ungraded = sum(grades[pair].score is None for pair in pairs)
        if ungraded:
            log.warning("%d of %d answers could not be graded", ungraded, len(pairs))
        return [
            [grades[question, clean(text)] for text in row] for question, row in zip(questions, answers, strict=True)
        ]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _grade_sheets(self, sheets: Sequence[Sheet]) -> list[list[Grade]]:
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="judge")
        try:
            futures = [pool.submit(self._grade_sheet, sheet) for sheet in sheets]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # after an error no further request starts; what is under way still reaches the store
            pool.shutdown(cancel_futures=True)
        failures = [future.exception() for future in futures if not future.cancelled()]
        for failure in sorted((error for error in failures if error), key=lambda error: isinstance(error, JudgeError)):
            raise failure
        return [future.result() for future in futures]

    def _grade_sheet(self, sheet: Sheet) -> list[Grade]:
        try:
            text = self.answer_once(self._key(sheet.prompt), lambda: self._ask(sheet))
        except Ungradable as reason:
            log.warning("ungraded: %s", reason)
            return [Grade(None, "")] * len(sheet.answers)
        return read_verdict(text, sheet.keys) or [Grade(None, "")] * len(sheet.answers)

    def _key(self, prompt: str) -> str:
        # The address is part of the key: what a trial server answered must never pass for the real judge's.
        request = {"service": str(self._client.base_url), "model": self.model, "prompt": prompt, **SAMPLING}
        encoded = json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(encoded.encode()).hexdigest()

    def _ask(self, sheet: Sheet) -> str:
        """Return the judge's text once it holds a usable verdict; raises Ungradable when none comes."""
        self._now.deadline, self._now.status = time.monotonic() + self.deadline_seconds, "none"
        tokens = FIRST_TOKENS
        for _ in range(TRIES):
            text, cut = self._complete(sheet.prompt, tokens)
            if read_verdict(text, sheet.keys) is not None:
                return text
            if cut and tokens == MOST_TOKENS:
                raise Ungradable(f"the verdict is longer than {MOST_TOKENS} tokens")
            tokens = min(MOST_TOKENS, 2 * tokens) if cut else tokens
        raise Ungradable(f"no usable JSON in {TRIES} tries")

    def _complete(self, prompt: str, tokens: int) -> tuple[str, bool]:
        """Ask once; return the text, and whether it was cut at the token limit.

        An error of the library never leaves, not even as a cause: it holds the request, and that holds the key.
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
        except openai.APIConnectionError as error:
            failure = JudgeError(f"{self.host} cannot be reached: {type(error).__name__}; check OPENAI_BASE_URL")
        except ValueError:
            return "", False  # the body is no JSON
        else:
            return text_of(reply)
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

    def _note(self, response: Any) -> None:
        self._now.status = f"HTTP {response.status_code}"
        if response.status_code == 429 and b"insufficient_quota" in response.read():
            raise NoCreditError


def check_ready(api_key: str | None = None) -> None:
    """Raise SettingsError when there is no key; asks nothing of the service."""
    if not (api_key or os.environ.get("OPENAI_API_KEY", "")).strip():
        raise SettingsError(
            "judge.service = 'openai' needs OPENAI_API_KEY, which is not set; export it, or use 'exact'"
        )


def text_of(reply: ChatCompletion) -> tuple[str, bool]:
    """Return the text of the first choice, and whether it was cut; nothing where the reply has no choice."""
    if not isinstance(reply, ChatCompletion) or not reply.choices:
        return "", False
    choice = reply.choices[0]
    return choice.message.content or "", choice.finish_reason == "length"
