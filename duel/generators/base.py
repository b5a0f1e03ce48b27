"""The seam where a drawing service plugs in."""

from collections.abc import Mapping
from typing import Protocol

from duel.types import DrawnImage, DrawRequest, Refusal, Scalar


class ImageGenerator(Protocol):
    """Draws a text. Implementations must be safe to call from several threads."""

    @property
    def name(self) -> str:
        """Which generator, e.g. `black-forest-labs/flux-schnell`."""

    @property
    def version(self) -> str:
        """Changes whenever equal requests would give other pixels."""

    @property
    def prompt_limit(self) -> int:
        """Text tokens it reads; what is longer is not seen, so completions are not sampled longer."""

    @property
    def parameters(self) -> Mapping[str, Scalar]:
        """Everything else that defines the image: size, steps, format."""

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        """Draw `text`. Raises GeneratorError when no image came and trying again may help."""


def request_of(generator: ImageGenerator, text: str, seed: int) -> DrawRequest:
    """Return the request that `generator.draw(text, seed)` stands for."""
    return DrawRequest(generator.name, generator.version, text, seed, dict(generator.parameters))
