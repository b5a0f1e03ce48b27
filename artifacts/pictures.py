"""Scaling and re-encoding of images for PDFs and reports."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from duel.images import open_image, read_image_file

ENCODING: dict[str, dict[str, Any]] = {"JPEG": {"subsampling": 0}, "WEBP": {"method": 2}}


def shrink(path: Path, side: int) -> Image.Image:
    """Read an image file as RGB, scaled down to at most `side` pixels per side, transparency blended onto white.

    Raises DataError when the file is not an image.
    """
    with open_image(read_image_file(path)) as image:
        image.draft("RGB", (side, side))
        image.thumbnail((side, side), reducing_gap=2.0)
        if not image.has_transparency_data:
            return image.convert("RGB")
        opaque = Image.new("RGB", image.size, "white")
        opaque.paste(image, mask=image.convert("RGBA").getchannel("A"))
        return opaque


def encode(image: Image.Image, kind: Literal["JPEG", "WEBP"], quality: int) -> bytes:
    """Encode an image; equal images give equal bytes."""
    encoded = io.BytesIO()
    image.save(encoded, kind, quality=quality, **ENCODING[kind])
    return encoded.getvalue()
