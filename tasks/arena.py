"""What every stage of a run needs: settings, run directory, players, studio, embedder, data set, judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from artifacts.run import RunDirectory
from cache.images import ImageStore
from cache.studio import Studio
from duel.datasets import Dataset
from duel.embedder import Embedder, load_embedder
from duel.generators import ImageGenerator
from duel.judge import ExactJudge, Judge
from duel.errors import SettingsError
from duel.offline.generator import ChartGenerator
from duel.players import load_players
from duel.policy import Policy
from duel.settings import GeneratorSettings, Settings
from duel.types import Player


class Arena:
    """The live things of one run. A plain class, so that Prefect does not walk into it."""

    def __init__(self, settings: Settings, run: RunDirectory, dataset: Dataset, store: ImageStore) -> None:
        generator = load_generator(settings.generator)
        self.settings = settings
        self.run = run
        self.dataset = dataset
        self.studio = Studio(generator, store, settings.generator.concurrency)
        self.players: Mapping[Player, Policy] = load_players(settings)
        self.embedder: Embedder = load_embedder(settings.models)
        self.judge: Judge = ExactJudge()
        self.max_new_tokens = min(settings.sampling.max_new_tokens, generator.prompt_limit)
        self.seconds: dict[str, float] = {}  # stage -> seconds, of the round under way
        self.draws_made = 0  # of the round under way

    def images(self, paths: list[Path]) -> list[str]:
        """Put image files of the data set into the store; return their keys."""
        return [self.studio.add_file(path) for path in paths]


def load_generator(settings: GeneratorSettings) -> ImageGenerator:
    """Return the drawing service that the settings name."""
    if settings.service == "offline":
        return ChartGenerator()
    raise SettingsError(
        f"generator.service = {settings.service!r}: this version draws with 'offline' only; see the README's limits"
    )
