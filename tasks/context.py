"""Contexts: the loaded models, generator, judge and run directory that stages work with, for training and evaluation.

Torch and transformers are imported only when a context is opened: importing them takes eight seconds, and a Prefect
worker also imports the flows to read their parameters and, before it marks a run as cancelled, their hooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from artifacts.run.checkpoints import load_latest
from artifacts.run.directory import RunDirectory
from artifacts.run.fingerprint import check_data
from artifacts.run.rounds import read_attempts
from artifacts.run.sources import check_sources
from cache.cached_generator import CachedGenerator
from cache.image_store import ImageStore
from duel.data.dataset import SUFFIXES, Dataset
from duel.data.topic import Topic
from duel.diversity import RecentDrawings
from duel.errors import DataError, SettingsError
from duel.images import read_image_file
from duel.judges.base import Judge
from duel.plugins import check_plugins
from duel.replay import ReplayPool
from duel.rewards import load_rewards
from duel.services.hub import loaded_commit
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Attempt, Drawing, Player
from tasks.credentials import find_hub_token, is_hub_name, model_names, opened
from tasks.preparing import open_dataset
from tasks.services import open_generator, open_judge
from tasks.sessions import keep_session, settle_dead_sessions

if TYPE_CHECKING:
    from duel.policies.policy import Policy


class StageContext:
    """What every stage needs: settings, run directory, data set and the loaded policies.

    Prefect traverses and serialises parameters; a plain class with `__slots__` opts out of both.
    """

    __slots__ = ("dataset", "players", "run", "settings")

    def __init__(
        self, settings: Settings, run: RunDirectory, dataset: Dataset, players: Mapping[Player, Policy]
    ) -> None:
        self.settings = settings
        self.run = run
        self.dataset = dataset
        self.players = players


class TrainingContext(StageContext):
    """Everything loaded for a training: policies, generator with its image store, embedder."""

    __slots__ = ("embedder", "generator", "max_new_tokens", "pool", "progress", "recent", "rewards", "topic")

    def __init__(self, settings: Settings, run: RunDirectory, dataset: Dataset, generator: CachedGenerator) -> None:
        from duel.embedder import load_embedder

        hub_token = opened(find_hub_token(model_names(settings)))
        limited = settings.limited(generator.prompt_limit)
        super().__init__(settings, run, dataset, load_policies(limited, hub_token=hub_token))
        check_images(self.players["base"], [*dataset.train_images, *dataset.test_images])
        self.generator = generator
        self.rewards = load_rewards(settings.rewards)
        self.pool = ReplayPool(settings.replay.capacity, settings.rewards.gate)
        self.recent = RecentDrawings(settings.rewards.memory)
        self.embedder = load_embedder(settings.models, hub_token)
        self.max_new_tokens = limited.sampling.max_new_tokens
        self.topic: Topic | None = None  # what is on topic; None: not asked for, or not opened yet
        self.progress: UUID | None = None  # id of the progress artifact in the Prefect UI

    def resume(self) -> int:
        """Load the last resumable checkpoint into the players and return the number of the next round.

        Rounds recorded after the checkpoint are replayed: the results of their stages are read from disk, only the
        updates are computed again.
        """
        self.run.mend()
        checkpoint = load_latest(self.run, self.players)
        if checkpoint is None:
            return 0
        if "replay" in self.settings.order or self.settings.rewards.memory:
            for round in range(checkpoint.rounds_done):
                self.note(round, *read_attempts(self.run, round))
        return checkpoint.rounds_done

    def note(self, round: int, player: Player, groups: Sequence[Sequence[Attempt]]) -> None:
        """Take up what a round found: drawings to replay, and those that new ones are compared to."""
        self.pool.note(round, player, groups)
        self.recent.note(player, groups)

    def file_drawing(self, path: Path) -> Drawing:
        """Put an image file of the data set into the image store and return it as a Drawing."""
        return Drawing(path.name, 0, self.generator.add(read_image_file(path), SUFFIXES[path.suffix.lower()]))


class EvaluationContext(StageContext):
    """Everything loaded for an evaluation: the base policy and the judge."""

    __slots__ = ("judge",)

    def __init__(self, settings: Settings, run: RunDirectory, dataset: Dataset, judge: Judge) -> None:
        hub_token = opened(find_hub_token([settings.models.base]))
        super().__init__(settings, run, dataset, load_policies(settings, ("base",), hub_token))
        asked = {question.image_path for question in dataset.questions}
        check_images(self.players["base"], [dataset.root / path for path in sorted(asked)])
        self.judge = judge


@contextmanager
def open_training(settings: Settings, run: str, state: StateDirectory) -> Iterator[TrainingContext]:
    """Create or resume a run for training, locked against other processes, and load what training needs.

    Trainings of the run that died without recording an end are closed first, here and in Prefect. A run that nothing
    was trained in, since a model cannot be loaded, leaves no directory, so that other models can be named at once.
    """
    from duel.devices import check_torchvision

    check_torchvision()
    check_plugins(settings)
    dataset = open_dataset(settings.data, state)
    with (
        open_generator(settings, run, state) as generator,
        RunDirectory.open(state, run, settings) as directory,
        discarded_if_unbegun(directory),
    ):
        check_data(directory, dataset)
        settle_dead_sessions(directory)
        with keep_session(directory, "train"), ImageStore(state.images) as store:
            at_once = settings.generator.concurrency
            if settings.generator.service == "diffusers":  # a batch is filled only by as many concurrent draws
                at_once = max(at_once, settings.generator.batch_size)
            context = TrainingContext(settings, directory, dataset, CachedGenerator(generator, store, at_once))
            check_sources(directory, model_commits(settings))
            yield context


@contextmanager
def discarded_if_unbegun(directory: RunDirectory) -> Iterator[None]:
    """Remove the run directory after an error of settings or data, if nothing was trained in it."""
    try:
        yield
    except (SettingsError, DataError):
        directory.discard_unbegun()
        raise


@contextmanager
def open_evaluation(run: RunDirectory, dataset: Dataset, state: StateDirectory) -> Iterator[EvaluationContext]:
    """Load a run's base and judge; takes no lock, so that the run may be training meanwhile.

    Raises SettingsError where torchvision does not fit torch, or the judge needs a key and there is none.
    """
    from duel.devices import check_torchvision

    check_torchvision()
    check_data(run, dataset)
    with keep_session(run, "evaluate"), open_judge(run, dataset.root, state) as judge:
        context = EvaluationContext(run.settings, run, dataset, judge)
        base = {setting: commit for setting, commit in model_commits(run.settings).items() if setting == "models.base"}
        check_sources(run, base)
        yield context


def model_commits(settings: Settings) -> dict[str, str]:
    """Return the hub commits of the models that were loaded, by setting; embedded ones and local folders have none."""
    models, generator = settings.models, settings.generator
    named = {
        "models.base": (models.base, models.base_revision, "config.json"),
        "models.adversary": (models.adversary, models.adversary_revision, "config.json"),
        "models.embedder": (models.embedder, models.embedder_revision, "config.json"),
        "generator.model": (
            generator.model if generator.service == "diffusers" else None,
            generator.version,
            "model_index.json",
        ),
    }
    found = {
        setting: loaded_commit(name, revision, file)
        for setting, (name, revision, file) in named.items()
        if name is not None and is_hub_name(name)
    }
    return {setting: commit for setting, commit in found.items() if commit is not None}


def check_images(base: Policy, paths: Iterable[Path]) -> None:
    """Raise DataError, naming the file, for an image that the base's processor refuses; a plug-in's is not known."""
    from duel.policies.inputs import check_shapes
    from duel.policies.policy import LocalPolicy

    if isinstance(base, LocalPolicy):
        check_shapes(base.model, paths)


def load_policies(
    settings: Settings, players: Sequence[Player] | None = None, hub_token: str | None = None
) -> Mapping[Player, Policy]:
    """Load the policies of `players` (None: all that the run trains or samples), without transformers' progress bar."""
    import transformers

    from duel.policies.load import load_players

    transformers.utils.logging.disable_progress_bar()
    return load_players(settings, players, hub_token)
