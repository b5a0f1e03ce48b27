"""Where stages happen: the arena, in which two players train, and the examination, in which the base answers."""

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
from duel.judge import Judge
from duel.players import load_players
from duel.policy import Policy
from duel.settings import Settings
from duel.types import Drawing, Player, UpdateReport
from tasks.judging import open_judge
from tasks.preparing import open_dataset
from tasks.services import open_generator


class Place:
    """What every stage needs. A plain class, so that Prefect does not walk into it."""

    def __init__(
        self, settings: Settings, run: RunDirectory, dataset: Dataset, players: Mapping[Player, Policy]
    ) -> None:
        self.settings = settings
        self.run = run
        self.dataset = dataset
        self.players = players
        self.seconds: dict[str, float] = {}  # stage -> seconds, of the round under way


class Arena(Place):
    """The live things of a training run."""

    def __init__(self, settings: Settings, run: RunDirectory, dataset: Dataset, studio: Studio) -> None:
        super().__init__(settings, run, dataset, load_players(settings))
        self.studio = studio
        self.embedder = load_embedder(settings.models)
        self.max_new_tokens = min(settings.sampling.max_new_tokens, studio.generator.prompt_limit)
        self.updates: dict[Player, UpdateReport] = {}  # each player's last
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


class Examination(Place):
    """The live things of an evaluation: the base alone, and who grades its answers."""

    def __init__(self, settings: Settings, run: RunDirectory, dataset: Dataset, judge: Judge) -> None:
        super().__init__(settings, run, dataset, load_players(settings, ("base",)))
        self.judge = judge


@contextmanager
def open_arena(settings: Settings, run: str, state: Path) -> Iterator[Arena]:
    """Open a run for training, alone: create it, or continue it."""
    dataset = open_dataset(settings.data, state)
    with (
        open_generator(settings, run, state) as generator,
        RunDirectory.open(state, run, settings) as directory,
        ImageStore(state / "images") as store,
    ):
        # A generator that draws in batches is filled by as many draws at once.
        at_once = max(settings.generator.concurrency, settings.generator.batch_size)
        yield Arena(settings, directory, dataset, Studio(generator, store, at_once))


@contextmanager
def open_examination(settings: Settings, run: str, state: Path) -> Iterator[Examination]:
    """Open an existing run to evaluate it, beside a training that may be under way."""
    dataset = open_dataset(settings.data, state)
    directory = RunDirectory.read(state, run, settings)
    with open_judge(settings.judge, dataset.root, state) as judge:
        yield Examination(settings, directory, dataset, judge)
