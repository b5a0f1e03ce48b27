"""Keys of services: from the environment, else from a Prefect Secret block.

A key travels as a `SecretStr`, which neither a log nor a traceback shows, and is opened where a client is made. It is
put into no environment variable: child processes and crash reports would have it.
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
from duel.settings import OFFLINE, Settings

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class KeyPlace:
    """Where the key of a service may be, in this order, and where one is made."""

    variable: str
    block: str
    made_at: str


REPLICATE = KeyPlace("REPLICATE_API_TOKEN", "duel-replicate-api-token", "https://replicate.com/account/api-tokens")
OPENAI = KeyPlace("OPENAI_API_KEY", "duel-openai-api-key", "https://platform.openai.com/api-keys")
HUB = KeyPlace("HF_TOKEN", "duel-hf-token", "https://huggingface.co/settings/tokens")


def find_key(place: KeyPlace, needed_by: str) -> SecretStr:
    """Return the key of a service. Raises SettingsError naming both places when it is in neither.

    Prefect's server is asked only when the environment has no key: it may have to be started for that.
    """
    key = os.environ.get(place.variable, "").strip()
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
    """Return the Hugging Face token of the Secret block, if a model is to come from the hub and there is such a block.

    None is what the hub's library wants where it finds a token itself: HF_TOKEN, or what `hf auth login` wrote.
    """
    if get_token() is not None or not any(name is not None and is_hub_name(name) for name in names):
        return None
    return read_block(HUB.block, f"{HUB.variable} is not set")


def model_names(settings: Settings) -> list[str | None]:
    """Return every name in the settings that may be the hub's."""
    drawing = settings.generator.model if settings.generator.service == "diffusers" else None
    return [settings.models.base, settings.models.adversary, settings.models.embedder, drawing]


def is_hub_name(name: str) -> bool:
    """Tell a name on the hub from the embedded model and from a folder."""
    return name != OFFLINE and HUB_NAME.fullmatch(name) is not None and not Path(name).exists()


def opened(key: SecretStr | None) -> str | None:
    """Return the text of a key, for the client that sends it."""
    return None if key is None else key.get_secret_value()


def read_block(name: str, reason: str) -> SecretStr | None:
    """Return the text of a Secret block, None when there is no such block.

    Raises SettingsError, which begins with the `reason` for asking, when the block holds no text or the server cannot
    be asked. Prefect's own errors do not leave: one about a block may quote what is in it.
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
        failure = f"Prefect's server gives no answer ({type(error).__name__}), check PREFECT_API_URL"
    raise SettingsError(f"{reason}, and Prefect's Secret block {name} is of no use: {failure}; save the key in it anew")
