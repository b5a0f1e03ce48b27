"""The tests' browser: a missing one fails the test with instructions, and errors of a page are noticed."""

from pathlib import Path

import pytest

from tests.support.browser import find_browser, open_page

pytestmark = pytest.mark.slow


def test_errors_of_a_page_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<link rel=icon href='data:,'><img src='missing.png'><img src='http://192.0.2.1/far.png'>"
        "<script>console.error('said'); throw new Error('thrown')</script>"
    )
    with open_page() as opened:
        opened.page.goto(page.as_uri(), wait_until="commit")
        opened.wait_until("document.images[0]?.complete")
    assert "said" in opened.errors
    assert any("thrown" in error for error in opened.errors)
    assert (tmp_path / "missing.png").as_uri() in opened.failed
    assert opened.external == ["http://192.0.2.1/far.png"]


def test_a_missing_browser_fails_the_test_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        find_browser()
    monkeypatch.setenv("CHROMIUM", "/opt/own/chrome")
    assert find_browser() == "/opt/own/chrome"
