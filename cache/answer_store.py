"""Store of an LLM judge's replies, by the hash of the request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cache.blob_store import BlobStore, Entry
from duel.closing import Closing
from duel.errors import DataError

KIND, JSON = "image", "application/json"  # the kind is historical: existing stores have it


class AnswerStore(Closing):
    """Texts on disk, never evicted, each with its checksum; no pickle.

    If several threads or processes want the same reply, one makes the request and the others wait for it.
    Raises RunError when `directory` cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._blobs = BlobStore(directory, "answer store")

    def answer_once(self, key: str, ask: Callable[[], str]) -> str:
        """Return the text stored under `key` (SHA-256, hex); if missing or damaged, call `ask` and store the result.

        Exceptions of `ask` propagate, and nothing is stored. Raises DataError when the entry is not a judge's reply.
        """
        entry = self._blobs.get_or_make(key, lambda: Entry(KIND, JSON, ask().encode("utf-8", "surrogatepass")))
        if (entry.kind, entry.media_type) != (KIND, JSON):
            raise DataError(f"entry {key} of {self._blobs.directory} is not a judge's reply; is it an image store?")
        return entry.body.decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        """Return the number of stored replies."""
        return len(self._blobs)

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        self._blobs.close()
