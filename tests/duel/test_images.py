"""Images: bounds before anything is decoded, four formats, one kind of error."""

import io
import random
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from duel.errors import DataError
from duel.images import MAX_BYTES, decode_image, media_type, read_image_file
from duel.testing.oversized import blank_png

ROOT = Path(__file__).parents[2]


def encoded(kind: str, size=(6, 4), mode="RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, "red").save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif"])
def test_four_formats_are_read(kind):
    image = decode_image(encoded(kind))
    assert (image.mode, image.size) == ("RGB", (6, 4))
    assert image.getpixel((0, 0))[0] > 240
    assert media_type(encoded(kind)) == f"image/{kind}"


@pytest.mark.parametrize("kind", ["bmp", "tiff", "ppm", "ico", "pcx", "sgi", "jpeg2000", "tga"])
def test_other_formats_are_refused(kind):
    with pytest.raises(DataError, match="expected a PNG, JPEG, WebP or GIF"):
        decode_image(encoded(kind, (16, 16)))


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (13_000, 13_000, "not a readable image|13000 x 13000 pixels, expected sides of at most 8192"),
        (65_000, 20, "65000 x 20 pixels, expected sides of at most 8192"),
        (8_000, 8_000, "8000 x 8000 pixels, expected at most 50 million"),
        (8_000, 79, "8000 x 79 pixels, expected sides of a ratio of at most 100 : 1"),
    ],
)
def test_large_images_are_refused(width, height, message):
    with pytest.raises(DataError, match=message):
        decode_image(blank_png(width, height))


def test_a_long_image_within_the_bounds_is_read():
    assert decode_image(blank_png(8000, 80)).size == (8000, 80)


BOMBS = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (300 * 2**20,) * 2)
from duel.errors import DataError
from duel.images import decode_image
from duel.testing.oversized import blank_png
for size in [(13_000, 13_000), (65_000, 20), (20, 65_000)]:
    data = blank_png(*size)
    assert len(data) < 25_000
    try:
        decode_image(data)
    except DataError as error:
        print(error)
"""


def test_bombs_are_refused_without_memory_and_without_a_warning():
    ran = subprocess.run([sys.executable, "-c", BOMBS], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (ran.stderr, len(ran.stdout.splitlines())) == ("", 3)


def test_whatever_is_damaged_is_one_kind_of_error():
    chance = random.Random(0)
    refused = 0
    for kind in ("png", "jpeg", "webp", "gif"):
        whole = encoded(kind, (40, 30))
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                decode_image(bytes(data[: chance.randint(1, len(data))]))
            except DataError:
                refused += 1
    assert refused > 300


def test_a_file_larger_than_the_limit_is_not_read(tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(DataError, match=r"large.png is larger than an image's limit"):
        read_image_file(tmp_path / "large.png")
    with pytest.raises(DataError, match="cannot read the image"):
        read_image_file(tmp_path / "none.png")
