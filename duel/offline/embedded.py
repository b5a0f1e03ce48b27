"""Paths of the models shipped with the package. Imports no torch, so that settings can be checked without it."""

from __future__ import annotations

from pathlib import Path

from duel.errors import SettingsError
from duel.settings import OFFLINE

OFFLINE_WEIGHTS = Path(__file__).parent / "weights"


def resolve(name: str, offline_folder: str) -> str:
    """Return the name or path for `from_pretrained`; the name "offline" becomes the shipped weights' folder.

    Raises SettingsError when the shipped weights are missing.
    """
    if name != OFFLINE:
        return name
    folder = OFFLINE_WEIGHTS / offline_folder
    if not (folder / "config.json").is_file():
        raise SettingsError(f"the embedded model is missing: no config.json in {folder}; reinstall Duel")
    return str(folder)
