"""Image store: one draw per key across threads, processes and kills; bytes only; damaged entries count as missing."""

import hashlib
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cache.blob_store import pack, unpack
from cache.image_store import ImageStore, to_entry
from duel.errors import RunError
from duel.types import DrawnImage, DrawRequest, Refusal

KEY = DrawRequest("test", "1", "a red bar chart", 7).key
IMAGE = DrawnImage(b"\x89PNG\r\n" + bytes(range(256)), "image/png")
LARGE = DrawnImage(os.urandom(200_000), "image/webp")  # beyond 32 KiB diskcache uses a file of its own


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with ImageStore(tmp_path / "images") as opened:
        yield opened


def must_not_draw() -> DrawnImage:
    raise AssertionError("drawn although it is stored")


@pytest.mark.parametrize("result", [IMAGE, LARGE, DrawnImage(b"", "image/png"), Refusal("no <nudity> \ud800")])
def test_an_entry_is_read_back_also_by_another_process(
    tmp_path: Path, store: ImageStore, result: DrawnImage | Refusal
) -> None:
    store.put(KEY, result)
    assert store.get(KEY) == result
    with ImageStore(tmp_path / "images") as again:
        assert again.get(KEY) == result
        assert again.draw_once(KEY, must_not_draw, "later") == (result, "")


def test_the_origin_of_an_image_is_stored_with_it(store: ImageStore) -> None:
    assert store.draw_once(KEY, lambda: IMAGE, "run/round-0001/draw") == (IMAGE, "run/round-0001/draw")
    assert store.draw_once(KEY, must_not_draw, "run/round-0002/draw") == (IMAGE, "run/round-0001/draw")


def test_a_missing_key_is_none_and_a_bad_key_an_error(store: ImageStore) -> None:
    assert store.get(KEY) is None
    with pytest.raises(ValueError, match="64 hexadecimal"):
        store.get("../../etc")


def test_threads_that_want_one_key_draw_once(store: ImageStore) -> None:
    drawn, results = [], []

    def draw() -> DrawnImage:
        drawn.append(threading.get_ident())
        time.sleep(0.1)
        return IMAGE

    def ask(origin: str) -> None:
        results.append(store.draw_once(KEY, draw, origin))

    threads = [threading.Thread(target=ask, args=[origin]) for origin in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 1
    assert len(set(results)) == 1  # all four know for whom it was drawn
    assert results[0][0] == IMAGE


CHILD = """
import sys, time
from pathlib import Path
from cache.image_store import ImageStore
from duel.types import DrawnImage

directory, key, log = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])

def draw():
    with log.open("a") as file:
        file.write("drawn\\n")
    time.sleep(float(sys.argv[4]))
    return DrawnImage(b"picture", "image/png")

with ImageStore(directory) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    store.draw_once(key, draw)
"""


def child(tmp_path: Path, seconds: float) -> subprocess.Popen[str]:
    """Start a process that draws KEY once it reads a line, taking `seconds`."""
    arguments = [str(tmp_path / "images"), KEY, str(tmp_path / "log"), str(seconds)]
    started = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=20)


def test_processes_that_want_one_key_draw_once(tmp_path: Path) -> None:
    children = [child(tmp_path, 0.3) for _ in range(2)]
    for process in children:
        go(process)
    for process in children:
        end(process)
        assert process.returncode == 0
    assert (tmp_path / "log").read_text() == "drawn\n"


def test_a_killed_process_does_not_keep_its_draw_lock(tmp_path: Path, store: ImageStore) -> None:
    process = child(tmp_path, 60)
    go(process)
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    end(process)
    assert store.draw_once(KEY, lambda: IMAGE, "now") == (IMAGE, "now")


def test_an_image_survives_a_kill_right_after_drawing(tmp_path: Path, store: ImageStore) -> None:
    code = f"""
        import os, signal
        from pathlib import Path
        from cache.image_store import ImageStore
        from duel.types import DrawnImage

        store = ImageStore(Path({str(tmp_path / "images")!r}))
        store.draw_once({KEY!r}, lambda: DrawnImage(bytes(100_000), "image/png"))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=root, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert store.get(KEY) == DrawnImage(bytes(100_000), "image/png")


def test_an_exception_stores_nothing_and_frees_the_key(store: ImageStore) -> None:
    def fail() -> DrawnImage:
        raise ConnectionError("reset")

    with pytest.raises(ConnectionError):
        store.draw_once(KEY, fail)
    assert store.get(KEY) is None
    assert store.draw_once(KEY, lambda: IMAGE, "now") == (IMAGE, "now")


def test_a_damaged_file_counts_as_missing_and_is_drawn_again(tmp_path: Path, store: ImageStore) -> None:
    store.put(KEY, LARGE)
    (file,) = (tmp_path / "images").rglob("*.val")
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:50_000] + b"!" + whole[50_001:], b"", whole + b"x"):
        file.write_bytes(damaged)
        assert store.get(KEY) is None
    file.unlink()
    assert store.get(KEY) is None
    assert store.draw_once(KEY, lambda: LARGE, "now") == (LARGE, "now")
    assert store.get(KEY) == LARGE


def test_every_damaged_byte_of_an_entry_is_noticed() -> None:
    entry = pack(KEY, to_entry(IMAGE))
    for place in range(len(entry)):
        flipped = entry[:place] + bytes([entry[place] ^ 1]) + entry[place + 1 :]
        assert unpack(KEY, flipped) is None


def test_an_entry_under_another_key_counts_as_missing() -> None:
    other = hashlib.sha256(b"other").hexdigest()
    assert unpack(other, pack(KEY, to_entry(IMAGE))) is None


def test_bytes_are_stored_unchanged(tmp_path: Path, store: ImageStore) -> None:
    store.put(KEY, LARGE)
    (file,) = (tmp_path / "images").rglob("*.val")
    assert file.read_bytes().endswith(b"\n" + LARGE.data)


def test_objects_are_refused_rather_than_pickled(store: ImageStore) -> None:
    with pytest.raises(TypeError, match="DrawnImage and Refusal, got dict"):
        store.put(KEY, {"an": "object"})  # type: ignore[arg-type]
    for value in ({"an": "object"}, "text", 3, None, bytearray(b"x")):
        with pytest.raises(TypeError, match="holds bytes"):
            store._blobs._owner.submit(store._blobs._cache.set, KEY, value).result()
    with pytest.raises(TypeError, match="keys are text"):
        store._blobs._owner.submit(store._blobs._cache.set, ("a", "tuple"), b"x").result()
    assert len(store) == 0


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_a_pickle_planted_in_the_database_is_not_loaded(tmp_path: Path, store: ImageStore) -> None:
    store.put(KEY, IMAGE)
    payload = pickle.dumps(Bomb(str(tmp_path / "exploded")))
    database = sqlite3.connect(tmp_path / "images" / "images" / "cache.db")
    database.execute("UPDATE Cache SET mode = 4, value = ?", (payload,))
    database.commit()
    database.close()
    assert store.get(KEY) is None
    assert not (tmp_path / "exploded").exists()


def test_nothing_is_evicted_beyond_the_usual_limit(store: ImageStore) -> None:
    assert store._blobs._cache.eviction_policy == "none"
    assert store._blobs._cache.cull_limit == 0
    assert store._blobs._cache.size_limit > 2**60  # diskcache's own is 2**30


def test_an_unusable_directory_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot open the image store .*file/images.*expected a directory"):
        ImageStore(tmp_path / "file" / "images")


def test_a_foreign_database_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cache.db").write_text("not a database" * 100)
    with pytest.raises(RunError, match="cannot open the image store"):
        ImageStore(tmp_path)


def test_closing_twice_is_harmless_and_frees_the_files(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.put(KEY, IMAGE)
    store.close()
    store.close()
    opened = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert not [name for name in opened if str(tmp_path) in name]
