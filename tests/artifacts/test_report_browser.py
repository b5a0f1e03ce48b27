"""The HTML report in a real browser: no errors, no network requests, working controls, load time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from artifacts.report.html import write_report
from artifacts.run.directory import RunDirectory
from duel.settings import Settings
from duel.state import StateDirectory
from tests.support.browser import Opened, open_page
from tests.support.fake_run import fake_run, write_long_run
from tests.support.hostile import write_hostile_run

pytestmark = pytest.mark.slow

PAINT = "performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)"


@contextmanager
def opened_report(html: Path, address: str = "", **screen: object) -> Iterator[Opened]:
    with open_page(**screen) as opened:  # type: ignore[arg-type]
        opened.page.goto(html.as_uri() + address)
        yield opened
        assert opened.faults == []


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a run of 60 rounds against another one."""
    state = tmp_path_factory.mktemp("state")
    return write_report(write_long_run(state, 60), fake_run(state, "alone", 60, 10, adversary=False, recorded=1))


def count(page: Page) -> str:
    return page.inner_text("#count")


def titles(page: Page) -> list[str]:
    return page.locator("#list .card header b").all_inner_texts()


def rounds(page: Page) -> list[int]:
    return [int(re.findall(r"\d+", title)[0]) for title in titles(page)]


def means(page: Page) -> list[float]:
    """Return each card's mean similarity."""
    return [
        float(re.findall(r"similarity (-?[\d.]+)", text)[0])
        for text in page.locator("#list .faint").all_inner_texts()
        if "similarity" in text
    ]


@pytest.mark.parametrize("number", [60, 1000])
def test_the_first_paint_comes_within_a_second(tmp_path: Path, number: int) -> None:
    page = write_report(write_long_run(tmp_path, number))
    times = []
    for _ in range(3):
        with opened_report(page) as opened:
            opened.wait_until(f"{PAINT}.length === 1")
            times += opened.page.evaluate(PAINT)
            assert count(opened.page) == f"{number} of {number} groups"
            assert opened.page.locator("#list .card").count() == 12
            seen = opened.page.evaluate("performance.getEntriesByType('resource').length")
            assert seen < 250  # of thousands of small pictures, those near the screen
    print(f"\n{number} rounds, {page.stat().st_size / 1e6:.1f} MB: first paint after {sorted(times)} ms")
    assert min(times) < 1000  # the best of three: the machine may be busy with other tests


def test_the_page_of_a_run_without_rounds_has_no_errors(tmp_path: Path) -> None:
    with RunDirectory.open(StateDirectory(tmp_path), "new", Settings()) as run:
        html = write_report(run)
    with opened_report(html, "#gallery") as opened:
        assert count(opened.page) == "No round was recorded yet."
        assert opened.page.locator("#controls").is_hidden()


def test_filters_show_matching_items_only(html: Path) -> None:
    with opened_report(html, "#gallery") as opened:
        page = opened.page
        page.select_option("[name=player]", "adversary")
        assert count(page) == "30 of 60 groups"
        assert all(number % 2 == 1 for number in rounds(page))
        page.fill("[name=from]", "10")
        page.fill("[name=to]", "20")
        assert rounds(page) == [11, 13, 15, 17, 19]
        page.click("[type=reset]")
        opened.wait_until("document.getElementById('count').textContent === '60 of 60 groups'")
        page.fill("[name=low]", "0.88")
        assert 0 < len(means(page)) < 60
        assert all(mean >= 0.88 for mean in means(page))
        page.click("[type=reset]")
        page.fill("[name=text]", "LEAFY   background")
        opened.wait_until("!document.getElementById('count').textContent.startsWith('60 ')")
        assert page.locator("#list .card").count() > 0
        page.fill("[name=text]", "nothing says this")
        page.wait_for_selector("text=no match for these filters")


def test_sorting_by_similarity_in_both_orders(html: Path) -> None:
    with opened_report(html, "#gallery") as opened:
        page = opened.page
        page.select_option("[name=sort]", "similarity")
        lowest = means(page)
        assert lowest == sorted(lowest)
        page.select_option("[name=order]", "down")
        highest = means(page)
        assert highest == sorted(highest, reverse=True)
        assert highest[-1] > lowest[0]
        page.select_option("[name=view]", "attempts")
        assert count(page) == "480 of 480 attempts"
        assert page.locator("#list .card").count() == 48
        values = [float(text.split()[-1]) for text in page.locator("#list .attempt b").all_inner_texts()]
        assert values == sorted(values, reverse=True)


def test_a_view_can_be_shared_by_its_address(html: Path) -> None:
    with opened_report(html, "#gallery") as opened:
        page = opened.page
        page.select_option("[name=player]", "base")
        page.select_option("[name=sort]", "spread")
        page.click("#after")
        address, shown = page.evaluate("location.hash"), titles(page)
        assert "player=base" in address
        assert "page=2" in address
    with opened_report(html, address) as opened:
        assert titles(opened.page) == shown
        assert opened.page.input_value("[name=sort]") == "spread"
        assert opened.page.locator("#controls").is_visible()


def test_everything_can_be_done_from_the_keyboard(html: Path) -> None:
    with opened_report(html, "#gallery") as opened:
        page = opened.page
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "text"
        page.keyboard.type("chart")
        page.keyboard.press("Escape")
        for _ in range(2):
            page.keyboard.press("j")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Round 1, adversary")
        page.keyboard.press("k")
        page.keyboard.press("Enter")
        assert page.locator("#detail").is_visible()
        assert page.inner_text("#detail-title").startswith("Round 0, attempt")
        first = page.inner_text("#description")
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#place") == "2 of 480"
        assert page.inner_text("#description") != first
        page.keyboard.press("Escape")
        assert page.locator("#detail").is_hidden()
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Round 0, base")
        page.keyboard.press("n")
        assert page.inner_text("#pages span") == "page 2 of 5"


def test_the_dialog_shows_the_full_images(html: Path) -> None:
    with opened_report(html, "#gallery&open=1.0.3") as opened:
        page = opened.page
        opened.wait_until("[...document.querySelectorAll('.large img')].every((image) => image.naturalWidth === 160)")
        assert page.get_attribute("#large-drawing img", "src") == "training_logs/round-0001/group-0-drawing-3.png"
        assert page.get_attribute("#folder", "href") == "training_logs/round-0001/round.pdf"


def test_a_case_links_to_its_attempt_in_the_gallery(html: Path) -> None:
    with opened_report(html) as opened:
        link = opened.page.locator(".pair a").first
        index = re.findall(r"\d+", link.inner_text())[0]
        link.click()
        assert opened.page.inner_text("#detail-title").startswith(f"Round {index}, ")


def test_an_embedded_report_needs_no_other_file(tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "report.html"
    alone.parent.mkdir()
    alone.write_bytes(write_report(write_long_run(tmp_path, 12, report={"embed": True})).read_bytes())
    with opened_report(alone, "#gallery&open=0.0.0") as opened:
        page = opened.page
        opened.wait_until(
            "[...document.querySelectorAll('#detail img, #list li:first-child img')].every((i) => i.naturalWidth > 0)"
        )
        names = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert all(name.startswith("data:") for name in names)


def test_text_of_models_is_never_executed(tmp_path: Path) -> None:
    with opened_report(write_report(write_hostile_run(tmp_path)), "#gallery&view=attempts") as opened:
        page = opened.page
        assert page.evaluate("document.querySelectorAll('script').length") == 2
        assert (
            page.evaluate("document.querySelectorAll('#list b').length")
            == page.locator("#list .attempt b").count() + page.locator("#list header b").count()
        )
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        for _ in range(13):
            page.keyboard.press("ArrowRight")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_element_exceeds_the_screen(html: Path, width: int, dark: bool) -> None:
    with opened_report(html, "#gallery", width=width, dark=dark) as opened:
        assert opened.page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
        paper = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in re.findall(r"\d+", paper)) < 200) == dark


def test_without_javascript_the_first_and_last_rounds_are_shown(html: Path) -> None:
    with opened_report(html, scripts=False) as opened:
        page = opened.page
        assert page.locator("#controls").is_hidden()
        assert page.locator("#ends details").count() == 8
        assert page.locator("#ends summary").last.inner_text() == "Round 59 adversary"
