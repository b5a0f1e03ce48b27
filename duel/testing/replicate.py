"""A fake of Replicate's HTTP API on 127.0.0.1: predictions, files and billing of image models, with fault injection.

Accepted requests and error texts follow the published HTTP reference and responses that users have quoted in public.
One behaviour of the real service is not known: here a refused prediction is billed (image made, then withheld).

Faults, by stage:

    create      throttled (429), error (500), hang (nothing created, no response), reset (the same, at once),
                error-after, lost, reset-after (the same three, after the prediction was created)
                invalid-prompt (422 about the prompt), flagged (422 of a content filter)
    poll, list  throttled, error, hang, reset
    shape       of an answer about a prediction: those of `duel.testing.shapes`
    prediction  refused (NSFW), failed, and those of `ENDINGS` in `duel.testing.predictions`
    file        error, hang, reset, empty, truncated (complete HTTP, half an image), cut (the connection ends early)
"""

from __future__ import annotations

from typing import Any, Self

from duel.generators.base import ImageGenerator
from duel.testing.predictions import Predictions
from duel.testing.replicate_api import ApiHandler
from duel.testing.replicate_files import FileHandler
from duel.testing.serving import Server


class ReplicateServer(Predictions):
    """Serves the API on `url` and files on `files_url`, another origin, as the real service does.

    Options are those of `Predictions`; a request with the fault `hang` is held for `hang_seconds`. Use it as a context
    manager.
    """

    def __init__(self, generator: ImageGenerator, *, hang_seconds: float = 60.0, port: int = 0, **options: Any) -> None:
        super().__init__(generator, **options)
        self._api = Server(type("Api", (ApiHandler,), {"service": self}), port, hang_seconds)
        self._files = Server(type("Files", (FileHandler,), {"service": self}), 0, hang_seconds)
        self.url = self._api.url  # the value for REPLICATE_BASE_URL
        self.files_url = self._files.url

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that point Duel's Replicate generator here."""
        return {"REPLICATE_BASE_URL": self.url, "REPLICATE_API_TOKEN": self.token}

    def __enter__(self) -> Self:
        self._api.start()
        self._files.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self.closing.set()
        self._api.stop()
        self._files.stop()
        self.close()
