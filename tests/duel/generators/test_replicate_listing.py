"""The search of the account's list: what is found, and when it cannot be told."""

from collections.abc import Collection
from typing import Any

from duel.generators.replicate.listing import FIRST_PAGE, MOST_PAGES, Search, search

INPUT = {"prompt": "a plot", "seed": 8}


def entry(id: str, second: int | None, **fields: Any) -> dict[str, Any]:
    """Return a listed prediction, created so many seconds after 1970."""
    created = None if second is None else f"1970-01-01T00:00:{second:02}Z"
    return {"id": id, "status": "succeeded", "input": INPUT, "created_at": created, "model": "a/b"} | fields


def searched(*pages: list[Any], known: Collection[str] = (), since: float | None = 10.0, loop: bool = False) -> Search:
    """Search pages 0, 1, …; with `loop`, the last page names the first as the next."""

    def page(address: str) -> dict[str, Any]:
        number = 0 if address == FIRST_PAGE else int(address)
        last = number + 1 == len(pages)
        return {"results": pages[number], "next": (FIRST_PAGE if loop else None) if last else str(number + 1)}

    return search(page, lambda ids: set(known) & set(ids), INPUT, "a/b", since)


def found(result: Search) -> str | None:
    return None if result.prediction is None else result.prediction.id


def test_the_newest_unrecorded_prediction_of_this_input_is_found():
    other = entry("other", 50, input=INPUT | {"seed": 9})
    result = searched([other, entry("recorded", 40), entry("newer", 30), entry("older", 20)], known=["recorded"])
    assert (found(result), result.others, result.doubt) == ("newer", 1, "")


def test_an_echoed_model_decides_only_between_several():
    internal, ours = entry("internal", 40, model="x/internal"), entry("ours", 30)
    assert found(searched([internal, ours])) == "ours"
    assert found(searched([internal])) == "internal"


def test_what_is_older_than_the_intent_is_another_purchase_and_ends_the_search():
    result = searched([entry("other", 20, input={})], [entry("older", 9)], [entry("never read", 30)])
    assert found(result) is None
    assert result.doubt  # the input of the first is not known
    assert searched([entry("older", 9)], [None]) == Search(None)


def test_an_entry_without_a_date_does_not_end_the_search():
    assert found(searched([entry("x", None, input=INPUT | {"seed": 1})], [entry("ours", 12)])) == "ours"


def test_an_entry_that_cannot_be_read_leaves_a_doubt():
    for unreadable in (None, [], {"id": "a\x00"}, "text"):
        assert searched([unreadable, entry("old", 5)]).doubt == "the list has predictions that cannot be told apart"


def test_pages_that_name_each_other_end():
    result = searched([entry("x", 30, input=INPUT | {"seed": 1})], loop=True)
    assert (found(result), result.doubt) == (None, "the list was read for 1 pages only")


def test_an_endless_list_is_read_to_a_bound():
    pages = [[entry(f"p{i}", 30, input=INPUT | {"seed": 1})] for i in range(MOST_PAGES + 5)]
    assert searched(*pages).doubt == f"the list was read for {MOST_PAGES} pages only"
    assert searched(*pages[:MOST_PAGES]) == Search(None)


def test_without_a_time_the_whole_list_is_searched():
    assert found(searched([entry("x", 9, input=INPUT | {"seed": 1})], [entry("ours", 1)], since=None)) == "ours"
