"""A headless Chromium for tests of HTML pages.

`open_page` fails the test when no browser is installed, rather than skipping it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OWN_HOSTS = ("", "localhost", "127.0.0.1", "::1")  # no host: a file, or data in the page


@dataclass
class Opened:
    """A page and the errors seen on it so far."""

    page: Page
    errors: list[str] = field(default_factory=list)  # said on the console, or thrown and not caught
    failed: list[str] = field(default_factory=list)  # addresses that gave nothing
    external: list[str] = field(default_factory=list)  # addresses that are not on this machine

    @property
    def faults(self) -> list[str]:
        """All errors that must not occur: console errors, failed requests, requests to other hosts."""
        return [*self.errors, *self.failed, *self.external]

    def wait_until(self, expression: str, seconds: float = 10) -> None:
        """Wait until a JavaScript expression is true; works under a CSP that blocks `Page.wait_for_function`."""
        began = time.monotonic()
        while not self.page.evaluate(expression):
            assert time.monotonic() - began < seconds, f"still not true after {seconds} s: {expression}"
            self.page.wait_for_timeout(20)


@contextmanager
def open_page(width: int = 1280, height: int = 900, dark: bool = False, scripts: bool = True) -> Iterator[Opened]:
    """Yield an empty page of a fresh browser with a temporary profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(ARGUMENTS))
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                java_script_enabled=scripts,
            )
            opened = Opened(page)
            page.on("console", lambda message: opened.errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: opened.errors.append(str(error)))
            page.on("requestfailed", lambda request: opened.failed.append(request.url))
            page.on("request", lambda request: _note_external(opened, request.url))
            yield opened
        finally:
            browser.close()


def find_browser() -> str:
    """Return the browser's executable: $CHROMIUM, or the first of NAMES that is installed."""
    found = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(
            f"no browser: looked for {', '.join(NAMES)} and $CHROMIUM. On Debian: apt-get install chromium; "
            "elsewhere set CHROMIUM to the executable of a Chromium or Chrome"
        )
    return found


def _note_external(opened: Opened, address: str) -> None:
    if (urlsplit(address).hostname or "") not in OWN_HOSTS:
        opened.external.append(address)
