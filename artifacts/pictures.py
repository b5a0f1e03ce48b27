"""Scaling and re-encoding of images for PDFs and reports."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from duel.images import eight_bits, open_image, read_image_file, to_rgb

ENCODING: dict[str, dict[str, Any]] = {"JPEG": {"subsampling": 0}, "WEBP": {"method": 2}}


def shrink(path: Path, side: int) -> Image.Image:
    """Read an image file as `decode_image` does, scaled down to at most `side` pixels per side.

    Raises DataError when the file is not an image.
    """
    with open_image(read_image_file(path)) as image:
        image.draft("RGB", (side, side))
        scaled = eight_bits(image)
        scaled.thumbnail((side, side), reducing_gap=2.0)
        return to_rgb(scaled)


def encode(image: Image.Image, kind: Literal["JPEG", "WEBP"], quality: int) -> bytes:
    """Encode an image; equal images give equal bytes."""
    encoded = io.BytesIO()
    image.save(encoded, kind, quality=quality, **ENCODING[kind])
    return encoded.getvalue()
