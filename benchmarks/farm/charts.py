"""Draws charts in parallel processes and embeds them; each distinct chart is drawn once for all runs.

An image is known by a digest of its chart: equal charts have equal pixels. Nothing is encoded as PNG. The vision tower
of the base is frozen, so that an image passes through it once and is kept as its 36 tokens.
"""

from __future__ import annotations

import hashlib
import mmap
import multiprocessing
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import Dinov2Model

from benchmarks.farm.model import StackedModel
from duel.offline.charts import Chart
from duel.offline.pretraining.models import EMBEDDER_FOLDER, EMBEDDER_SIDE, IMAGE_TOKENS, VLM_SIDE, pixel_statistics
from duel.offline.pretraining.vlm import encode_images
from duel.offline.reading import read
from duel.offline.renderer import render

Request = tuple[str, int]  # text, seed
FEW = 16  # jobs that are not worth sending to other processes
PIXELS: dict[str, Any] = {}  # (slots, side, side, 3) uint8 each, in memory shared with the workers


class ChartImages:
    """Images by digest: embeddings of all, image tokens of those that the base describes ("originals")."""

    def __init__(self, workers: int, slots: int = 4096) -> None:
        """Start `workers` processes; call this before CUDA is used, since they are forked."""
        self.slots, self.workers = slots, workers
        PIXELS["embedder"], PIXELS["base"] = shared_pixels(slots, EMBEDDER_SIDE), shared_pixels(slots, VLM_SIDE)
        self.pool = multiprocessing.get_context("fork").Pool(workers) if workers > 1 else None
        self.digest_of_request: dict[Request, int] = {}
        self.embedding_row: dict[int, int] = {}  # digest -> row of `embeddings`
        self.token_row: dict[int, int] = {}  # digest -> row of `tokens`

    def load(self, model: StackedModel) -> None:
        """Load the embedder, and use the base's vision tower."""
        embedder: Any = Dinov2Model.from_pretrained(EMBEDDER_FOLDER, dtype=torch.float32)
        self.model, self.device = model, model.device
        self.embedder = embedder.to(self.device).eval().requires_grad_(False)
        self.embeddings = torch.zeros(1 << 10, embedder.config.hidden_size, device=self.device)
        self.tokens = torch.zeros(1 << 9, IMAGE_TOKENS, model.width, device=self.device, dtype=torch.float16)

    def draw(self, requests: Sequence[Request], originals: bool = False) -> list[int]:
        """Draw texts with seeds and return their digests."""
        new = list(dict.fromkeys(request for request in requests if request not in self.digest_of_request))
        self.digest_of_request |= zip(new, self._spread(read_digests, new), strict=True)
        digests = [self.digest_of_request[request] for request in requests]
        self._paint(dict(zip(digests, requests, strict=True)), originals)
        return digests

    def draw_charts(self, charts: Sequence[Chart]) -> list[int]:
        """Draw charts as originals and return their digests."""
        digests = [digest_of(chart) for chart in charts]
        self._paint(dict(zip(digests, charts, strict=True)), True)
        return digests

    def tokens_of(self, digests: Sequence[Sequence[int]]) -> Tensor:
        """Return originals' image tokens, (A, N, image tokens, width)."""
        rows = torch.tensor([[self.token_row[digest] for digest in row] for row in digests], device=self.device)
        return self.tokens[rows].float()

    def similarities(self, pairs: Sequence[tuple[int, int]]) -> list[float]:
        """Return the cosine of each pair of images, in [-1, 1]."""
        if not pairs:
            return []
        rows = torch.tensor([[self.embedding_row[digest] for digest in pair] for pair in pairs], device=self.device)
        return (self.embeddings[rows[:, 0]] * self.embeddings[rows[:, 1]]).sum(-1).clamp(-1, 1).tolist()

    def close(self) -> None:
        if self.pool is not None:
            self.pool.terminate()

    def _spread(self, function: Callable[[list[Any]], list[Any]], jobs: list[Any]) -> list[Any]:
        """Return `function(jobs)`, one result for each job, computed in all processes."""
        if self.pool is None or len(jobs) < FEW:
            return function(jobs)
        size = max(8, -(-len(jobs) // (4 * self.workers)))
        parts = self.pool.map(function, [jobs[i : i + size] for i in range(0, len(jobs), size)], chunksize=1)
        return [result for part in parts for result in part]

    def _paint(self, wanted: dict[int, Request | Chart], originals: bool) -> None:
        have = self.token_row if originals else self.embedding_row
        missing = [(digest, what) for digest, what in wanted.items() if digest not in have]
        for start in range(0, len(missing), self.slots):
            part = missing[start : start + self.slots]
            self._spread(paint, [(slot, what, originals) for slot, (_, what) in enumerate(part)])
            self._embed([digest for digest, _ in part])
            if originals:
                self._encode([digest for digest, _ in part])

    @torch.no_grad()
    def _embed(self, digests: list[int], batch: int = 1024) -> None:
        mean, deviation = pixel_statistics(self.device)
        for start in range(0, len(digests), batch):
            part = digests[start : start + batch]
            pixels = torch.from_numpy(PIXELS["embedder"][start : start + len(part)]).to(self.device)
            pixels = ((pixels.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)
            vectors = F.normalize(self.embedder(pixel_values=pixels).last_hidden_state[:, 0].float(), dim=-1)
            self.embeddings = put_rows(self.embeddings, self.embedding_row, part, vectors)

    @torch.no_grad()
    def _encode(self, digests: list[int], batch: int = 256) -> None:
        for start in range(0, len(digests), batch):
            part = digests[start : start + batch]
            pixels = torch.from_numpy(PIXELS["base"][start : start + len(part)]).to(self.device)
            self.tokens = put_rows(self.tokens, self.token_row, part, encode_images(self.model.vlm, pixels).half())


def put_rows(table: Tensor, row_of: dict[int, int], digests: list[int], values: Tensor) -> Tensor:
    """Write values under new digests, and return the table, doubled where it was full."""
    rows = [row_of.setdefault(digest, len(row_of)) for digest in digests]
    while len(row_of) > len(table):
        table = torch.cat([table, torch.zeros_like(table)])
    table[torch.tensor(rows, device=table.device)] = values
    return table


def shared_pixels(count: int, side: int) -> Any:
    """Return (count, side, side, 3) bytes in anonymous shared memory, into which forked processes write."""
    return np.frombuffer(mmap.mmap(-1, count * side * side * 3), dtype=np.uint8).reshape(count, side, side, 3)


def digest_of(chart: Chart) -> int:
    return int.from_bytes(hashlib.blake2b(repr(chart).encode(), digest_size=8).digest(), "big")


def read_digests(requests: list[Request]) -> list[int]:
    return [digest_of(read(text, random.Random(seed))) for text, seed in requests]


def paint(jobs: list[tuple[int, Request | Chart, bool]]) -> list[None]:
    """Draw charts into their slots of shared memory, for the embedder and, if originals, for the base."""
    for slot, what, original in jobs:
        image = render(what if isinstance(what, Chart) else read(what[0], random.Random(what[1])))
        for name, side in (("embedder", EMBEDDER_SIDE), ("base", VLM_SIDE))[: 1 + original]:
            PIXELS[name][slot] = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    return [None] * len(jobs)
