"""A Replicate on this machine: its HTTP API as far as an image model's caller meets it, faults included.

What it accepts and rejects, and in which words, follows the published HTTP reference and answers that people quote in
public. Where the real service is not known: it bills a refused prediction here (the image was made, then withheld).

Faults, by stage:

    create      throttled (429), error (500), hang (nothing created, no answer), reset (the same, at once),
                error-after, lost, reset-after (the same three, after the prediction was created)
    poll, list  throttled, error, hang, reset
    prediction  refused (NSFW), failed
    file        error, hang, reset, empty, truncated (whole HTTP, half an image), cut (the connection ends early)
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from duel.generators import ImageGenerator
from duel.randomness import derive_seed
from duel.testing.faults import Faults
from duel.testing.inputs import FLUX_SCHNELL, VERSIONS, Fault, faults_of
from duel.testing.serving import Handler, Server
from duel.types import Refusal

TOKEN = "r8_loopback_not_a_real_token"
PAGE = 100  # predictions on a page of the list
CREATE_FAULTS = ("throttled", "error", "hang", "reset", "error-after", "lost", "reset-after")
READ_FAULTS = ("throttled", "error", "hang", "reset")
FILE_FAULTS = ("error", "hang", "reset", "empty", "truncated", "cut")
NSFW = "All generated images contained NSFW content. Try running it again with a different prompt."
FORMATS = {"webp": "image/webp", "jpg": "image/jpeg", "png": "image/png"}


@dataclass
class Job:
    """One prediction and its files."""

    number: int
    id: str
    model: str
    version: str
    input: dict[str, Any]
    created: float  # seconds since 1970
    status: str = "starting"
    error: str | None = None
    started: float | None = None
    completed: float | None = None
    billed: int = 0
    files: list[bytes] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


class ReplicateServer:
    """Answers on `url`, and delivers files on `files_url`, as the real service does from a domain of its own.

    `generator` draws; `seconds` is how long a prediction takes at least; `retention` after how many seconds inputs
    and outputs are forgotten; `per_minute` throttles creations for real. Use it with `with`.
    """

    def __init__(
        self,
        generator: ImageGenerator,
        *,
        token: str = TOKEN,
        faults: Faults | None = None,
        seconds: float = 0.0,
        retention: float = 3600.0,
        per_minute: float | None = None,
        retry_after: float = 1.0,
        hang_seconds: float = 60.0,
        credit: float = float("inf"),
        port: int = 0,
    ) -> None:
        self.generator = generator
        self.token = token
        self.faults = faults or Faults()
        self.seconds = seconds
        self.retention = retention
        self.per_minute = per_minute
        self.retry_after = retry_after
        self.credit = credit  # images that can still be paid for
        self.jobs: list[Job] = []  # by number, oldest first
        self.images_served = 0
        self.tokens_at_files = 0  # file requests that carried a token, which they should not
        self._lock = threading.Lock()
        self._draw = ThreadPoolExecutor(max_workers=16, thread_name_prefix="prediction")
        self._api = Server(type("Api", (ApiHandler,), {"service": self}), port, hang_seconds)
        self._files = Server(type("Files", (FileHandler,), {"service": self}), 0, hang_seconds)

    @property
    def url(self) -> str:
        """What REPLICATE_BASE_URL is to be."""
        return self._api.url

    @property
    def files_url(self) -> str:
        """Where files are delivered from."""
        return self._files.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that send Duel's Replicate generator here."""
        return {"REPLICATE_BASE_URL": self.url, "REPLICATE_API_TOKEN": self.token}

    def counts(self) -> dict[str, int]:
        """Return what was created, how it ended, what was billed and served."""
        with self._lock:
            status = [job.status if job.error != NSFW else "refused" for job in self.jobs]
            return {
                "created": len(self.jobs),
                "distinct_inputs": len({json.dumps(job.input, sort_keys=True) for job in self.jobs}),
                "succeeded": status.count("succeeded"),
                "refused": status.count("refused"),
                "failed": status.count("failed"),
                "images_billed": sum(job.billed for job in self.jobs),
                "images_served": self.images_served,
            }

    def create(self, model: str, version: str, input: dict[str, Any]) -> Job:
        """Create a prediction; it is drawn in a thread of its own."""
        with self._lock:
            number = len(self.jobs)
            job = Job(number, secrets.token_hex(13), model, version, input, time.time())
            self.jobs.append(job)
        self._draw.submit(self._run, job)
        return job

    def throttled(self) -> bool:
        """Tell whether the last minute's creations exhaust the rate."""
        if self.per_minute is None:
            return False
        with self._lock:
            return sum(time.time() - job.created < 60 for job in self.jobs[-4000:]) >= self.per_minute

    def job(self, id: str) -> Job | None:
        """Return a prediction by id."""
        with self._lock:
            return next((job for job in reversed(self.jobs) if job.id == id), None)

    def forgotten(self, job: Job) -> bool:
        """Tell whether a prediction's input and output are removed."""
        return job.completed is not None and time.time() - job.completed > self.retention

    def _run(self, job: Job) -> None:
        job.status, job.started = "processing", time.time()
        self._api.closing.wait(self.seconds)
        fault = self.faults.pick("prediction", ("refused", "failed"))
        if fault == "failed":
            job.error = "Director: unexpected error handling prediction (E9243)"
        else:
            try:
                job.files = self._images(job)
                job.billed = len(job.files) or 1
            except Exception as error:  # noqa: BLE001  what a model raises is its prediction's error, as at the service
                job.error = str(error)
            if fault == "refused":
                job.files = []
            if not job.files and job.error is None:
                job.error = NSFW
        self.credit -= job.billed
        job.completed = time.time()
        job.status = "succeeded" if job.error is None else "failed"
        job.done.set()

    def _images(self, job: Job) -> list[bytes]:
        seed = job.input.get("seed") or derive_seed(0, "unseeded", job.number) % 2**16  # 0 is no seed, as in FLUX
        format = job.input.get("output_format", "webp")
        images = []
        for index in range(job.input.get("num_outputs", 1)):
            drawn = self.generator.draw(job.input["prompt"], seed + index)
            if not isinstance(drawn, Refusal):
                images.append(encode(drawn.data, format, job.input.get("output_quality", 80)))
        return images

    def __enter__(self) -> Self:
        self._api.start()
        self._files.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.stop()
        self._files.stop()
        self._draw.shutdown()


class ApiHandler(Handler):
    """The HTTP API."""

    service: ReplicateServer

    def do_POST(self) -> None:
        """Create or cancel a prediction."""
        body = self.read_body()
        if not self.authorized():
            return
        match urlsplit(self.path).path.strip("/").split("/"):
            case ["v1", "predictions"]:
                self.create(body, None)
            case ["v1", "models", owner, name, "predictions"]:
                self.create(body, f"{owner}/{name}")
            case ["v1", "predictions", id, "cancel"]:
                self.cancel(id)
            case _:
                self.fail(404, "Not found", "The requested resource could not be found.")

    def do_GET(self) -> None:
        """Show a prediction, the list of them, or the account."""
        if not self.authorized():
            return
        address = urlsplit(self.path)
        match address.path.strip("/").split("/"):
            case ["v1", "predictions"]:
                if not self.goes_wrong("list", READ_FAULTS):
                    self.list(parse_qs(address.query))
            case ["v1", "predictions", id]:
                if not self.goes_wrong("poll", READ_FAULTS):
                    self.show(id)
            case ["v1", "account"]:
                self.answer(200, {"type": "organization", "username": "loopback", "name": "Loopback"})
            case _:
                self.fail(404, "Not found", "The requested resource could not be found.")

    def authorized(self) -> bool:
        """Tell whether the token is right; if not, say so."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if not token:
            self.fail(401, "Unauthenticated", "You did not pass an authentication token")
        elif scheme.lower() not in ("bearer", "token") or token.strip() != self.service.token:
            self.fail(401, "Unauthenticated", "You did not pass a valid authentication token")
        else:
            return True
        return False

    def create(self, body: bytes, model: str | None) -> None:
        """Create a prediction, by model where the address names one, else by the body's version."""
        request = self.valid_request(body, model)
        if request is None:
            return
        if self.service.throttled():
            self.throttle()
            return
        fault = self.service.faults.pick("create", CREATE_FAULTS)
        job = None
        if fault is None or fault in ("error-after", "lost", "reset-after"):
            job = self.service.create(**request)
        if fault is not None or job is None:
            self.go_wrong({"error-after": "error", "lost": "hang", "reset-after": "reset"}.get(str(fault), str(fault)))
            return
        wait = self.headers.get("Prefer", "")
        if wait.startswith("wait"):
            job.done.wait(float(wait.partition("=")[2] or 60))
        self.answer(201, self.shown(job))

    def valid_request(self, body: bytes, model: str | None) -> dict[str, Any] | None:
        """Return model, version and input of a creation; None, and the service's complaint, if they do not fit."""
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            self.fail(400, "Bad request", "The request body is not a JSON object.")
            return None
        if model is None:
            version = str(request.get("version", "")).rpartition(":")[2]
            model = FLUX_SCHNELL if version == FLUX_SCHNELL else VERSIONS.get(version)
            if "version" in request and model is None:
                detail = "The specified version does not exist (or perhaps you don't have permission to use it?)"
                self.fail(422, "Invalid version or not permitted", detail)
                return None
        elif model != FLUX_SCHNELL:  # the address takes official models only
            self.fail(404, "Not found", "The requested resource could not be found.")
            return None
        else:
            version = "hidden"
        faults = request_faults(request, model)
        if faults:
            detail = "".join(f"- {f['field']}: {f['description']}\n".replace("- : ", "- ") for f in faults)
            self.fail(422, "Input validation failed", detail, invalid_fields=faults)
            return None
        if self.service.credit <= 0:
            detail = "You have insufficient credit to run this model. Go to "
            detail += "https://replicate.com/account/billing#billing to purchase credit."
            self.fail(402, "Insufficient credit", detail)
            return None
        return {"model": model, "version": version, "input": request["input"]}

    def show(self, id: str) -> None:
        """Answer one prediction."""
        job = self.service.job(id)
        if job is None:
            self.fail(404, "Not found", "Prediction not found")
        else:
            self.answer(200, self.shown(job))

    def list(self, query: Mapping[str, list[str]]) -> None:
        """Answer a page of predictions, newest first."""
        jobs = list(self.service.jobs)
        end = len(jobs)
        if "cursor" in query:
            end = int(base64.urlsafe_b64decode(query["cursor"][0]).decode().removeprefix("p="))
        start = max(0, end - PAGE)
        cursor = base64.urlsafe_b64encode(f"p={start}".encode()).decode()
        following = f"{self.service.url}/v1/predictions?cursor={cursor}" if start else None
        results = [self.shown(job) | {"source": "api"} for job in reversed(jobs[start:end])]
        self.answer(200, {"previous": None, "next": following, "results": results})

    def cancel(self, id: str) -> None:
        """Answer a cancellation; a prediction here is too short to be stopped."""
        self.show(id)

    def shown(self, job: Job) -> dict[str, Any]:
        """Return a prediction as the API shows it."""
        removed = self.service.forgotten(job)
        address = f"{self.service.url}/v1/predictions/{job.id}"
        format = job.input.get("output_format", "webp")
        files = [f"{self.service.files_url}/xezq/{job.id}/out-{i}.{format}" for i in range(len(job.files))]
        done = job.status == "succeeded" and not removed
        return {
            "id": job.id,
            "model": job.model,
            "version": job.version,
            "input": {} if removed else job.input,
            "output": files if done else None,
            "logs": None if removed else "",
            "data_removed": removed,
            "error": job.error,
            "status": job.status,
            "created_at": iso(job.created),
            "started_at": iso(job.started),
            "completed_at": iso(job.completed),
            "metrics": {"image_count": job.billed, "predict_time": self.service.seconds} if job.completed else {},
            "urls": {"get": address, "cancel": f"{address}/cancel", "web": f"https://replicate.com/p/{job.id}"},
        }

    def goes_wrong(self, stage: str, possible: tuple[str, ...]) -> bool:
        """Tell whether this request goes wrong; if so, it has."""
        fault = self.service.faults.pick(stage, possible)
        if fault is not None:
            self.go_wrong(fault)
        return fault is not None

    def go_wrong(self, fault: str) -> None:
        """Give the wrong answer, or none."""
        if fault == "throttled":
            self.throttle()
        elif fault == "error":
            self.fail(500, "Internal server error", "An unexpected error occurred.")
        elif fault == "hang":
            self.hang()
        else:
            self.reset()

    def throttle(self) -> None:
        """Ask the client to wait."""
        seconds = self.service.retry_after
        detail = f"Request was throttled. Your rate limit resets in ~{seconds:g}s."
        headers = {"Retry-After": f"{seconds:g}"}
        self.answer(429, {"detail": detail, "status": 429, "retry_after": seconds}, headers)

    def fail(self, status: int, title: str, detail: str, **more: Any) -> None:
        """Answer a problem, as RFC 7807 has it."""
        self.answer(status, {"title": title, "detail": detail, "status": status, **more})


class FileHandler(Handler):
    """The delivery of files, to anybody who knows their address."""

    service: ReplicateServer

    def do_GET(self) -> None:
        """Send a file, or what is left of it."""
        self.service.tokens_at_files += "Authorization" in self.headers
        found = self.find()
        if found is None:
            self.send(404, b"", {})
            return
        data, kind = found
        fault = self.service.faults.pick("file", FILE_FAULTS)
        headers = {"Content-Type": kind}
        if fault == "hang":
            self.hang()
        elif fault == "reset":
            self.reset()
        elif fault == "error":
            self.send(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})
        elif fault == "cut":
            self.send(200, data[: len(data) // 2], headers, announced=len(data))
        else:
            self.send(200, {"empty": b"", "truncated": data[: len(data) // 2]}.get(str(fault), data), headers)
            self.service.images_served += fault is None

    def find(self) -> tuple[bytes, str] | None:
        """Return a file's bytes and type, unless it is not there, or not any more."""
        *_, id, name = self.path.split("/")
        stem, _, format = name.partition(".")
        job = self.service.job(id)
        index = stem.removeprefix("out-")
        if job is None or self.service.forgotten(job) or not index.isdigit() or int(index) >= len(job.files):
            return None
        return job.files[int(index)], FORMATS.get(format, "application/octet-stream")


def request_faults(request: dict[str, Any], model: str | None) -> list[Fault]:
    """Return what is wrong with the body of a creation."""
    allowed = {"version", "input", "stream", "webhook", "webhook_completed", "webhook_events_filter"}
    faults = []
    if model is None:
        faults.append({"type": "required", "field": "", "description": "version is required"})
    if "input" not in request:
        faults.append({"type": "required", "field": "", "description": "input is required"})
    for name in sorted(request.keys() - allowed):
        description = f"Additional property {name} is not allowed"
        faults.append({"type": "additional_property_not_allowed", "field": "", "description": description})
    return faults or faults_of(str(model), request["input"])


def encode(data: bytes, format: str, quality: int) -> bytes:
    """Return an image in the asked format."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        if format == "png":
            image.save(buffer, "PNG")
        else:
            image.convert("RGB").save(buffer, {"jpg": "JPEG", "webp": "WEBP"}[format], quality=quality)
    return buffer.getvalue()


def iso(seconds: float | None) -> str | None:
    """Return a moment as the API writes it."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
