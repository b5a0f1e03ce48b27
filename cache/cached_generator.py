"""An ImageGenerator behind the image store: concurrent draws, each distinct request made once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from cache.image_store import ImageStore
from duel.errors import DataError, GeneratorError, ServiceError
from duel.generators.base import ImageGenerator, Interruptible, request_of
from duel.services.stopping import abandon, request_pool
from duel.types import EMBEDDED, Drawing, DrawnImage, DrawRequest, Refusal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DrawBatch:
    """The drawings of one call, in input order."""

    drawings: list[Drawing]
    asked: int  # distinct requests
    made: int  # of these, drawn for this origin, now or by an earlier try; the others were cached


class CachedGenerator:
    """Draws through an image store, with at most `concurrency` requests at once."""

    def __init__(self, generator: ImageGenerator, store: ImageStore, concurrency: int) -> None:
        self.generator = generator
        self.store = store
        self.concurrency = concurrency

    @property
    def prompt_limit(self) -> int:
        """The generator's prompt limit in text tokens."""
        return self.generator.prompt_limit

    def draw(self, texts: Sequence[str], seeds: Sequence[int], origin: str) -> DrawBatch:
        """Draw each text with its seed; equal requests are made once.

        `origin` names the caller, as `run/round/stage`, and is the same in every retry.

        If some draws fail, the others are still finished and stored, so that a retry makes only the missing ones.
        Raises GeneratorError with the number of missing images, or the first error that a retry cannot fix.
        """
        requests = [request_of(self.generator, text, seed) for text, seed in zip(texts, seeds, strict=True)]
        distinct = {request.key: request for request in requests}
        pool = request_pool(self.concurrency, "draw")
        futures = {key: pool.submit(self._draw_once, key, request, origin) for key, request in distinct.items()}
        self._finish(pool, futures.values())
        results = {key: future.result() for key, future in futures.items()}
        drawings = [_drawing(request, results[request.key][0]) for request in requests]
        return DrawBatch(
            drawings, asked=len(distinct), made=sum(drawn_for == origin for _, drawn_for in results.values())
        )

    def read(self, drawing: Drawing) -> DrawnImage:
        """Return the image of a drawing that was not refused. If its entry is lost or damaged, it is drawn again.

        Raises DataError when it cannot be drawn again, because another generator made it or this one refuses it now.
        """
        assert drawing.key is not None
        found = self.store.get(drawing.key)
        return found if isinstance(found, DrawnImage) else self._redraw(drawing, drawing.key)

    def image(self, drawing: Drawing) -> bytes:
        """Return that image's bytes."""
        return self.read(drawing).data

    def add(self, data: bytes, media_type: str) -> str:
        """Store an image that was not generated, e.g. a data set's; return its key, the SHA-256 of the bytes."""
        key = hashlib.sha256(data).hexdigest()
        self.store.draw_once(key, lambda: DrawnImage(data, media_type))
        return key

    def identity(self, drawing: Drawing) -> str:
        """Return the key of a drawing as it is at any address of the service; of an image that was not drawn, its key.

        Seeds are derived from it: another address of the same service changes no number of a run.
        """
        request = request_of(self.generator, drawing.text, drawing.seed)
        return replace(request, service=EMBEDDED).key if request.key == drawing.key else str(drawing.key)

    def _redraw(self, drawing: Drawing, key: str) -> DrawnImage:
        lost = f"image {key} is not in the store {self.store.directory}, or is damaged there"
        request = request_of(self.generator, drawing.text, drawing.seed)
        if request.key != key:
            raise DataError(f"{lost}, and {self.generator.name} did not draw it; start a run of another name")
        log.warning("%s; drawing it again", lost)
        redrawn, _ = self._draw_once(key, request, "")
        if isinstance(redrawn, Refusal):
            raise DataError(f"{lost}, and {self.generator.name} refuses it now; start a run of another name")
        return redrawn

    def _finish(self, pool: ThreadPoolExecutor, futures: Iterable[Future[tuple[DrawnImage | Refusal, str]]]) -> None:
        asked = list(futures)
        try:
            wait(asked)
        except BaseException:  # stopped: running draws that end soon still reach the store, but none waits for retries
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(self.generator, Interruptible):
                self.generator.interrupt()
            abandon(pool, asked)
            raise
        pool.shutdown()
        errors = [error for error in (future.exception() for future in asked) if error is not None]
        # Errors that a retry cannot fix come first.
        for error in errors:
            if not isinstance(error, ServiceError):
                raise error
        if errors:
            raise GeneratorError(
                f"{len(errors)} of {len(asked)} images are missing, the others are stored; first error: {errors[0]}"
            ) from errors[0]

    def _draw_once(self, key: str, request: DrawRequest, origin: str) -> tuple[DrawnImage | Refusal, str]:
        return self.store.draw_once(key, lambda: self.generator.draw(request.text, request.seed), origin)


def _drawing(request: DrawRequest, result: DrawnImage | Refusal) -> Drawing:
    if isinstance(result, Refusal):
        return Drawing(request.text, request.seed, key=None, refusal=result.reason)
    return Drawing(request.text, request.seed, key=request.key)
