"""Which commit of a Hugging Face Hub model was loaded."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache


def loaded_commit(name: str, revision: str | None, file: str = "config.json", cache: Path | None = None) -> str | None:
    """Return the commit of a model that was just loaded at `revision` (None: main), by the hub's cache on this machine.

    None for what is not in the cache, such as a local folder.
    """
    if Path(name).exists():
        return None
    found = try_to_load_from_cache(name, file, cache_dir=cache, revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None
