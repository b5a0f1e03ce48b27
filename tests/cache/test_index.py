"""The index of a store is rebuilt from the entries' files when it is lost or damaged."""

import hashlib
import logging
import sqlite3
import threading
import time
from pathlib import Path

import pytest

import cache.index
from cache.blob_store import BlobStore, Entry, _open_cache, key_of, pack
from duel.errors import ServiceError, StorageError

ENTRIES = {hashlib.sha256(bytes([n])).hexdigest(): Entry("image", "image/png", bytes([n]) * 50_000) for n in range(6)}
SMALL = hashlib.sha256(b"small").hexdigest(), Entry("refusal", "text/plain", b"no", "run/1/draw")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of seven entries; return the folder of its database."""
    with BlobStore(tmp_path, "store") as store:
        for key, entry in [*ENTRIES.items(), SMALL]:
            store.put(key, entry)
    return tmp_path / "images"


def must_not_make() -> Entry:
    raise AssertionError("made although it is stored")


def assert_whole(folder: Path) -> None:
    with BlobStore(folder.parent, "store") as store:
        for key, entry in [*ENTRIES.items(), SMALL]:
            assert store.get_or_make(key, must_not_make) == entry
        assert len(store) == 7
    assert len(list(folder.rglob("*.val"))) == 7
    assert cache.index.find_fault(folder) is None


def remove(database: Path) -> None:
    for path in database.parent.glob("cache.db*"):
        path.unlink()


def truncate(database: Path) -> None:
    remove(database)
    database.touch()


def clear(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM Cache")
    connection.close()


def overwrite_pages(database: Path) -> None:
    whole = bytearray(database.read_bytes())
    whole[4096 : 3 * 4096] = b"\xa5" * (2 * 4096)
    database.write_bytes(whole)


def overwrite_header(database: Path) -> None:
    database.write_bytes(b"x" * 100 + database.read_bytes()[100:])


@pytest.mark.parametrize("harm", [remove, truncate, clear, overwrite_pages, overwrite_header])
def test_a_lost_index_is_rebuilt_and_nothing_is_made_again(folder, harm, caplog):
    harm(folder / "cache.db")
    assert_whole(folder)
    assert "rebuilt from 7 files" in caplog.text


def test_a_kill_while_rebuilding_loses_nothing(folder, monkeypatch):
    remove(folder / "cache.db")
    unlink, left = Path.unlink, [3]

    def killed(path, missing_ok=False):
        if path.suffix == ".val":
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.index.rebuild(folder, "is missing", _open_cache, key_of)
    monkeypatch.undo()
    assert_whole(folder)


def test_a_damaged_file_gets_no_entry_and_stays(folder, caplog):
    remove(folder / "cache.db")
    path = next(path for path in folder.rglob("*.val") if path.stat().st_size > 1000)
    path.write_bytes(path.read_bytes()[:-1])
    with BlobStore(folder.parent, "store") as store:
        assert len(store) == 6
    assert path.exists()
    assert "rebuilt from 6 files, 1 damaged" in caplog.text


def test_small_entries_of_older_stores_are_read_from_the_damaged_database(tmp_path):
    key, entry = SMALL
    cached = _open_cache(tmp_path / "images")
    cached.reset("disk_min_file_size", 2**15)
    cached.set(key, pack(key, entry))
    cached.close()
    assert not list((tmp_path / "images").rglob("*.val"))
    cache.index.rebuild(tmp_path / "images", "is damaged", _open_cache, key_of)
    with BlobStore(tmp_path, "store") as store:
        assert store.get(key) == entry


def test_a_new_store_is_empty_and_says_nothing(tmp_path, caplog):
    with BlobStore(tmp_path, "store") as store:
        assert len(store) == 0
    with BlobStore(tmp_path, "store") as store:
        assert len(store) == 0
    assert caplog.text == ""


def test_an_index_that_another_process_has_open_is_not_rebuilt(folder, monkeypatch):
    monkeypatch.setattr(cache.index, "PATIENCE", 0.1)
    with BlobStore(folder.parent, "store") as store:
        clear(folder / "cache.db")
        with pytest.raises(StorageError, match=r"is empty, and another process has it open; .* safe; stop"):
            BlobStore(folder.parent, "store")
        assert len(store) == 0
    assert_whole(folder)


def test_damage_met_while_running_is_one_line(folder):
    with BlobStore(folder.parent, "store") as store:

        def get(key, retry):  # SQLite's page cache hides real damage for a while
            raise sqlite3.DatabaseError("database disk image is malformed")

        store._cache.get = get
        with pytest.raises(StorageError, match=r"the index of the store .* is damaged: .*; run the same command again"):
            store.get(SMALL[0])


def test_waiting_for_another_caller_is_logged_and_has_a_deadline(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("cache.blob_store.FIRST_SAID", 0.1)
    key, entry = SMALL
    making, done = threading.Event(), threading.Event()

    def make() -> Entry:
        making.set()
        done.wait(20)
        return entry

    with BlobStore(tmp_path, "store") as store, BlobStore(tmp_path, "store", wait_seconds=0.5) as other:
        thread = threading.Thread(target=store.get_or_make, args=[key, make])
        thread.start()
        making.wait(20)
        started = time.monotonic()
        with (
            caplog.at_level(logging.WARNING),
            pytest.raises(ServiceError, match=r"the store .* in the making elsewhere"),
        ):
            other.get_or_make(key, must_not_make)
        assert 0.5 <= time.monotonic() - started < 3
        assert f"entry {key[:12]} of the store is in the making elsewhere; waiting for it" in caplog.text
        done.set()
        thread.join()
        assert other.get_or_make(key, must_not_make) == entry
