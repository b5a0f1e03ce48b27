"""Images: bounds before anything is decoded, four formats, one kind of error."""

import io
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artifacts.pictures import shrink
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


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corner_colours(image):
    right, bottom = image.width - 1, image.height - 1
    return [image.getpixel(place) for place in ((0, 0), (right, 0), (0, bottom), (right, bottom))]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "corners"),
    [
        (1, "abcd"),
        (2, "badc"),
        (3, "dcba"),
        (4, "cdab"),
        (5, "acbd"),
        (6, "cadb"),
        (7, "dbca"),
        (8, "bdac"),
        (99, "abcd"),
    ],
)
def test_an_image_is_turned_as_its_exif_orientation_says(kind, orientation, corners):
    """The corners are top left, top right, bottom left, bottom right."""
    colours = dict(zip("abcd", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)], strict=True))
    image = Image.new("RGB", (3, 2), "white")
    for name, place in zip("abcd", ((0, 0), (2, 0), (0, 1), (2, 1)), strict=True):
        image.putpixel(place, colours[name])
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    found = decode_image(saved(image, kind, exif=exif.tobytes(), **lossless))
    assert found.size == ((2, 3) if orientation in (5, 6, 7, 8) else (3, 2))
    assert corner_colours(found) == [colours[name] for name in corners]


def test_damaged_exif_data_leaves_an_image_as_it_is():
    image = Image.new("RGB", (3, 2), "red")
    assert decode_image(saved(image, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")).size == (3, 2)


def test_sixteen_bits_of_grey_are_scaled():
    image = Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16))
    found = decode_image(saved(image))
    assert [found.getpixel((x, 0)) for x in range(4)] == [(0,) * 3, (1,) * 3, (128,) * 3, (255,) * 3]


def test_cmyk_and_palettes_with_transparency_are_read_as_a_viewer_shows_them():
    red = decode_image(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)).getpixel((4, 4))
    assert red[0] > 245
    assert max(red[1:]) < 10
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    found = decode_image(saved(palette, transparency=1))
    assert [found.getpixel((0, 0)), found.getpixel((1, 0))] == [(255, 0, 0), (255, 255, 255)]


def test_of_several_frames_the_first_is_read():
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    found = decode_image(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert found.getpixel((0, 0)) == (255, 0, 0)


def test_pictures_of_reports_are_those_that_models_see(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 20), "white")
    image.paste("red", (0, 0, 20, 20))
    (tmp_path / "turned.png").write_bytes(saved(image, exif=exif.tobytes()))
    shown, seen = shrink(tmp_path / "turned.png", 40), decode_image((tmp_path / "turned.png").read_bytes())
    assert (shown.size, shown.tobytes()) == (seen.size, seen.tobytes())
    assert seen.getpixel((10, 5)) == (255, 0, 0)
