"""Named random streams: every use of randomness derives its own generator from the run's seed and a name.

No global seed is used, so that evaluating, resuming or reordering work does not change any other random number. A name
is any sequence of strings and integers: `stream(seed, round, "describe", item)`.
"""

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DRAW_SEEDS = 2**31  # exclusive upper bound: image services take 31-bit seeds


def derive_seed(seed: int, *names: int | str) -> int:
    """Return the 63-bit seed of the stream `names` under `seed`; deterministic across processes and versions."""
    path = "/".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: int | str) -> random.Random:
    """Return a `random.Random` for this stream."""
    return random.Random(derive_seed(seed, *names))


def torch_stream(seed: int, *names: int | str) -> "torch.Generator":
    """Return a `torch.Generator` on the CPU for this stream."""
    import torch  # here, because the import takes seconds and drawing or storing images does not need it

    return torch.Generator().manual_seed(derive_seed(seed, *names))


def draw_seed(seed: int, *names: int | str) -> int:
    """Return the seed of one image request, in [0, 2^31)."""
    return derive_seed(seed, "draw", *names) % DRAW_SEEDS


def sample_seeds(seed: int, inputs: int, completions: int, *names: int | str) -> list[list[int]]:
    """Return a sampling seed per completion of each input, (I, G)."""
    return [[derive_seed(seed, "sample", *names, i, g) for g in range(completions)] for i in range(inputs)]
