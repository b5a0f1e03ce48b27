"""The account's list of predictions, searched for one whose response was lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from duel.generators.replicate.prediction import Prediction, parse_prediction

FIRST_PAGE = "/v1/predictions"
MOST_PAGES = 100  # of about a hundred predictions each


@dataclass(frozen=True)
class Search:
    """What a search of the list has found."""

    prediction: Prediction | None
    others: int = 0  # further unrecorded predictions with this input
    doubt: str = ""  # why there may be one that was not seen; empty: the list was read whole


def search(
    page: Callable[[str], Mapping[str, Any]],
    known: Callable[[Collection[str]], Collection[str]],
    input: Mapping[str, Any],
    model: str,
    since: float | None,
) -> Search:
    """Search the list, newest first, for an unrecorded prediction with this input, created at `since` or later.

    `page` returns the page at an address, `known` which ids are recorded; `since` is Unix time by the service's clock,
    None: search the whole list. The echoed model only decides between several: official models may echo an internal
    name. Of equals the newest is returned.
    """
    found: list[Prediction] = []
    doubt = ""
    visited: list[str] = []
    address: object = FIRST_PAGE
    while isinstance(address, str) and address:
        if address in visited or len(visited) == MOST_PAGES:
            doubt = f"the list was read for {len(visited)} pages only"
            break
        visited.append(address)
        body = page(address)
        listed, unreadable = read_entries(body["results"])
        recorded = known([prediction.id for prediction in listed])
        new = [prediction for prediction in listed if prediction.id not in recorded]
        recent = [one for one in new if since is None or one.created_at is None or one.created_at >= since]
        found += [prediction for prediction in recent if prediction.has_input(input)]
        if unreadable or any(prediction.input is None for prediction in recent):
            doubt = "the list has predictions that cannot be told apart"
        times = [prediction.created_at for prediction in listed if prediction.created_at is not None]
        if found or (since is not None and times and min(times) < since):
            break
        address = body.get("next")
    found.sort(key=lambda prediction: prediction.model != model)  # stable: the newest stays first
    return Search(found[0] if found else None, max(0, len(found) - 1), doubt)


def read_entries(entries: list[object]) -> tuple[list[Prediction], int]:
    """Return the predictions of a page, and the number of entries that are none."""
    listed = []
    for entry in entries:
        try:
            listed.append(parse_prediction(entry))
        except ValueError:
            continue
    return listed, len(entries) - len(listed)
