"""Safe extraction of chart images from an untrusted zip archive."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from duel.errors import DataError
from duel.images import MAX_BYTES, open_image

ENTRY = re.compile(r"(?:[\w-]+/)?(\d{1,6})\.jpg")  # 12.jpg or images/12.jpg
MAX_ENTRIES = 20_000
MAX_TOTAL_BYTES = 8 * 2**30
MAX_RATIO = 100  # uncompressed : compressed; JPEGs hardly compress, a zip bomb does a thousandfold


def extract_images(archive: Path, wanted: Mapping[str, Path]) -> None:
    """Write each figure id's image to its path in `wanted`; no other entry is extracted.

    All entries are checked before the first is read. Raises DataError when an entry points outside the archive, is a
    link or device, is encrypted, occurs twice or is larger than any chart, and when a wanted image is missing or not
    an image.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = chart_entries(opened)
            missing = [figure for figure in wanted if figure not in entries]
            if missing:
                raise DataError(
                    f"{archive} lacks {len(missing)} of {len(wanted)} charts, the first is {missing[0]}.jpg; "
                    "is it CharXiv's images.zip?"
                )
            for figure, path in tqdm(wanted.items(), desc="charts", unit="image"):
                data = opened.read(entries[figure])
                check_image_bytes(data, f"{archive}: {entries[figure].filename}")
                path.write_bytes(data)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise DataError(f"{archive} is a broken zip archive: {error}; remove it and run `duel prepare` again") from None


def chart_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's chart entries by figure id. Raises DataError naming the first unsafe entry."""
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise DataError(f"{archive.filename} has {len(entries)} entries, expected at most {MAX_ENTRIES}")
    charts: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        fault = entry_fault(entry)
        match = ENTRY.fullmatch(entry.filename)
        if match and match[1] in charts:
            fault = "comes twice"
        if fault:
            raise DataError(f"{archive.filename}: the entry {entry.filename!r} {fault}; nothing was taken out of it")
        if match:
            charts[match[1]] = entry
    total = sum(entry.file_size for entry in charts.values())
    if total > MAX_TOTAL_BYTES:
        raise DataError(f"{archive.filename} unpacks to {total} bytes, expected at most {MAX_TOTAL_BYTES}")
    return charts


def entry_fault(entry: zipfile.ZipInfo) -> str | None:
    """Return why an entry is unsafe, as the predicate of an error message, or None."""
    parts = entry.filename.split("/")
    if ".." in parts or parts[0] == "" or "\\" in entry.orig_filename or ":" in entry.filename:
        return "points outside the archive"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.file_size > MAX_BYTES:
        return f"unpacks to {entry.file_size} bytes, expected at most {MAX_BYTES}"
    if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return f"unpacks to {entry.file_size} bytes from {entry.compress_size}, as a zip bomb does"
    return None


def check_image_bytes(data: bytes, name: str) -> None:
    """Raise DataError when `data` does not start with a valid image header or is too large in pixels to decode."""
    try:
        with open_image(data):
            pass
    except DataError as error:
        raise DataError(f"{name} is not an image: {error}") from None
