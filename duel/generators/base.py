"""`ImageGenerator`: the protocol of a text-to-image backend, and the request that identifies one of its images."""

from collections.abc import Mapping
from typing import Protocol

from duel.types import DrawnImage, DrawRequest, Refusal, Scalar


class ImageGenerator(Protocol):
    """A text-to-image backend. `draw` is called from several threads at once and must be thread-safe."""

    @property
    def name(self) -> str:
        """The model's name, e.g. `black-forest-labs/flux-schnell`; part of the cache key."""

    @property
    def version(self) -> str:
        """Identifies the weights and code; must change whenever equal requests would give other pixels."""

    @property
    def prompt_limit(self) -> int:
        """Longest prompt in text tokens. The generator truncates there, so completions are sampled no longer."""

    @property
    def parameters(self) -> Mapping[str, Scalar]:
        """All other inputs that determine the image (size, steps, format); part of the cache key."""

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        """Return the image of `text` under `seed` (any non-negative int), or a Refusal by a content filter.

        Raises GeneratorError when no image was obtained and a retry may succeed, UserError when no retry will.
        """


def request_of(generator: ImageGenerator, text: str, seed: int) -> DrawRequest:
    """Return the request that `generator.draw(text, seed)` makes; its `key` is the image's cache key."""
    return DrawRequest(generator.name, generator.version, text, seed, dict(generator.parameters))
