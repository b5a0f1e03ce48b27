"""Files, anchors, settings and make targets named in README, CONTRIBUTING and docs/ exist."""

import re
from pathlib import Path

import pytest

import duel
from duel.settings.profile import fields_of
from flows.cli import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "duel|flows|tasks|cache|artifacts|tests|benchmarks|docs"
named = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_link(page, target):
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    return not found.exists() or (anchor and anchor not in anchors(found))


@named
def test_links_lead_somewhere(page):
    text = page.read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert [t for t in targets if not t.startswith("http") and broken_link(page, t)] == []


@named
def test_files_named_in_the_text_exist(page):
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./-]*\w)`", page.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


@named
def test_modules_named_in_the_text_exist(page):
    modules = re.findall(rf"(?:-m |from )((?:{FOLDERS})(?:\.\w+)+)", page.read_text())
    paths = {module: ROOT / module.replace(".", "/") for module in modules}
    assert [m for m, path in paths.items() if not path.with_suffix(".py").exists() and not path.is_dir()] == []


@named
def test_settings_named_in_the_text_exist(page):
    sections = {name.split(".")[0] for name, _ in fields_of() if "." in name}
    written = re.findall(rf"(?:`|--)((?:{'|'.join(sections)})\.[a-z_]+[a-z])\b(?!\.)", page.read_text())
    files = {"report.html", "report.pdf"}
    assert set(written) - files <= {name for name, _ in fields_of()}


@named
def test_make_targets_named_in_the_text_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", page.read_text())) <= targets


def test_the_readme_shows_every_command():
    [commands] = [action for action in build_parser()._actions if action.dest == "command"]
    text = (ROOT / "README.md").read_text()
    assert [name for name in commands.choices if f"duel {name}" not in text and f"make {name}" not in text] == []


def test_the_version_has_a_dated_entry_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    if ".dev" in duel.__version__:  # what has changed since the last release stands above it
        assert changelog.index("## [Unreleased]\n\n### ") < changelog.index("## [0")
    else:
        assert re.search(rf"^## \[{re.escape(duel.__version__)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)
