"""The one place where image files are decoded: bounded before anything is decoded, every decoder's error a DataError.

What a service sends is not trusted: 20 kB of PNG may decode to a gigabyte, and a strip of 65,000 x 20 pixels becomes a
square of 65,000 x 65,000 when it is padded.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from duel.errors import DataError

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000  # 150 MB in RGB
MAX_SIDE = 8192  # padded to a square: 200 MB in RGB
MAX_ASPECT = 100  # long side : short side; Qwen2.5-VL's preprocessing takes at most 200

ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow's decoders raise these for damaged files, depending on the format and the damage.
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
    RuntimeError, AssertionError, struct.error, zlib.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip
# Pillow warns at 89 million pixels and goes on; an exception has one way to be reported.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
warnings.filterwarnings("error", message="Corrupt EXIF data", category=UserWarning)


def decode_image(data: bytes) -> Image.Image:
    """Return the image as `to_rgb` does; of an animation, its first frame.

    Raises DataError when the bytes are not a complete PNG, JPEG, WebP or GIF image within the bounds above.
    """
    with open_image(data) as image:
        image.load()
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image in RGB as a viewer shows it.

    It is turned as its EXIF orientation says, 16 bits of grey are scaled to 8, and transparency is blended onto white.
    """
    turned = upright(eight_bits(image))
    if not turned.has_transparency_data:
        return turned.convert("RGB")
    page = Image.new("RGBA", turned.size, "white")
    page.alpha_composite(turned.convert("RGBA"))
    return page.convert("RGB")


def eight_bits(image: Image.Image) -> Image.Image:
    """Return 16 bits of grey scaled to 8, and any other image as it is. Pillow would clip them, to white mostly."""
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    grey = np.asarray(image).astype(np.float64) / 257  # 65535 is 255
    scaled = Image.fromarray(np.uint8(np.clip(grey.round(), 0, 255)))
    scaled.info["exif"] = image.info.get("exif", b"")
    return scaled


def upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF orientation says; damaged EXIF data says nothing."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except (*DECODER_ERRORS, UserWarning):
        return image
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info |= {name: value for name, value in image.info.items() if name == "transparency"}
    return turned


def media_type(data: bytes) -> str:
    """Return a complete image's media type, e.g. `image/webp`. Raises DataError as `decode_image` does."""
    decode_image(data)
    with open_image(data) as image:
        return FORMATS[str(image.format)]


@contextmanager
def open_image(data: bytes) -> Iterator[Image.Image]:
    """Yield the image with its header read and nothing decoded yet; a decoder's error within the block is a DataError.

    Raises DataError as `decode_image` does, for what the header shows.
    """
    if len(data) > MAX_BYTES:
        raise DataError(f"an image file of {len(data)} bytes, expected at most {MAX_BYTES}")
    try:
        with Image.open(BytesIO(data), formats=list(FORMATS)) as image:
            check_size(*image.size)
            yield image
    except DECODER_ERRORS as error:
        reason = str(error).replace("\n", " ")[:200] or type(error).__name__
        raise DataError(
            f"{len(data)} bytes are not a readable image: {reason}; expected a PNG, JPEG, WebP or GIF file of at most "
            f"{MAX_PIXELS // 10**6} million pixels"
        ) from None


def check_size(width: int, height: int) -> None:
    """Raise DataError for an image too large, too long or too narrow to be decoded."""
    got = f"an image of {width} x {height} pixels"
    if min(width, height) < 1:
        raise DataError(f"{got}, expected at least 1 x 1")
    if max(width, height) > MAX_SIDE:
        raise DataError(f"{got}, expected sides of at most {MAX_SIDE}; scale it down")
    if width * height > MAX_PIXELS:
        raise DataError(f"{got}, expected at most {MAX_PIXELS // 10**6} million in all; scale it down")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise DataError(f"{got}, expected sides of a ratio of at most {MAX_ASPECT} : 1")


def read_image_file(path: Path) -> bytes:
    """Return an image file's bytes. Raises DataError when it cannot be read or is larger than MAX_BYTES."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise DataError(f"{path} is larger than an image's limit of {MAX_BYTES} bytes; scale it down")
    return data
