"""Store of generated images and refusals, by the hash of the request, so that no image is paid for twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cache.blob_store import BlobStore, Entry
from duel.closing import Closing
from duel.types import DrawnImage, Refusal


class ImageStore(Closing):
    """Images and refusals on disk, shared by threads and processes.

    Keys are SHA-256 hex digests (`DrawRequest.key`, or the hash of an image's own bytes). Nothing is evicted; a
    damaged entry counts as missing. Raises RunError when `directory` cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._blobs = BlobStore(directory, "image store")

    def get(self, key: str) -> DrawnImage | Refusal | None:
        """Return the image or refusal under `key`, or None when it is missing or damaged."""
        entry = self._blobs.get(key)
        return None if entry is None else from_entry(entry)

    def put(self, key: str, result: DrawnImage | Refusal) -> None:
        """Store `result` under `key`; it is durable against a kill once this returns."""
        self._blobs.put(key, to_entry(result))

    def draw_once(
        self, key: str, draw: Callable[[], DrawnImage | Refusal], origin: str = ""
    ) -> tuple[DrawnImage | Refusal, str]:
        """Return the result under `key` and the origin stored with it; if it is missing, call `draw` and store it.

        `origin` names the caller, as `run/round/stage`, and is stored with a new result: a caller that gets its own
        origin back knows that the image was drawn for it, even if a retry or another process asks.
        If several threads or processes want the same key, one draws and the others wait for it. Exceptions of `draw`
        propagate, nothing is stored, and a waiting caller tries next.
        """
        entry = self._blobs.get_or_make(key, lambda: to_entry(draw(), origin))
        return from_entry(entry), entry.origin

    def __len__(self) -> int:
        """Return the number of entries, damaged ones included."""
        return len(self._blobs)

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        self._blobs.close()


def to_entry(result: DrawnImage | Refusal, origin: str = "") -> Entry:
    """Convert an image or refusal to a store entry."""
    if isinstance(result, DrawnImage):
        return Entry("image", result.media_type, result.data, origin)
    if isinstance(result, Refusal):
        return Entry("refusal", "text/plain", result.reason.encode("utf-8", "surrogatepass"), origin)
    raise TypeError(f"the image store holds DrawnImage and Refusal, got {type(result).__name__}")


def from_entry(entry: Entry) -> DrawnImage | Refusal:
    """Convert a store entry back to the image or refusal."""
    if entry.kind == "refusal":
        return Refusal(entry.body.decode("utf-8", "surrogatepass"))
    return DrawnImage(entry.body, entry.media_type)
