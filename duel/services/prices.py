"""Known prices of models, which settings override; a price that is not known is never guessed."""

from __future__ import annotations

from dataclasses import dataclass

AS_OF = "November 2025"  # when these were read on the services' pages
IMAGES = {"black-forest-labs/flux-schnell": 0.003}  # dollars per image, by Replicate's model


@dataclass(frozen=True)
class TokenPrices:
    """Dollars per million tokens."""

    input: float
    output: float

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Return the dollars for these tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


JUDGES = {  # by OpenAI's model
    "gpt-4.1": TokenPrices(2.0, 8.0),
    "gpt-4.1-mini": TokenPrices(0.4, 1.6),
    "gpt-4.1-nano": TokenPrices(0.1, 0.4),
    "gpt-4o": TokenPrices(2.5, 10.0),
    "gpt-4o-mini": TokenPrices(0.15, 0.6),
    "gpt-4o-2024-05-13": TokenPrices(5.0, 15.0),
}
