"""`ImageGenerator`: the protocol of a text-to-image backend, and the request that identifies one of its images."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from duel.errors import SettingsError
from duel.types import EMBEDDED, DrawnImage, DrawRequest, Refusal, Scalar


class ImageGenerator(Protocol):
    """A text-to-image backend. `draw` is called from several threads at once and must be thread-safe.

    A client of a remote service also has `service`, its address (see `duel.services.addresses`); part of the cache key.
    """

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


@runtime_checkable
class Interruptible(Protocol):
    """A generator whose draws can be told to end early; optional."""

    def interrupt(self) -> None:
        """End the waits of all draws that have begun, with a GeneratorError; later draws are not concerned."""


def check_identity(generator: ImageGenerator, setting: str) -> None:
    """Raise SettingsError unless a generator's name, version, prompt limit and parameters are of the right types.

    `setting` says where the generator is named.
    """
    faults = [
        f"{name} = {value!r}, expected {expected}"
        for name, value, expected, right in (
            ("name", generator.name, "a text", isinstance(generator.name, str) and generator.name != ""),
            ("version", generator.version, "a text", isinstance(generator.version, str) and generator.version != ""),
            ("prompt_limit", generator.prompt_limit, "a number of tokens", _is_count(generator.prompt_limit)),
            ("service", service_of(generator), "an address", service_of(generator) != ""),
            (
                "parameters",
                generator.parameters,
                "names with texts, numbers or None",
                _are_scalars(generator.parameters),
            ),
        )
        if not right
    ]
    if faults:
        raise SettingsError(f"{setting}: the generator has {'; '.join(faults)}")


def request_of(generator: ImageGenerator, text: str, seed: int) -> DrawRequest:
    """Return the request that `generator.draw(text, seed)` makes; its `key` is the image's cache key."""
    return DrawRequest(generator.name, generator.version, text, seed, dict(generator.parameters), service_of(generator))


def service_of(generator: ImageGenerator) -> str:
    """Return the address of the service that draws; EMBEDDED for a generator that names none."""
    return str(getattr(generator, "service", EMBEDDED))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _are_scalars(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and (item is None or isinstance(item, str | int | float)) for key, item in value.items()
    )
