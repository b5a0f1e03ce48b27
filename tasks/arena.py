"""What every stage of a run needs: settings, run directory, players, studio, embedder, data set, judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from artifacts.checkpoints import latest_resumable, load_checkpoint
from artifacts.run import RunDirectory
from cache.images import ImageStore
from cache.studio import Studio
from duel.datasets import SUFFIXES, Dataset
from duel.embedder import load_embedder
from duel.errors import SettingsError
from duel.generators import ImageGenerator
from duel.judge import ExactJudge, Judge
from duel.offline.generator import ChartGenerator
from duel.players import load_players
from duel.policy import Policy
from duel.settings import GeneratorSettings, Settings
from duel.types import Drawing, Player, UpdateReport
from tasks.judging import open_judge
from tasks.preparing import open_dataset


class Arena:
    """The live things of one run. A plain class, so that Prefect does not walk into it."""

    def __init__(
        self, settings: Settings, run: RunDirectory, dataset: Dataset, store: ImageStore, judge: Judge | None = None
    ) -> None:
        generator = load_generator(settings.generator)
        self.settings = settings
        self.run = run
        self.dataset = dataset
        self.studio = Studio(generator, store, settings.generator.concurrency)
        self.players: Mapping[Player, Policy] = load_players(settings)
        self.embedder = load_embedder(settings.models)
        self.judge = judge or ExactJudge()  # training grades nothing
        self.max_new_tokens = min(settings.sampling.max_new_tokens, generator.prompt_limit)
        self.updates: dict[Player, UpdateReport] = {}  # each player's last
        self.seconds: dict[str, float] = {}  # stage -> seconds, of the round under way
        self.draws_made = 0  # of the round under way

    def resume(self) -> int:
        """Bring the players to the last checkpoint, forget what came after it, return the next round."""
        checkpoint = latest_resumable(self.run)
        if checkpoint is not None:
            load_checkpoint(checkpoint, self.players)
        next_round = checkpoint.rounds_done if checkpoint is not None else 0
        self.run.rewind(next_round)
        return next_round

    def file_drawing(self, path: Path) -> Drawing:
        """Put an image file of the data set into the store, as if it had been drawn."""
        return Drawing(path.name, 0, self.studio.add(path.read_bytes(), SUFFIXES[path.suffix.lower()]))


@contextmanager
def open_arena(settings: Settings, run: str, state: Path) -> Iterator[Arena]:
    """Open a run for training, alone: create it, or continue it."""
    dataset = open_dataset(settings.data, state)
    with RunDirectory.open(state, run, settings) as directory, ImageStore(state / "images") as store:
        yield Arena(settings, directory, dataset, store)


@contextmanager
def visit_arena(settings: Settings, run: str, state: Path) -> Iterator[Arena]:
    """Open an existing run to evaluate it, beside a training that may be under way."""
    dataset = open_dataset(settings.data, state)
    directory = RunDirectory.read(state, run, settings)
    with open_judge(settings.judge, dataset.root, state) as judge, ImageStore(state / "images") as store:
        yield Arena(settings, directory, dataset, store, judge)


def load_generator(settings: GeneratorSettings) -> ImageGenerator:
    """Return the drawing service that the settings name."""
    if settings.service == "offline":
        return ChartGenerator()
    raise SettingsError(
        f"generator.service = {settings.service!r}: this version draws with 'offline' only; see the README's limits"
    )
