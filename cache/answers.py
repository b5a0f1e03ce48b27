"""The answer store: every verdict a paid judge ever gave, by the hash of its request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cache.images import ImageStore
from duel.closing import Closing
from duel.errors import DataError
from duel.types import DrawnImage

JSON = "application/json"


class AnswerStore(Closing):
    """Texts on disk, kept as the image store keeps images: never evicted, each with its own hash, no pickle.

    Of several threads or processes that want one answer, one asks and the others wait for it.
    Raises RunError when `directory` cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._store = ImageStore(directory)

    def answer_once(self, key: str, ask: Callable[[], str]) -> str:
        """Return the text stored under `key` (SHA-256, hex), calling `ask` first if there is none or a damaged one.

        An exception of `ask` passes through and stores nothing.
        """
        found, _ = self._store.draw_once(key, lambda: DrawnImage(ask().encode("utf-8", "surrogatepass"), JSON))
        if not isinstance(found, DrawnImage) or found.media_type != JSON:
            raise DataError(f"entry {key} of {self._store.directory} is no answer; is it an image store?")
        return found.data.decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        """Return how many answers are stored."""
        return len(self._store)

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        self._store.close()
