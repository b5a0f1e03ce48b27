"""Opening the drawing service that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from cache.ledger import SpendLedger
from duel.generators import ImageGenerator
from duel.offline.generator import ChartGenerator
from duel.settings import GeneratorSettings, Settings
from tasks.keys import REPLICATE, find_hub_token, find_key, opened


def check_generator(settings: GeneratorSettings) -> None:
    """Raise SettingsError when the service needs a key and there is none."""
    if settings.service == "replicate":
        replicate_token()


def replicate_token() -> SecretStr:
    """Return a token in the form of one. Raises UserError when there is none; asks nothing of the service."""
    from duel.replicate import check_ready  # needs the client library

    token = find_key(REPLICATE, "generator.service = 'replicate'")
    check_ready(token.get_secret_value())
    return token


@contextmanager
def open_generator(settings: Settings, run: str, state: Path) -> Iterator[ImageGenerator]:
    """Open the service; what a paid one bills is written to a ledger under the state directory.

    Raises UserError before it writes anything.
    """
    chosen = settings.generator
    if chosen.service == "offline":
        yield ChartGenerator()
    elif chosen.service == "replicate":
        from duel.pacing import Pace
        from duel.replicate import ReplicateGenerator

        token = replicate_token()
        pace = Pace(requests_per_minute=chosen.requests_per_minute, deadline=chosen.deadline_seconds)
        with (
            SpendLedger(state / "spend.sqlite", run, chosen.dollars_per_image) as ledger,
            ReplicateGenerator(
                ledger,
                chosen.model,
                chosen.version,
                chosen.parameters,
                chosen.prompt_limit,
                pace,
                token.get_secret_value(),
            ) as replicate,
        ):
            yield replicate
    else:
        from duel.diffusion import load_diffusion

        with load_diffusion(
            chosen.model,
            chosen.version,
            device=settings.models.device,
            parameters=chosen.parameters,
            prompt_limit=chosen.prompt_limit,
            batch_size=chosen.batch_size,
            hub_token=opened(find_hub_token([chosen.model])),
        ) as local:
            yield local
