"""A fake OpenAI chat-completions API on 127.0.0.1 that grades by comparing texts, with fault injection.

It parses ground truth and response out of a CharXiv grading prompt, and rejects what the real service rejects: a wrong
API key, a missing model, and JSON mode with a prompt that does not mention JSON.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Collection
from typing import Any, Self

from duel.judges.exact import normalise
from duel.testing.faults import Faults
from duel.testing.serving import Handler, Server

KEY = "sk-loopback-not-a-real-key"
FAILURES = {  # fault: (status, code, message)
    "unauthorized": (401, "invalid_api_key", "Incorrect API key provided."),
    "throttled": (429, "rate_limit_exceeded", "Rate limit reached."),
    "quota": (429, "insufficient_quota", "You exceeded your current quota."),
    "error": (500, "server_error", "The server had an error while processing your request."),
    "filtered": (400, "content_filter", "The prompt was flagged."),
}
SPOILT = ("bad-json", "cut-json", "missing-keys")  # faults of the verdict, in a complete HTTP response
ODD_REPLIES: dict[str, Any] = {  # fault: what stands in the place of a completion's choices
    "null-choices": None,
    "no-choices": [],
    "text-choices": "none",
    "null-message": [{"message": None}],
    "null-content": [{"message": {"role": "assistant", "content": None, "refusal": "I cannot judge this."}}],
    "list-content": [{"message": {"role": "assistant", "content": [{"type": "text", "text": "{}"}]}}],
}
WRAPPED = {  # form of a right verdict that some models give: the words around it
    "fenced": ("```json\n", "\n```"),
    "thinking": ('<think>{"score": 0}? No: it is the same.</think>\n', ""),
    "prose": ("Here is my verdict: ", ""),
}
COMPLETION_FAULTS = (*FAILURES, "hang", "reset", "bad-body", "endless", "bomb", *SPOILT, *ODD_REPLIES, *WRAPPED)
ANSWER = re.compile(r"Ground Truth: (?P<truth>.*?)\n\W*Response: (?P<response>.*)", re.DOTALL)
TRIPLET = re.compile(
    r"T(?P<i>\d+):\nResponse (?P=i): (?P<response>.*?)\nGround Truth (?P=i): (?P<truth>.*?)\n\n", re.DOTALL
)


class OpenAIServer:
    """Grades by exact match of normalised texts. Use it as a context manager.

    Faults have one stage, `completion`, and are those of COMPLETION_FAULTS. Each verdict takes `seconds`; a 429 has
    `Retry-After: retry_after` (seconds). The model `refuses` parameters of these names as OpenAI's reasoning models do,
    and spends `reasoning` tokens before the first word. `requests` holds the bodies that were answered with a verdict,
    in order.
    """

    def __init__(
        self,
        *,
        key: str = KEY,
        faults: Faults | None = None,
        seconds: float = 0.0,
        retry_after: float = 1.0,
        hang_seconds: float = 60.0,
        port: int = 0,
        refuses: Collection[str] = (),
        reasoning: int = 0,
    ) -> None:
        self.key = key
        self.refuses = refuses
        self.reasoning = reasoning
        self.faults = faults or Faults()
        self.seconds = seconds
        self.retry_after = retry_after
        self.requests: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()
        self._under_way = 0
        self._lock = threading.Lock()
        self._api = Server(type("Api", (CompletionHandler,), {"service": self}), port, hang_seconds)

    @property
    def url(self) -> str:
        """The value for OPENAI_BASE_URL."""
        return f"{self._api.url}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that point Duel's judge here."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": self.key}

    def counts(self) -> dict[str, int]:
        """Return the numbers of requests, of usable verdicts, and of requests in progress at once (maximum)."""
        with self._lock:
            return {name: self._counts[name] for name in ("requests", "verdicts", "most_at_once")}

    def arrive(self) -> None:
        """Count the start of a request."""
        with self._lock:
            self._counts["requests"] += 1
            self._under_way += 1
            self._counts["most_at_once"] = max(self._counts["most_at_once"], self._under_way)

    def leave(self) -> None:
        """Count the end of a request."""
        with self._lock:
            self._under_way -= 1

    def judge(self, request: dict[str, Any], fault: str | None) -> dict[str, Any]:
        """Return the response to a request, its verdict corrupted according to `fault`."""
        self._api.closing.wait(self.seconds)
        with self._lock:
            self.requests.append(request)
            self._counts["verdicts"] += fault is None or fault in WRAPPED
        text = corrupt(json.dumps(grade(request["messages"][0]["content"])), fault)
        cut = fault == "cut-json"
        limit = request.get("max_tokens", request.get("max_completion_tokens"))
        if limit is not None and limit <= self.reasoning:
            text, cut = "", True
        reply = completion(request["model"], text, "length" if cut else "stop")
        return reply | {"choices": ODD_REPLIES[fault]} if fault in ODD_REPLIES else reply

    def __enter__(self) -> Self:
        self._api.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._api.stop()


class CompletionHandler(Handler):
    """Handles POST /v1/chat/completions."""

    service: OpenAIServer

    def do_POST(self) -> None:
        """Respond to one request, or inject a fault."""
        self.service.arrive()
        try:
            self.complete(self.read_body())
        finally:
            self.service.leave()

    def complete(self, body: bytes) -> None:
        """Validate the request as the real service does, then grade it."""
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.path != "/v1/chat/completions":
            return self.fail(404, "unknown_url", f"Invalid URL (POST {self.path})")
        if given != self.service.key:
            return self.fail(401, "invalid_api_key", f"Incorrect API key provided: {given}.")
        request = json.loads(body)
        refusal = request_error(request)
        if refusal:
            return self.fail(400, "invalid_request_error", refusal)
        for name in self.service.refuses:
            if name in request:
                return self.refuse(name)
        self.deliver(request)

    def deliver(self, request: dict[str, Any]) -> None:
        """Grade a valid request, or inject a fault."""
        fault = self.service.faults.pick("completion", COMPLETION_FAULTS)
        if fault in FAILURES:
            return self.fail(*FAILURES[fault])
        if fault == "hang":
            return self.hang()
        if fault == "reset":
            return self.reset()
        if fault == "bad-body":
            return self.send(200, b'{"id": ', {"Content-Type": "application/json"})
        if fault == "endless":
            return self.send_endless(200, {"Content-Type": "application/json"})
        if fault == "bomb":
            return self.send_compressed_bomb({"Content-Type": "application/json"})
        return self.answer(200, self.service.judge(request, fault))

    def refuse(self, name: str) -> None:
        """Say that the model does not take a parameter, as OpenAI's does."""
        instead = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
        message = f"Unsupported parameter: '{name}' is not supported with this model.{instead}"
        self.fail(400, "unsupported_parameter", message, name)

    def fail(self, status: int, code: str, message: str, parameter: str | None = None) -> None:
        """Send an error in the service's format."""
        headers = {"Retry-After": f"{self.service.retry_after:g}"} if status == 429 else {}
        self.answer(status, {"error": {"message": message, "type": "error", "param": parameter, "code": code}}, headers)


def request_error(request: dict[str, Any]) -> str | None:
    """Return the real service's error message for an invalid request, or None."""
    messages = request.get("messages")
    if not request.get("model"):
        return "you must provide a model parameter"
    if not isinstance(messages, list) or not messages or not isinstance(messages[0].get("content"), str):
        return "'messages' is a required property"
    wants_json = (request.get("response_format") or {}).get("type") == "json_object"
    if wants_json and "json" not in messages[0]["content"].lower():
        return "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    return None


def grade(prompt: str) -> dict[str, Any]:
    """Return the verdict on a grading prompt: score 1 where response and ground truth are the same words."""
    triplets = list(TRIPLET.finditer(prompt.rpartition("### Example End ###")[2]))
    if triplets:
        verdict: dict[str, Any] = {}
        for triplet in triplets:
            verdict[f"extract_answer_T{triplet['i']}"] = triplet["response"]
            verdict[f"score_T{triplet['i']}"] = same(triplet)
        return verdict
    answer = ANSWER.search(prompt.partition("### Your Turn ###")[2])
    if answer is None:
        return {"error": "no ground truth and response found"}
    return {"extracted_answer": answer["response"].strip(), "score": same(answer)}


def same(match: re.Match[str]) -> int:
    """Return 1 if response and ground truth are the same words, else 0."""
    return int(normalise(match["truth"]) == normalise(match["response"]))


def corrupt(verdict: str, fault: str | None) -> str:
    """Return a verdict corrupted according to `fault`."""
    if fault == "bad-json":
        return "The score is 1."
    if fault == "cut-json":
        return verdict[: len(verdict) // 2]
    before, after = WRAPPED.get(str(fault), ("", ""))
    return '{"verdict": 1}' if fault == "missing-keys" else before + verdict + after


def completion(model: str, text: str, finish_reason: str) -> dict[str, Any]:
    """Return a chat completion in the service's format."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 1735689600,
        "model": model,
        "choices": [choice],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
