"""Charts drawn in advance for training, by all cores, into memory that they share."""

from __future__ import annotations

import mmap
import multiprocessing
import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from duel.offline.charts import Chart
from duel.offline.renderer import render
from duel.randomness import stream

CHUNK = 250
Sampler = Callable[[random.Random], Chart]


def corpus_chart(seed: int, index: int, sampler: Sampler) -> Chart:
    """Return the chart at `index` of the corpus of `seed`."""
    return sampler(stream(seed, "corpus", index))


def draw_corpus(seed: int, count: int, side: int, sampler: Sampler, workers: int) -> NDArray[np.uint8]:
    """Draw `count` charts, each resized to `side` x `side` as both image processors do it.

    Returns `(count, side, side, 3)`. The resizing is Pillow's bicubic, on 8 bits.
    """
    shape = (count, side, side, 3)
    memory = mmap.mmap(-1, int(np.prod(shape)))  # anonymous and shared: forked workers write into it
    pixels = np.frombuffer(memory, dtype=np.uint8).reshape(shape)
    queue = multiprocessing.get_context("fork").Queue()
    for start in range(0, count, CHUNK):
        queue.put(start)
    for _ in range(workers):
        queue.put(None)

    def work() -> None:
        while (start := queue.get()) is not None:
            for index in range(start, min(start + CHUNK, count)):
                image = render(corpus_chart(seed, index, sampler))
                pixels[index] = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))

    processes = [multiprocessing.get_context("fork").Process(target=work) for _ in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a drawing process ended with exit code {process.exitcode}")
    return pixels
