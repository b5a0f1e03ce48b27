"""How models of the Hugging Face Hub are loaded, and which commit of one was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache

# For every `from_pretrained`: no code of a model's repository is run, and, unlike where this is left out, transformers
# does not ask on the terminal whether it may be.
NO_CODE: dict[str, Any] = {"trust_remote_code": False}
SAFE_WEIGHTS: dict[str, Any] = NO_CODE | {"use_safetensors": True}  # pickled weights can run code, too


def reason_of(error: Exception) -> str:
    """Return in one line why a `from_pretrained` failed; transformers recommends an option that Duel does not have."""
    text = str(error)
    if "trust_remote_code" in text:
        return "it needs code of its own, which Duel never runs"
    return text.partition("\n")[0] or type(error).__name__


def loaded_commit(name: str, revision: str | None, file: str = "config.json", cache: Path | None = None) -> str | None:
    """Return the commit of a model that was just loaded at `revision` (None: main), by the hub's cache on this machine.

    None for what is not in the cache, such as a local folder.
    """
    if Path(name).exists():
        return None
    found = try_to_load_from_cache(name, file, cache_dir=cache, revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None
