"""Where data, images and runs are kept."""

import os
from pathlib import Path


def state_directory(given: Path | None = None) -> Path:
    """Return `given`, or $DUEL_STATE, or `state` in the working directory."""
    return given or Path(os.environ.get("DUEL_STATE") or "state")
