"""Latency of the image store (put, get, and draw_once from many threads) compared with plain diskcache.

    python -m benchmarks.image_store [--images 500] [--bytes 100000] [--threads 8]

Plain diskcache is the alternative: no checksums, no lock per key, default settings.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import diskcache

from cache.image_store import ImageStore
from duel.types import DrawnImage


def main() -> None:
    """Print milliseconds per image for each way to store and read it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--bytes", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(options.images)]
    image = DrawnImage(os.urandom(options.bytes), "image/webp")
    print(f"{options.images} images of {options.bytes} bytes, {options.threads} threads; milliseconds an image")
    with tempfile.TemporaryDirectory() as directory:
        measure_store(Path(directory, "store"), keys, image, options.threads)
        measure_diskcache(Path(directory, "plain"), keys, image.data, options.threads)


def measure_store(directory: Path, keys: list[str], image: DrawnImage, threads: int) -> None:
    """Time the image store."""
    with ImageStore(directory) as store:
        report("image store, draw_once, new, one thread", keys, lambda key: store.draw_once(key, lambda: image), 1)
        report("image store, draw_once, stored, one thread", keys, lambda key: store.draw_once(key, fail), 1)
        report(f"image store, get, {threads} threads", keys, store.get, threads)
        fresh = [key[::-1] for key in keys]
        report(f"image store, draw_once, new, {threads} threads", fresh,
               lambda key: store.draw_once(key, lambda: image), threads)  # fmt: skip


def measure_diskcache(directory: Path, keys: list[str], data: bytes, threads: int) -> None:
    """Time plain diskcache."""
    with diskcache.Cache(str(directory)) as cache:
        report("diskcache, set, one thread", keys, lambda key: cache.set(key, data), 1)
        report("diskcache, get, one thread", keys, cache.get, 1)
        report(f"diskcache, get, {threads} threads", keys, cache.get, threads)


def report(what: str, keys: list[str], act: Callable[[str], object], threads: int) -> None:
    """Call `act` for every key and print the mean milliseconds."""
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(act, keys))
    print(f"{what:<45} {(time.perf_counter() - began) / len(keys) * 1000:7.3f}")


def fail() -> DrawnImage:
    """Fail: everything must be in the store already."""
    raise AssertionError("drawn although it is stored")


if __name__ == "__main__":
    main()
