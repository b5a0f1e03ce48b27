"""What requests to a paid judge cost: reserved at most before each, recorded at the service's own count after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from openai.types import CompletionUsage

from duel.services.prices import TokenPrices


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

    def settle(self, number: int, usage: CompletionUsage | None, status: str) -> None:
        """Record the cost by the service's count of tokens; nothing, where its `status` was an error.

        Without a response, or with one that holds no count, it cannot be told.
        """
        counts = (0, 0) if usage is None else (usage.prompt_tokens or 0, usage.completion_tokens or 0)
        cost: float | None = self.prices.cost(*counts)
        if min(counts) < 0 or (usage is None and status in ("none", "HTTP 200")):
            cost = None
        self.account.answered(number, cost)
