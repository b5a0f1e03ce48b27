import hashlib
import random
import stat
import zipfile
from io import BytesIO

import pytest
from PIL import Image

from duel.data import archive
from duel.data.archive import extract_images
from duel.data.download import Pin, check, fetch, measure, resolve_hub_file
from duel.data.provenance import check_or_record, read_origins, record
from duel.errors import DataError, ServiceError
from duel.testing.faults import Faults
from duel.testing.hub import HubServer

LARGE = random.Random(0).randbytes(24 * 2**20)  # the library keeps what came in pieces of 10 MB


def scripted(**stages):
    faults = Faults()
    for name, script in stages.items():
        faults.script(name.replace("_", "."), *script)
    return faults


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


def test_a_download_appears_whole(folder, tmp_path):
    (folder / "a.json").write_bytes(b"1234")
    with HubServer(folder) as hub:
        fetch(f"{hub.url}/a.json", tmp_path / "new" / "a.json", size=4)
    assert (tmp_path / "new" / "a.json").read_bytes() == b"1234"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]


def test_a_broken_download_resumes_where_it_stopped(folder, tmp_path):
    (folder / "large.zip").write_bytes(LARGE)
    with HubServer(folder, faults=scripted(large_zip=["cut"])) as hub:
        fetch(f"{hub.url}/large.zip", tmp_path / "large.zip", size=len(LARGE))
        assert hub.counts()["ranges"] == 1
        assert hub.counts()["bytes"] == 12 * 2**20 + 14 * 2**20  # half of 24, then what lies after the first 10
    assert measure(tmp_path / "large.zip").sha256 == hashlib.sha256(LARGE).hexdigest()


def test_a_later_call_resumes_where_an_earlier_one_failed(folder, tmp_path):
    (folder / "large.zip").write_bytes(LARGE)
    with HubServer(folder, faults=scripted(large_zip=["cut", "error"])) as hub:
        with pytest.raises(ServiceError, match=r"large.zip broke off: .*500.*run it again, it resumes"):
            fetch(f"{hub.url}/large.zip", tmp_path / "large.zip", size=len(LARGE), tag="v1")
        assert (tmp_path / "large.zip.v1.part").stat().st_size == 10 * 2**20
        assert not (tmp_path / "large.zip").exists()
        fetch(f"{hub.url}/large.zip", tmp_path / "large.zip", size=len(LARGE), tag="v1")
        assert hub.counts()["ranges"] == 1
    assert (tmp_path / "large.zip").read_bytes() == LARGE


def test_a_partial_file_longer_than_the_file_is_discarded(folder, tmp_path):
    (folder / "a.json").write_bytes(b"1234")
    (tmp_path / "a.json.part").write_bytes(b"123456")
    with HubServer(folder) as hub:
        fetch(f"{hub.url}/a.json", tmp_path / "a.json", size=4)
    assert (tmp_path / "a.json").read_bytes() == b"1234"


def test_a_missing_file_is_a_data_error(folder, tmp_path):
    with HubServer(folder) as hub, pytest.raises(DataError, match="HTTP 404; expected a public file"):
        fetch(f"{hub.url}/none.json", tmp_path / "none.json", size=None)


def test_an_unreachable_server_is_a_service_error(folder, tmp_path):
    with HubServer(folder) as hub:
        url = hub.url
    with pytest.raises(ServiceError, match=url):
        resolve_hub_file("a/b", "c", "main", endpoint=f"{url}")


def test_a_hub_response_without_a_commit_is_an_error(folder):
    (folder / "datasets/a/b/resolve/main").mkdir(parents=True)
    (folder / "datasets/a/b/resolve/main/c").write_bytes(b"1")
    with HubServer(folder) as hub:
        hub.commit = ""
        (folder / "hub/a/b").mkdir(parents=True)
        (folder / "hub/a/b/c").write_bytes(b"1")
        with pytest.raises(ServiceError, match="lacks commit, hash or size"):
            resolve_hub_file("a/b", "c", "main", endpoint=hub.url)


def test_no_error_carries_the_users_token(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (folder / "hub/a/b").mkdir(parents=True)
    with HubServer(folder) as hub, pytest.raises(DataError) as caught:
        resolve_hub_file("a/b", "none", "main", endpoint=hub.url)
    assert "hf_secret" not in str(caught.value)
    assert caught.value.__context__ is None  # the library's error holds the request and its headers


def test_a_file_that_differs_from_its_pin_is_removed(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1235")
    with pytest.raises(DataError, match="4 bytes with SHA-256 .*, expected 4 bytes with .*; it was removed"):
        check(path, Pin(4, hashlib.sha256(b"1234").hexdigest()))
    assert not path.exists()


def test_later_downloads_must_match_the_first_ones_checksum(tmp_path):
    (tmp_path / "a").write_bytes(b"first")
    check_or_record(tmp_path, "a", "http://host/a", "r1")
    check_or_record(tmp_path, "a", "http://host/a", "r1")
    record(tmp_path, "b", "http://host/b", "r1", Pin(1, "0"))
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(DataError, match="a does not match its checksum"):
        check_or_record(tmp_path, "a", "http://host/a", "r2")
    assert read_origins(tmp_path)["a"].revision == "r1"


@pytest.mark.parametrize("content", ["{", "[]", '{"a": {"url": 1}}', '{"a": 3}'])
def test_an_unreadable_record_is_named(tmp_path, content):
    (tmp_path / "downloads.json").write_text(content)
    with pytest.raises(DataError, match=r"bad record .*downloads.json"):
        read_origins(tmp_path)


def jpeg(shade=0):
    buffer = BytesIO()
    Image.new("L", (8, 8), shade).save(buffer, "JPEG")
    return buffer.getvalue()


def write_zip(path, entries, kind=stat.S_IFREG):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (kind | 0o644) << 16
            opened.writestr(info, data)
    return path


def test_only_wanted_charts_leave_the_archive(tmp_path):
    entries = [("images/", b""), ("images/7.jpg", jpeg(7)), ("images/8.jpg", jpeg(8)), ("__MACOSX/._7.jpg", b"x")]
    path = write_zip(tmp_path / "i.zip", [*entries, ("run.sh", b"rm -r")], kind=0)
    (tmp_path / "out").mkdir()
    extract_images(path, {"7": tmp_path / "out" / "seven.jpg"})
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["seven.jpg"]
    assert (tmp_path / "out" / "seven.jpg").read_bytes() == jpeg(7)


@pytest.mark.parametrize("name", ["../7.jpg", "/7.jpg", "images/../../7.jpg", "C:/7.jpg", "images\\..\\7.jpg"])
def test_an_entry_that_points_outside_is_refused(tmp_path, name):
    path = write_zip(tmp_path / "i.zip", [("1.jpg", jpeg()), (name, jpeg())])
    with pytest.raises(DataError, match="points outside the archive; nothing was taken out"):
        extract_images(path, {"1": tmp_path / "1.jpg"})
    assert not (tmp_path / "1.jpg").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_or_device_is_refused(tmp_path, kind):
    path = write_zip(tmp_path / "i.zip", [("1.jpg", b"/etc/passwd")], kind)
    with pytest.raises(DataError, match="is a link or a device"):
        extract_images(path, {"1": tmp_path / "1.jpg"})


def test_a_zip_bomb_is_refused_before_reading(tmp_path):
    path = write_zip(tmp_path / "i.zip", [("1.jpg", bytes(2**20))])
    with pytest.raises(DataError, match="as a zip bomb does"):
        extract_images(path, {"1": tmp_path / "1.jpg"})


@pytest.mark.parametrize(
    ("bound", "value", "fault"),
    [
        ("MAX_ENTRIES", 1, "has 2 entries, expected at most 1"),
        ("MAX_BYTES", 100, "unpacks to .* bytes, expected at most 100"),
        ("MAX_TOTAL_BYTES", 500, "unpacks to .* bytes, expected at most 500"),
    ],
)
def test_count_and_sizes_are_bounded(tmp_path, monkeypatch, bound, value, fault):
    path = write_zip(tmp_path / "i.zip", [("1.jpg", jpeg(1)), ("2.jpg", jpeg(2))])
    monkeypatch.setattr(archive, bound, value)
    with pytest.raises(DataError, match=fault):
        extract_images(path, {"1": tmp_path / "1.jpg"})


def test_a_chart_that_comes_twice_is_refused(tmp_path):
    path = write_zip(tmp_path / "i.zip", [("1.jpg", jpeg(1)), ("images/1.jpg", jpeg(2))])
    with pytest.raises(DataError, match="images/1.jpg' comes twice"):
        extract_images(path, {"1": tmp_path / "1.jpg"})


def test_missing_charts_are_counted_and_the_first_is_named(tmp_path):
    path = write_zip(tmp_path / "i.zip", [("1.jpg", jpeg())])
    with pytest.raises(DataError, match=r"lacks 2 of 3 charts, the first is 2.jpg"):
        extract_images(path, {str(i): tmp_path / f"{i}.jpg" for i in (1, 2, 3)})


def test_an_entry_that_is_not_an_image_is_refused(tmp_path):
    path = write_zip(tmp_path / "i.zip", [("1.jpg", b"<html>")])
    with pytest.raises(DataError, match="1.jpg is not an image"):
        extract_images(path, {"1": tmp_path / "1.jpg"})


def test_a_damaged_archive_is_refused(tmp_path):
    path = write_zip(tmp_path / "i.zip", [("1.jpg", random.Random(1).randbytes(2000))])
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="broken zip archive: "):
        extract_images(path, {"1": tmp_path / "1.jpg"})
    path.write_bytes(data[:1000])
    with pytest.raises(DataError, match="broken zip archive: "):
        extract_images(path, {"1": tmp_path / "1.jpg"})


@pytest.mark.parametrize(("size", "limit"), [(4, "4 bytes"), (None, "4 MiB")])
def test_a_response_without_end_is_left_at_the_limit(folder, tmp_path, size, limit):
    (folder / "a.json").write_bytes(b"1234")
    with (
        HubServer(folder, faults=scripted(a_json=["endless"])) as hub,
        pytest.raises(DataError, match=f"a.json: the response is larger than the expected {limit}; check the address"),
    ):
        fetch(f"{hub.url}/a.json", tmp_path / "a.json", size=size)
    assert not list(tmp_path.glob("a.json*"))
