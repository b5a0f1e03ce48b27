"""Thumbnails: made once per image, reused, and removed when stale."""

import base64
from pathlib import Path

from PIL import Image

from artifacts.report.thumbnails import data_uri, write_thumbnails
from tests.support.fake_run import picture


def images(folder: Path, count: int) -> dict[str, Path]:
    found = {}
    for number in range(count):
        path = folder / f"{number}.png"
        path.write_bytes(picture(number, 400))
        found[f"{number:064x}"] = path
    return found


def test_each_image_gets_one_thumbnail_which_is_reused(tmp_path: Path) -> None:
    originals = images(tmp_path, 3)
    first = write_thumbnails(tmp_path / "small", originals)
    assert first.keys() == originals.keys()
    for path in first.values():
        with Image.open(path) as image:
            assert (image.format, image.size) == ("WEBP", (224, 224))
    for path in originals.values():
        path.unlink()  # whoever made one again would have to read it
    assert write_thumbnails(tmp_path / "small", originals) == first


def test_unreadable_images_get_no_thumbnail_and_unused_ones_are_removed(tmp_path: Path) -> None:
    originals = images(tmp_path, 2)
    kept = dict([next(iter(originals.items()))])
    write_thumbnails(tmp_path / "small", originals)
    (tmp_path / "small" / ".writing-1234-half.webp").write_bytes(b"half")
    (tmp_path / "broken.png").write_bytes(b"<html>502</html>")
    small = write_thumbnails(tmp_path / "small", {**kept, "broken": tmp_path / "broken.png"})
    assert small.keys() == kept.keys()
    assert list((tmp_path / "small").iterdir()) == list(small.values())


def test_a_thumbnail_as_a_data_uri(tmp_path: Path) -> None:
    (tmp_path / "dot.webp").write_bytes(b"bytes")
    assert data_uri(tmp_path / "dot.webp") == "data:image/webp;base64," + base64.b64encode(b"bytes").decode()
