"""Strategies of hypothesis for what comes from outside: texts, JSON, numbers, dates."""

from typing import Any

from hypothesis import strategies as st

# Any code points, lone surrogates among them, as a model's JSON may hold them.
texts = st.text(st.characters(codec=None), max_size=60)
ODD_NUMBERS: list[Any] = [float("nan"), float("inf"), -float("inf"), -0.0, -1, 10**399, -(10**399), 2**63, 1e308, True]
numbers = st.sampled_from(ODD_NUMBERS) | st.integers() | st.floats()
scalars = st.none() | st.booleans() | numbers | texts


def json_values(leaves: int = 8) -> st.SearchStrategy[Any]:
    """Return a strategy for what `json.loads` may return, with at most about `leaves` values."""
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=leaves,
    )
