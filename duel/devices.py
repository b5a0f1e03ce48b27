"""Device selection, and isolation of torch's global random state."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from importlib.util import find_spec

import torch

from duel.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Return the torch device of a setting; `auto` is CUDA if available. Raises SettingsError if it does not exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"models.device = {name!r}: {error}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"models.device = {name!r}, but torch sees no CUDA device here; expected 'cpu' or 'auto'")
    return device


def isolated_random_state(device: torch.device | None = None) -> AbstractContextManager[None]:
    """Return a context that restores torch's global random state, of the CPU and of a CUDA `device`, on exit."""
    return torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else [])


def check_torchvision() -> None:
    """Raise SettingsError when torchvision is installed and does not fit torch; transformers would fail to import."""
    if find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingsError(
            f"the installed torchvision cannot be used with torch {torch.__version__}: {reason}; install the version "
            "that belongs to it, or uninstall torchvision, which few models need"
        ) from None
