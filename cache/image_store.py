"""The image store: every image that was ever drawn, by the hash of its request, so that none is paid for twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cache.blob_store import BlobStore, Entry
from duel.closing import Closing
from duel.types import DrawnImage, Refusal


class ImageStore(Closing):
    """Images and refusals on disk, safe to share between threads and between processes.

    Keys are SHA-256 hex digests (`DrawRequest.key`, or the hash of an image's own bytes). Nothing is ever evicted; a
    damaged entry counts as missing. Raises RunError when `directory` cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._blobs = BlobStore(directory, "image store")

    def get(self, key: str) -> DrawnImage | Refusal | None:
        """Return what is stored under `key`, or None when nothing is, or only damaged bytes are."""
        entry = self._blobs.get(key)
        return None if entry is None else from_entry(entry)

    def put(self, key: str, result: DrawnImage | Refusal) -> None:
        """Store `result` under `key`; it survives the death of this process from the moment this returns."""
        self._blobs.put(key, to_entry(result))

    def draw_once(
        self, key: str, draw: Callable[[], DrawnImage | Refusal], origin: str = ""
    ) -> tuple[DrawnImage | Refusal, str]:
        """Return what is stored under `key`, calling `draw` first if nothing is, and the origin it was stored with.

        `origin` says who asks, as `run/round/stage`, and is kept with what is drawn now: whoever finds its own origin
        knows that the image was drawn for it, also when a retry or another process finds it. Of several threads or
        processes that want one key, one draws and the others wait for it. An exception of `draw` passes through,
        stores nothing, and lets the next one try.
        """
        entry = self._blobs.get_or_make(key, lambda: to_entry(draw(), origin))
        return from_entry(entry), entry.origin

    def __len__(self) -> int:
        """Return how many entries are stored, damaged ones included."""
        return len(self._blobs)

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        self._blobs.close()


def to_entry(result: DrawnImage | Refusal, origin: str = "") -> Entry:
    """Return what is stored for an image or a refusal."""
    if isinstance(result, DrawnImage):
        return Entry("image", result.media_type, result.data, origin)
    if isinstance(result, Refusal):
        return Entry("refusal", "text/plain", result.reason.encode("utf-8", "surrogatepass"), origin)
    raise TypeError(f"the image store holds DrawnImage and Refusal, got {type(result).__name__}")


def from_entry(entry: Entry) -> DrawnImage | Refusal:
    """Return the image or the refusal that `to_entry` stored."""
    if entry.kind == "refusal":
        return Refusal(entry.body.decode("utf-8", "surrogatepass"))
    return DrawnImage(entry.body, entry.media_type)
