"""The predictions of the loopback Replicate: what is created, drawn, billed and forgotten, without any HTTP."""

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


class Predictions:
    """Draws what is asked for, in threads, and counts; the HTTP handlers answer from it.

    `generator` draws; `seconds` is how long a prediction takes at least; `retention` after how many seconds inputs
    and outputs are forgotten; `per_minute` throttles creations for real.
    """

    url: str  # of the API; who serves it over HTTP says where
    files_url: str  # where files are delivered from

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
        self.closing = threading.Event()  # set: no prediction waits any longer
        self._lock = threading.Lock()
        self._draw = ThreadPoolExecutor(max_workers=16, thread_name_prefix="prediction")

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

    def count(self, images: int = 0, tokens: int = 0) -> None:
        """Count images delivered, and tokens that came with requests for them."""
        with self._lock:
            self.images_served += images
            self.tokens_at_files += tokens

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
        self.closing.wait(self.seconds)
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
