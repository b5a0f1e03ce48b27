"""API keys of services, from an environment variable or else from a Prefect Secret block.

A key is passed on as a `SecretStr`, which logs and tracebacks do not show, and is unwrapped where a client is made. It
is never written to an environment variable, which child processes and crash reports would see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import get_token
from prefect.blocks.system import Secret
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from duel.errors import SettingsError
from duel.services.network import check_key
from duel.settings import OFFLINE, Settings

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class KeyPlace:
    """Where a service's key is looked up, in this order, and the page that issues one."""

    variable: str  # environment variable
    block: str  # name of the Prefect Secret block
    made_at: str  # URL


REPLICATE = KeyPlace("REPLICATE_API_TOKEN", "duel-replicate-api-token", "https://replicate.com/account/api-tokens")
OPENAI = KeyPlace("OPENAI_API_KEY", "duel-openai-api-key", "https://platform.openai.com/api-keys")
HUB = KeyPlace("HF_TOKEN", "duel-hf-token", "https://huggingface.co/settings/tokens")


def find_key(place: KeyPlace, needed_by: str) -> SecretStr:
    """Return the key of a service. Raises SettingsError naming both places when it is in neither.

    The Secret block is read only when the environment has no key, because that may start a Prefect server.
    """
    key = check_key(os.environ.get(place.variable, ""), place.variable)
    if key:
        return SecretStr(key)
    saved = read_block(place.block, f"{place.variable} is not set")
    if saved is None:
        raise SettingsError(
            f"{needed_by} needs a key: {place.variable} is not set, and Prefect has no Secret block {place.block}; "
            f"make one at {place.made_at} and export or save it, or try without paying: make rehearsal"
        )
    return saved


def find_hub_token(names: Iterable[str | None]) -> SecretStr | None:
    """Return the Hugging Face token of the Secret block; None when no name is a hub name or there is no such block.

    Also None when `huggingface_hub` finds a token itself (HF_TOKEN, or the file that `hf auth login` wrote).
    """
    if get_token() is not None or not any(name is not None and is_hub_name(name) for name in names):
        return None
    return read_block(HUB.block, f"{HUB.variable} is not set")


def model_names(settings: Settings) -> list[str | None]:
    """Return every model name in the settings that may be a Hugging Face Hub repository."""
    drawing = settings.generator.model if settings.generator.service == "diffusers" else None
    return [settings.models.base, settings.models.adversary, settings.models.embedder, drawing]


def is_hub_name(name: str) -> bool:
    """Return whether `name` is a hub repository, and not the embedded model or a local folder."""
    return name != OFFLINE and HUB_NAME.fullmatch(name) is not None and not Path(name).exists()


def opened(key: SecretStr | None) -> str | None:
    """Return the plain text of a key, for the client that sends it; None for None."""
    return None if key is None else key.get_secret_value()


def read_block(name: str, reason: str) -> SecretStr | None:
    """Return the text of a Secret block, or None when there is no such block.

    Raises SettingsError, prefixed by `reason`, when the block holds no text or the server cannot be reached. Prefect's
    own errors are not chained: their messages may quote the block's content.
    """
    failure = "it holds no text"
    try:
        block: Any = Secret.load(name)
        value = block.value.get_secret_value()
        if isinstance(value, str) and value.strip():
            return SecretStr(value.strip())
    except ValueError as error:
        if isinstance(error.__cause__, ObjectNotFound):
            return None
        failure = type(error).__name__
    except httpx.HTTPError as error:
        failure = f"Prefect's server does not respond ({type(error).__name__}), check PREFECT_API_URL"
    raise SettingsError(
        f"{reason}, and Prefect's Secret block {name} cannot be used: {failure}; save the key in it again"
    )
