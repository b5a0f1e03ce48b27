"""Architecture: sizes of modules and folders, no import circles between files, no unbounded caches."""

import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("duel", "cache", "artifacts", "tasks", "flows", "benchmarks")
LINES, MODULES = 300, 20  # at most, of a module and in a folder


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in turn, the first again at the end; nothing where there are none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_module_is_long() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > LINES} == {}


def test_no_folder_has_too_many_modules() -> None:
    folders: dict[str, int] = defaultdict(int)
    for path in modules():
        if path.name != "__init__.py":
            folders[str(path.parent.relative_to(ROOT))] += 1
    assert {name: count for name, count in folders.items() if count > MODULES} == {}


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports within functions, and those for type checkers alone, count too."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in modules()}
    assert names <= imports.keys()
    assert circle(imports) == []


def test_no_cache_grows_without_bound() -> None:
    unbounded = re.compile(r"import .*\bcache\b|functools\.cache\b|lru_cache\(maxsize=None\)")
    sources = {path: path.read_text(encoding="utf-8") for path in modules()}
    functools = {path for path, text in sources.items() if "functools" in text}
    assert len(functools) > 5
    assert [str(path.relative_to(ROOT)) for path in functools if unbounded.search(sources[path])] == []


@pytest.mark.parametrize(
    ("imports", "found"),
    [({"a": {"b"}, "b": {"c"}, "c": set()}, []), ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"])],
)
def test_an_import_circle_is_found(imports: dict[str, set[str]], found: list[str]) -> None:
    assert sorted(circle(imports)) == sorted(found)
