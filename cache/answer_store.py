"""The answer store: every verdict a paid judge ever gave, by the hash of its request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cache.blob_store import BlobStore, Entry
from duel.closing import Closing
from duel.errors import DataError

KIND, JSON = "image", "application/json"  # answers have always been stored under the kind of images


class AnswerStore(Closing):
    """Texts on disk: never evicted, each with its own hash, no pickle.

    Of several threads or processes that want one answer, one asks and the others wait for it.
    Raises RunError when `directory` cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._blobs = BlobStore(directory, "answer store")

    def answer_once(self, key: str, ask: Callable[[], str]) -> str:
        """Return the text stored under `key` (SHA-256, hex), calling `ask` first if there is none or a damaged one.

        An exception of `ask` passes through and stores nothing. Raises DataError when the entry is no answer.
        """
        entry = self._blobs.get_or_make(key, lambda: Entry(KIND, JSON, ask().encode("utf-8", "surrogatepass")))
        if (entry.kind, entry.media_type) != (KIND, JSON):
            raise DataError(f"entry {key} of {self._blobs.directory} is no answer; is it an image store?")
        return entry.body.decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        """Return how many answers are stored."""
        return len(self._blobs)

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        self._blobs.close()
