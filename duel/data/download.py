"""Resumable, checksum-verified downloads from the Hugging Face Hub or any URL; a file appears only when complete."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public by its documentation

from duel.errors import DataError, ServiceError
from duel.services.network import html_page, is_untrusted, untrusted
from duel.services.responses import OversizedError
from duel.services.responses import size as in_words

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc.Buffer in Python 3.12

PAGE_START = 64 * 2**10  # bytes in which an HTML page has its title
MAX_UNKNOWN = 4 * 2**20  # bytes of a file whose size is not known beforehand
UNCOMPRESSED = {"Accept-Encoding": "identity"}  # byte ranges must refer to the file, not to a compressed body


@dataclass(frozen=True)
class Pin:
    """A file's expected size (bytes) and SHA-256 (hex)."""

    size: int
    sha256: str


@dataclass(frozen=True)
class HubFile:
    """A file of a Hub data set at one commit; `etag` is its SHA-256 when the Hub stores it as a large file (LFS)."""

    url: str
    commit: str
    size: int
    etag: str


def fetch(url: str, path: Path, size: int | None, headers: Mapping[str, str] | None = None, tag: str = "") -> None:
    """Download `url` to `path` with a progress bar; `path` appears when the download is complete.

    A partial download stays in `NAME.TAG.part` and is resumed, by this or a later process, provided that `size`
    (bytes) is known; `tag` tells versions of a file apart. Raises ServiceError when the download broke off or an HTML
    page came in its place, DataError when the file does not exist, has another size, or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{tag}.part" if tag else f"{path.name}.part")
    if size is None or (partial.exists() and partial.stat().st_size > size):
        partial.unlink(missing_ok=True)
    fault: Exception
    try:
        with LimitedFile(partial, MAX_UNKNOWN if size is None else size) as file:
            http_get(
                url,
                file,
                resume_size=file.tell(),
                expected_size=size,
                headers={**UNCOMPRESSED, **(headers or {})},
                displayed_filename=path.name,
            )
        check_is_no_page(url, partial)
        partial.replace(path)
        return
    except OversizedError as error:
        fault = page_at(url, partial) or DataError(f"{url}: {error}; check the address and revision")
        partial.unlink()
    except (httpx.HTTPError, OSError) as error:
        fault = explain(url, error)
        if type(error) is OSError and error.errno is None:  # `http_get` found another size than expected
            other = DataError(f"{url} has another size than the expected {size} bytes; check the address and revision")
            fault = page_at(url, partial) or other
            partial.unlink()
    raise fault


def check_is_no_page(url: str, path: Path) -> None:
    """Raise ServiceError, and remove a downloaded file, where it is an HTML page: nothing that Duel downloads is."""
    fault = page_at(url, path)
    if fault is not None:
        path.unlink()
        raise fault


def page_at(url: str, path: Path) -> ServiceError | None:
    """Return a ServiceError that names the HTML page that came in place of a file; None for anything else."""
    with path.open("rb") as file:
        page = html_page(file.read(PAGE_START).decode("utf-8", "replace"))
    return ServiceError(f"{url} answers with {page}") if page else None


class LimitedFile(io.BufferedWriter):
    """A file opened for appending that takes at most `limit` bytes, else raises OversizedError: no body is endless."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self.limit = limit

    def write(self, data: Buffer, /) -> int:
        """Append the bytes; of those beyond the limit none, so that the start can tell what came."""
        room = self.limit - self.tell()
        if memoryview(data).nbytes > room:
            super().write(memoryview(data).cast("B")[:room])
            raise OversizedError(f"the response is larger than the expected {in_words(self.limit)}")
        return super().write(data)


def resolve_hub_file(
    repository: str, name: str, revision: str, endpoint: str | None, token: str | None = None
) -> HubFile:
    """Resolve `revision` of a Hub data set to a commit; return a file's URL, size and etag at that commit.

    Raises ServiceError when the Hub cannot be reached or omits one of these, DataError when there is no such file.
    """
    fault: Exception
    url = hf_hub_url(repository, name, repo_type="dataset", revision=revision, endpoint=endpoint)
    try:
        found = get_hf_file_metadata(url, token=token, endpoint=endpoint)
    except (httpx.HTTPError, OSError) as error:
        fault = explain(url, error)
    else:
        if found.commit_hash and found.etag and found.size is not None:
            pinned = hf_hub_url(repository, name, repo_type="dataset", revision=found.commit_hash, endpoint=endpoint)
            return HubFile(pinned, found.commit_hash, found.size, found.etag)
        fault = ServiceError(f"{url}: the response lacks commit, hash or size; check HF_ENDPOINT, or try again later")
    raise fault


def hub_headers(token: str | None = None) -> dict[str, str]:
    """Return the headers of a Hub request, with `token` or the user's own if any. Send them to no other host."""
    return build_hf_headers(token=token)


def measure(path: Path) -> Pin:
    """Return a file's actual size and SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Pin(path.stat().st_size, digest)


def check(path: Path, expected: Pin) -> None:
    """Verify a file. One that differs from `expected` is deleted, and DataError is raised with both checksums."""
    found = measure(path)
    if found != expected:
        path.unlink()
        raise DataError(
            f"{path} does not match its checksum: got {found.size} bytes with SHA-256 {found.sha256}, "
            f"expected {expected.size} bytes with {expected.sha256}; it was removed, run `duel prepare` again"
        )


def explain(url: str, error: Exception) -> Exception:
    """Return our exception in place of the library's, which holds the request and with it the user's token."""
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404):
        return DataError(f"{url}: HTTP {error.response.status_code}; expected a public file there, check the revision")
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return DataError(f"cannot write the download of {url}: {error.strerror}; free some space or name another place")
    if is_untrusted(error):
        return DataError(untrusted(urlsplit(url).hostname or url, error))
    reason = str(error).partition("\n")[0] or type(error).__name__
    return ServiceError(f"the download of {url} broke off: {reason}; run it again, it resumes where it stopped")
