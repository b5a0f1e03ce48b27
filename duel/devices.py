"""Which device runs a model, and torch's global random state around library code that consumes it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from duel.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Return the device that a setting names; raises SettingsError when this machine has none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"models.device = {name!r}: {error}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"models.device = {name!r}, but torch sees no CUDA device here; expected 'cpu' or 'auto'")
    return device


def own_random_state(device: torch.device | None = None) -> AbstractContextManager[None]:
    """Return a context that leaves the global random numbers of the CPU, and of `device`, as they were."""
    return torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else [])
