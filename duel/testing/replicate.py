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

from typing import Any, Self

from duel.generators.base import ImageGenerator
from duel.testing.predictions import Predictions
from duel.testing.replicate_api import ApiHandler, FileHandler
from duel.testing.serving import Server


class ReplicateServer(Predictions):
    """Answers on `url`, and delivers files on `files_url`, as the real service does from a domain of its own.

    Options are those of `Predictions`; `hang_seconds` is how long a request that hangs is held. Use it with `with`.
    """

    def __init__(self, generator: ImageGenerator, *, hang_seconds: float = 60.0, port: int = 0, **options: Any) -> None:
        super().__init__(generator, **options)
        self._api = Server(type("Api", (ApiHandler,), {"service": self}), port, hang_seconds)
        self._files = Server(type("Files", (FileHandler,), {"service": self}), 0, hang_seconds)
        self.url = self._api.url  # what REPLICATE_BASE_URL is to be
        self.files_url = self._files.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that send Duel's Replicate generator here."""
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
