"""State of the fake Replicate, without HTTP: predictions, their images, billing and retention."""

from __future__ import annotations

import io
import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from duel.generators.base import ImageGenerator
from duel.randomness import derive_seed
from duel.testing.faults import Faults
from duel.types import Refusal

TOKEN = "r8_loopback_not_a_real_token"
NSFW = "All generated images contained NSFW content. Try running it again with a different prompt."

# Ends without an image: status, and the field `error`. None of them has been billed here.
ENDINGS: dict[str, tuple[str, Any]] = {
    "canceled": ("canceled", None),
    "aborted": ("aborted", "Prediction was aborted before it started because its deadline had passed."),
    "unknown-status": ("hibernating", None),
    "list-status": (["failed"], None),  # type: ignore[dict-item]
    "error-object": ("failed", {"code": "E6716", "detail": "Director: the worker is gone", "retryable": True}),
    "error-list": ("failed", ["out of memory"]),
    "no-output": ("succeeded", None),
    "moderation-timeout": ("failed", "Content moderation timed out; NSFW check service unavailable"),
}


@dataclass
class Job:
    """One prediction and its output files."""

    number: int
    id: str
    model: str
    version: str
    input: dict[str, Any]
    created: float  # Unix time
    status: str = "starting"
    error: Any = None
    started: float | None = None
    completed: float | None = None
    billed: int = 0
    files: list[bytes] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


class Predictions:
    """Runs predictions in worker threads and counts them; the HTTP handlers respond from its state.

    `generator` makes the images. A prediction takes at least `seconds`; inputs and outputs are deleted after
    `retention` seconds; more than `per_minute` creations get 429.
    """

    url: str  # base URL of the API; set by the subclass that serves it
    files_url: str  # base URL of output files

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
        credit: float = float("inf"),
        clock_offset: float = 0.0,
    ) -> None:
        self.generator = generator
        self.token = token
        self.faults = faults or Faults()
        self.seconds = seconds
        self.retention = retention
        self.per_minute = per_minute
        self.retry_after = retry_after
        self.credit = credit  # images until creations get 402
        self.clock_offset = clock_offset  # seconds by which the service's clock is ahead of the local one
        self.echoed_model: str | None = None  # the model's name in responses, where it is not the one asked for
        self.jobs: list[Job] = []  # by number, oldest first
        self.images_served = 0
        self.tokens_at_files = 0  # file requests that carried an API token; must stay 0
        self.closing = threading.Event()  # when set, running predictions finish without waiting
        self._lock = threading.Lock()
        self._draw = ThreadPoolExecutor(max_workers=16, thread_name_prefix="prediction")

    def counts(self) -> dict[str, int]:
        """Return the numbers of predictions created, by outcome, and of images billed and served."""
        with self._lock:
            status = [str(job.status) if job.error != NSFW else "refused" for job in self.jobs]
            return {
                "created": len(self.jobs),
                "distinct_inputs": len({json.dumps(job.input, sort_keys=True) for job in self.jobs}),
                "succeeded": status.count("succeeded"),
                "refused": status.count("refused"),
                "failed": status.count("failed"),
                "images_billed": sum(job.billed for job in self.jobs),
                "images_served": self.images_served,
            }

    def count(self, images: int = 0, tokens: int = 0) -> None:
        """Add to the counters of images served and of tokens sent with file requests."""
        with self._lock:
            self.images_served += images
            self.tokens_at_files += tokens

    def create(self, model: str, version: str, input: dict[str, Any]) -> Job:
        """Create a prediction and run it in a worker thread."""
        with self._lock:
            number = len(self.jobs)
            job = Job(number, secrets.token_hex(13), model, version, input, self.now())
            self.jobs.append(job)
        self._draw.submit(self._run, job)
        return job

    def now(self) -> float:
        """Return the Unix time by the service's clock."""
        return time.time() + self.clock_offset

    def throttled(self) -> bool:
        """Whether the creations of the last minute exhaust the rate limit."""
        if self.per_minute is None:
            return False
        with self._lock:
            return sum(self.now() - job.created < 60 for job in self.jobs[-4000:]) >= self.per_minute

    def job(self, id: str) -> Job | None:
        """Return a prediction by id, or None."""
        with self._lock:
            return next((job for job in reversed(self.jobs) if job.id == id), None)

    def forgotten(self, job: Job) -> bool:
        """Whether a prediction's input and output have been deleted."""
        return job.completed is not None and self.now() - job.completed > self.retention

    def _run(self, job: Job) -> None:
        job.status, job.started = "processing", self.now()
        status = ""
        self.closing.wait(self.seconds)
        fault = self.faults.pick("prediction", ("refused", "failed", *ENDINGS))
        if fault == "failed":
            job.error = "Director: unexpected error handling prediction (E9243)"
        elif fault in ENDINGS:
            status, job.error = ENDINGS[fault]
        else:
            try:
                job.files = self._images(job)
                job.billed = len(job.files) or 1
            except Exception as error:  # noqa: BLE001  any exception is the prediction's error, as at the service
                job.error = str(error)
            if fault == "refused":
                job.files = []
            if not job.files and job.error is None:
                job.error = NSFW
        self.credit -= job.billed
        job.completed = self.now()
        job.status = status or ("succeeded" if job.error is None else "failed")
        job.done.set()

    def _images(self, job: Job) -> list[bytes]:
        seed = job.input.get("seed") or derive_seed(0, "unseeded", job.number) % 2**16  # 0 means no seed, as in FLUX
        format = job.input.get("output_format", "webp")
        images = []
        for index in range(job.input.get("num_outputs", 1)):
            drawn = self.generator.draw(job.input["prompt"], seed + index)
            if not isinstance(drawn, Refusal):
                images.append(encode(drawn.data, format, job.input.get("output_quality", 80)))
        return images

    def close(self) -> None:
        """Return when all predictions are drawn."""
        self.closing.set()
        self._draw.shutdown()


def encode(data: bytes, format: str, quality: int) -> bytes:
    """Return an image in the asked format."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        if format == "png":
            image.save(buffer, "PNG")
        else:
            image.convert("RGB").save(buffer, {"jpg": "JPEG", "webp": "WEBP"}[format], quality=quality)
    return buffer.getvalue()
