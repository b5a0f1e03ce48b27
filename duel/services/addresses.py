"""Addresses of services, in one form: part of every key and record of what a service answered."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from duel.errors import SettingsError

OPENAI = "https://api.openai.com/v1"
DEFAULT_PORTS = {"http": 80, "https": 443}


def normal_address(url: str) -> str:
    """Return scheme, host, port and path of a URL in one form, e.g. `https://api.replicate.com` or `http://[::1]:80/v1`.

    Scheme and host are lower-case, a scheme's default port is left out, the path has no final slash; a user's name,
    password, query and fragment are left out, because they may be secret. Raises ValueError for what is not a URL.
    """
    url = url.strip()
    parts = urlsplit(url)
    if not parts.scheme or not parts.hostname or " " in url or not url.isprintable():
        raise ValueError(f"got {url!r}, expected an address such as https://host/path")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def service_address(variable: str, default: str) -> str:
    """Return the address that an environment variable names, as given, or the default where it is unset or empty.

    Raises SettingsError unless it is one of http or https.
    """
    given = os.environ.get(variable, "").strip()
    if not given:
        return default
    if "://" not in given:
        raise SettingsError(f"{variable} is {given!r}, which has no scheme; expected https://{given}")
    try:
        normal_address(given)
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None
    if urlsplit(given).scheme.lower() not in DEFAULT_PORTS:
        raise SettingsError(f"{variable} is {given!r}, expected an address with https://")
    return given.rstrip("/")


def judge_address() -> str:
    """Return the address of OpenAI, or of the server named in OPENAI_BASE_URL. Raises SettingsError if it is no URL."""
    return normal_address(service_address("OPENAI_BASE_URL", OPENAI))


def is_loopback(address: str) -> bool:
    """Return whether an address is of this machine: what it answers was not paid for."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
