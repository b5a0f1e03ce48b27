"""Image files of any bytes: a bounded image, or a DataError."""

import io

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from duel.errors import DataError
from duel.images import FORMATS, MAX_PIXELS, MAX_SIDE, decode_image, media_type


def encoded(format: str) -> bytes:
    buffer = io.BytesIO()
    image = Image.new("RGBA" if format in ("PNG", "WEBP") else "RGB", (23, 17), "red")
    image.save(buffer, format)
    return buffer.getvalue()


FILES = {format: encoded(format) for format in FORMATS}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a small image file with some bytes changed, cut or repeated."""
    data = bytearray(FILES[draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["change", "change", "cut", "insert"]))
        if kind == "change":
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[max(1, at) :]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
    return bytes(data)


@given(damaged() | st.binary(max_size=100))
def test_bytes_are_a_bounded_image_or_a_data_error(data: bytes) -> None:
    try:
        image = decode_image(data)
    except DataError as error:
        assert "\n" not in str(error)
        return
    assert image.mode == "RGB"
    assert max(image.size) <= MAX_SIDE
    assert image.width * image.height <= MAX_PIXELS
    assert media_type(data) in FORMATS.values()
