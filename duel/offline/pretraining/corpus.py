"""Renders a training corpus of charts in parallel, into shared memory."""

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
    """Return the chart at `index` of the corpus with `seed`."""
    return sampler(stream(seed, "corpus", index))


def draw_corpus(seed: int, count: int, side: int, sampler: Sampler, workers: int) -> NDArray[np.uint8]:
    """Render `count` charts and resize each to `side` x `side`, as both image processors do (bicubic, on 8 bits).

    Returns uint8 pixels, `(count, side, side, 3)`. Raises RuntimeError when a worker process fails.
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
