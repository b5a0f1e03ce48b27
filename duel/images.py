"""Decoding of image files (bytes) to RGB pixels."""

from io import BytesIO

from PIL import Image, UnidentifiedImageError

from duel.errors import DataError


def decode_image(data: bytes) -> Image.Image:
    """Return the image in RGB, transparency blended onto white.

    Raises DataError when the bytes are not a complete image that Pillow can read.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            image.load()
            if not image.has_transparency_data:
                return image.convert("RGB")
            page = Image.new("RGBA", image.size, "white")
            page.alpha_composite(image.convert("RGBA"))
            return page.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{len(data)} bytes are not a readable image: {error}; expected a PNG, JPEG or WebP file"
        ) from None
