"""The network between this machine and a service: keys, proxies, redirects, and what answers in a service's place."""

from __future__ import annotations

import html
import re
import ssl
import unicodedata
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from duel.errors import SettingsError, UserError
from duel.services.addresses import is_loopback

MOST_REDIRECTS = 5
PAGE = re.compile(r"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def check_key(key: str, place: str) -> str:
    """Return a key without spaces around it. Raises SettingsError, which shows no part of it, where it cannot be one.

    A header takes printable ASCII; a dash or a quotation mark that a document has made a typographic one is named.
    """
    key = key.strip()
    for number, character in enumerate(key, start=1):
        if not "!" <= character <= "~":
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            raise SettingsError(
                f"{place}: character {number} of {len(key)} is {name}, expected letters, digits and - _ . only; "
                "copy the key again, as plain text from the page that issued it"
            )
    return key


def proxy_for(url: str) -> str | None:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name for a URL; None: a direct connection.

    This machine's own addresses are never asked for through a proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(url) or proxy_bypass(host):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all") or None


class Connections(httpx.BaseTransport):
    """Connection pools, one for each proxy that the environment names and one for direct connections."""

    def __init__(self, keepalive: int) -> None:
        self._limits = httpx.Limits(max_keepalive_connections=keepalive)
        self._pools: dict[str | None, httpx.HTTPTransport] = {None: httpx.HTTPTransport(limits=self._limits)}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises UserError for a proxy that cannot be used or a certificate that is not trusted."""
        proxy = proxy_for(str(request.url))
        try:
            return self._pool(proxy).handle_request(request)
        except httpx.ConnectError as error:
            if is_untrusted(error):
                raise UserError(untrusted(request.url.host, error)) from None
            raise

    def _pool(self, proxy: str | None) -> httpx.HTTPTransport:
        if proxy not in self._pools:
            try:
                self._pools[proxy] = httpx.HTTPTransport(proxy=proxy, limits=self._limits)
            except (ValueError, ImportError, httpx.InvalidURL) as error:
                scheme = str(proxy).partition(":")[0]
                raise UserError(
                    f"the proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names ({scheme}://…) cannot be used: "
                    f"{type(error).__name__}; expected http://host:port"
                ) from None
        return self._pools[proxy]

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.close()


def redirected(request: httpx.Request, response: httpx.Response) -> httpx.Request | None:
    """Return the request that a redirect of a GET asks for, without credentials; None for any other response.

    Raises httpx.ReadError for a redirect to anything but http(s), and from https to http.
    """
    if request.method != "GET" or response.status_code not in (301, 302, 303, 307, 308):
        return None
    target = request.url.join(response.headers.get("Location", ""))
    secure = target.scheme == "https" or (target.scheme == "http" and request.url.scheme == "http")
    if not secure or not target.host or target == request.url:
        raise httpx.ReadError(f"redirected to {target.scheme}://{target.host}, expected https", request=request)
    headers = {
        name: value for name, value in request.headers.items() if name not in ("authorization", "host", "cookie")
    }
    return httpx.Request("GET", target, headers=headers, extensions=request.extensions)


def html_page(text: str) -> str | None:
    """Return a sentence about an HTML page that came in place of a service's answer; None for anything else."""
    if not PAGE.match(text[:4096]):
        return None
    found = TITLE.search(text[: 64 * 1024])
    title = " ".join(html.unescape(found.group(1)).split())[:80] if found else ""
    named = f"an HTML page titled {title!r}" if title else "an HTML page"
    return f"{named}, not the service's answer; is a proxy or the login page of a network in between?"


def is_untrusted(error: BaseException | None) -> bool:
    """Return whether a failure to connect is one to verify the other side's certificate."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def untrusted(host: str, error: BaseException | None) -> str:
    """Return a message about a certificate that is not trusted."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    reason = f" ({error.verify_message})" if isinstance(error, ssl.SSLCertVerificationError) else ""
    return (
        f"the certificate of {host} is not trusted{reason}; if a proxy or the network inspects traffic, set "
        "SSL_CERT_FILE to a file with its certificate; if this machine's clock is wrong, set it"
    )
