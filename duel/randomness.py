"""Random streams: every draw of chance has its own generator, named by where it is used.

Nothing in Duel touches a global seed, so that evaluating, resuming or drawing in another order changes
no other number. A stream is named by the run's seed and any number of words and integers:
`stream(seed, round, "describe", item)`.
"""

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DRAW_SEEDS = 2**31  # image services take 31-bit seeds


def derive_seed(seed: int, *names: int | str) -> int:
    """Return a 63-bit seed for the stream `names` of the run `seed`; equal names give equal seeds."""
    path = "/".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: int | str) -> random.Random:
    """Return Python's generator for this stream."""
    return random.Random(derive_seed(seed, *names))


def torch_stream(seed: int, *names: int | str) -> "torch.Generator":
    """Return a CPU torch generator for this stream."""
    import torch  # seconds of import that drawing and storing images can do without

    return torch.Generator().manual_seed(derive_seed(seed, *names))


def draw_seed(seed: int, *names: int | str) -> int:
    """Return the seed of one draw."""
    return derive_seed(seed, "draw", *names) % DRAW_SEEDS


def sample_seeds(seed: int, inputs: int, completions: int, *names: int | str) -> list[list[int]]:
    """Return one seed for every completion of every input, (I, G)."""
    return [[derive_seed(seed, "sample", *names, i, g) for g in range(completions)] for i in range(inputs)]
