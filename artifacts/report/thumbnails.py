"""Small pictures for a report: made once for each distinct image, kept in a folder beside the page."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from artifacts.pictures import encode, shrink
from artifacts.run import files

SIDE = 224  # pixels
QUALITY = 80
SUFFIX = ".webp"


def write_thumbnails(folder: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    """Make a small WebP of each image, by store key, that has none in `folder` yet; return their files by key.

    Bytes that are no image have none. Small pictures that nobody asks for any more are removed.
    """
    folder.mkdir(exist_ok=True)
    files.clean_leftovers(folder)
    there = {path.name for path in folder.iterdir() if path.suffix == SUFFIX}
    wanted = {key: folder / _name(key) for key in images}
    missing = [key for key, path in wanted.items() if path.name not in there]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and encodes without Python's lock
        made = list(pool.map(lambda key: _write_thumbnail(images[key], wanted[key]), missing))
    unreadable = {key for key, success in zip(missing, made, strict=True) if not success}
    for name in there - {path.name for path in wanted.values()}:
        (folder / name).unlink(missing_ok=True)
    return {key: path for key, path in wanted.items() if key not in unreadable}


def data_uri(path: Path) -> str:
    """Return an image file as text that stands in a page in place of its address."""
    kind = path.suffix.removeprefix(".")
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()


def _name(key: str) -> str:
    return hashlib.sha256(f"{SIDE} {QUALITY} {key}".encode()).hexdigest()[:20] + SUFFIX


def _write_thumbnail(image: Path, path: Path) -> bool:
    try:
        data = encode(shrink(image, SIDE), "WEBP", QUALITY)
    except OSError:
        return False
    files.write_bytes(path, data, durable=False)
    return True
