"""Thumbnails for the HTML report, written once per distinct image to a folder beside the page."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from artifacts.pictures import encode, shrink
from artifacts.run import files
from duel.errors import DataError

SIDE = 224  # pixels
QUALITY = 80
SUFFIX = ".webp"


def write_thumbnails(folder: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    """Write a WebP thumbnail to `folder` for each image that has none; return the thumbnails' files by store key.

    Files that are not readable images are left out. Thumbnails of other images are removed from `folder`.
    """
    folder.mkdir(exist_ok=True)
    files.clean_leftovers(folder)
    there = {path.name for path in folder.iterdir() if path.suffix == SUFFIX}
    wanted = {key: folder / _name(key) for key in images}
    missing = [key for key, path in wanted.items() if path.name not in there]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow releases the GIL while decoding and encoding
        made = list(pool.map(lambda key: _write_thumbnail(images[key], wanted[key]), missing))
    unreadable = {key for key, success in zip(missing, made, strict=True) if not success}
    for name in there - {path.name for path in wanted.values()}:
        (folder / name).unlink(missing_ok=True)
    return {key: path for key, path in wanted.items() if key not in unreadable}


def data_uri(path: Path) -> str:
    """Return an image file as a data URI."""
    kind = path.suffix.removeprefix(".")
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()


def _name(key: str) -> str:
    return hashlib.sha256(f"{SIDE} {QUALITY} {key}".encode()).hexdigest()[:20] + SUFFIX


def _write_thumbnail(image: Path, path: Path) -> bool:
    try:
        data = encode(shrink(image, SIDE), "WEBP", QUALITY)
    except DataError:
        return False
    files.write_bytes(path, data, durable=False)
    return True
