"""What requests to a paid judge cost: reserved at most before each, recorded at the service's own count after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from duel.services.prices import TokenPrices

MOST_TOKENS = 10_000_000  # of one request; a larger count is not believed


class Account(Protocol):
    """A ledger of paid requests; see `cache.ledger`."""

    def reserve(self, key: str, dollars: float) -> int:
        """Record that the service is about to be asked, at most for these dollars; return the record's number.

        Raises LimitError when that is more than the budget leaves.
        """

    def answered(self, number: int, dollars: float | None) -> None:
        """Record what the request cost; None: it cannot be told."""


@dataclass(frozen=True)
class Billing:
    """Records the requests of one judge in an account. Requests are not retried by it."""

    account: Account
    prices: TokenPrices

    def reserve(self, key: str, prompt: str, tokens: int) -> int:
        """Reserve what a request costs at most: a token for each byte of the prompt, and `tokens` of output."""
        return self.account.reserve(key, self.prices.cost(len(prompt.encode("utf-8", "replace")), tokens))

    def settle(self, number: int, usage: object, status: str) -> None:
        """Record the cost by the service's count of tokens; nothing, where its `status` was an error.

        Without a response, or with one that holds no count that can be true, it cannot be told.
        """
        counts = token_counts(usage)
        if counts is None and usage is None and status not in ("none", "HTTP 200"):
            counts = 0, 0
        self.account.answered(number, None if counts is None else self.prices.cost(*counts))


def token_counts(usage: object) -> tuple[int, int] | None:
    """Return the (prompt, completion) tokens of a response's `usage`, None where one is no number that can be true."""
    counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    whole = [count for count in counts if type(count) is int and 0 <= count <= MOST_TOKENS]
    return (whole[0], whole[1]) if len(whole) == 2 else None
