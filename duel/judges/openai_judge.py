"""LLM judge: CharXiv's official grading prompts, sent to OpenAI or any server with a compatible API."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait

from duel.errors import JudgeError, UserError
from duel.judges.billing import Billing
from duel.judges.chat import ChatModel, Ungradable
from duel.judges.grading import GradingRequest, by_completion, grading_requests, read_verdict, replace_surrogates, shown
from duel.judges.request_form import SAMPLING
from duel.rubrics import Rubrics
from duel.services.stopping import abandon, request_pool
from duel.types import Grade, Question

log = logging.getLogger(__name__)

FIRST_TOKENS, MOST_TOKENS = 256, 16_384  # of the first reply; doubled when it was cut off
REASONING = 8  # times more for a model that wrote nothing: it spent its tokens on reasoning
TRIES = 10  # attempts to get parseable JSON
EQUAL_TRIES = 3  # equal replies after which a fourth would be the same
ALL_UNUSABLE = 8  # answers without a usable verdict, and none with one, after which no more are graded

AnswerOnce = Callable[[str, Callable[[], str]], str]


class UnusableError(Ungradable):
    """The judge was asked, and what it replied holds no verdict."""


def no_cache(key: str, ask: Callable[[], str]) -> str:  # noqa: ARG001
    """Call `ask`, without caching; `cache.answer_store` has the caching counterpart."""
    return ask()


class OpenAIJudge:
    """Grades by CharXiv's rubrics with a chat model in JSON mode. Sends `concurrency` requests at a time.

    `answer_once(key, ask)` returns the judge's reply to a request: from a cache, or by calling `ask`. The API key is
    `api_key` or OPENAI_API_KEY, the base URL OPENAI_BASE_URL; the key is held by the client only, so that it appears
    in no repr of the judge. Not thread-safe: call it from one thread. `billing` records what requests cost; None:
    nothing does.
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
        self.rubrics = rubrics
        self.answer_once = answer_once
        self.concurrency = concurrency
        self.chat = ChatModel(model, billing, api_key, timeout_seconds, deadline_seconds)
        self._lock = threading.Lock()  # of the two counts
        self._usable, self._unusable = 0, 0

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

    @property
    def note(self) -> str:
        """How requests differed from the official grader's, since the model refused its form; empty if they did not."""
        return self.chat.form.note

    def close(self) -> None:
        """Close the connection pool."""
        self.chat.close()

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
        except UnusableError as reason:
            self._count_unusable(str(reason))
            log.warning("ungraded: %s", reason)
            return [Grade(None, "")] * len(request.answers)
        except Ungradable as reason:
            log.warning("ungraded: %s", reason)
            return [Grade(None, "")] * len(request.answers)
        with self._lock:
            self._usable += 1
        return read_verdict(text, request.keys) or [Grade(None, "")] * len(request.answers)

    def _count_unusable(self, reason: str) -> None:
        """Raise UserError when the first replies are all unusable: the others would be paid for nothing."""
        with self._lock:
            self._unusable += 1
            hopeless = self._usable == 0 and self._unusable >= ALL_UNUSABLE
        if hopeless:
            raise UserError(
                f"{self.chat.model!r} at {self.chat.host} gave no usable verdict on the first {ALL_UNUSABLE} answers "
                f"({reason}); expected JSON as the grading prompt asks for; set another judge.model"
            )

    def _key(self, prompt: str) -> str:
        # The base URL is part of the key: replies of a test server must never be taken for the real judge's.
        request = {"service": self.chat.base_url, "model": self.chat.model, "prompt": prompt, **SAMPLING}
        encoded = json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(encoded.encode()).hexdigest()

    def _ask(self, request: GradingRequest) -> str:
        """Return the first reply that holds a usable verdict. Raises UnusableError after TRIES replies without one."""
        self.chat.begin()
        key, tokens, replies = self._key(request.prompt), FIRST_TOKENS, Counter[str]()
        for _ in range(TRIES):
            text, cut = self.chat.reply(key, request.prompt, tokens)
            if read_verdict(text, request.keys) is not None:
                return text
            if cut and tokens == MOST_TOKENS:
                raise UnusableError(f"the verdict is longer than {MOST_TOKENS} tokens")
            if cut:
                tokens = min(MOST_TOKENS, tokens * (2 if text.strip() else REASONING))
            elif text:
                replies[text] += 1
                if replies[text] == EQUAL_TRIES:
                    raise UnusableError(f"{EQUAL_TRIES} times the reply {shown(text)!r}")
        raise UnusableError(f"no usable JSON in {TRIES} tries")
