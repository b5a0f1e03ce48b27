"""Where stages happen: the context, in which two players train, and the context, in which the base answers.

Torch and the models' libraries are imported only when a place is opened: they take eight seconds, and a Prefect worker
imports the flows also to find their parameters and, before it calls a run cancelled, their hooks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from artifacts.run.checkpoints import latest_resumable, load_checkpoint
from artifacts.run.directory import RunDirectory
from artifacts.run.fingerprint import check_data
from cache.cached_generator import CachedGenerator
from cache.image_store import ImageStore
from duel.data.dataset import SUFFIXES, Dataset
from duel.judges.base import Judge
from duel.plugins import check_plugins
from duel.rewards import load_rewards
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Drawing, Player
from tasks.credentials import find_hub_token, model_names, opened
from tasks.preparing import open_dataset
from tasks.services import open_generator, open_judge
from tasks.sessions import keep_session, settle_dead_sessions

if TYPE_CHECKING:
    from duel.policies.policy import Policy


class StageContext:
    """What every stage needs.

    Prefect does not walk into a plain class, and with slots alone it cannot store one as a flow's parameter either.
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
    """The live things of a training run."""

    __slots__ = ("embedder", "generator", "max_new_tokens", "progress", "rewards")

    def __init__(self, settings: Settings, run: RunDirectory, dataset: Dataset, generator: CachedGenerator) -> None:
        from duel.embedder import load_embedder

        hub_token = opened(find_hub_token(model_names(settings)))
        limited = settings.limited(generator.prompt_limit)
        super().__init__(settings, run, dataset, load_policies(limited, hub_token=hub_token))
        self.generator = generator
        self.rewards = load_rewards(settings.rewards)
        self.embedder = load_embedder(settings.models, hub_token)
        self.max_new_tokens = limited.sampling.max_new_tokens
        self.progress: UUID | None = None  # of the progress bar in the Prefect UI

    def resume(self) -> int:
        """Bring the players to the last checkpoint and return the next round.

        Rounds recorded after it are replayed: their stages are found finished, and only the updates are made again.
        """
        self.run.mend()
        checkpoint = latest_resumable(self.run)
        if checkpoint is None:
            return 0
        load_checkpoint(checkpoint, self.players)
        return checkpoint.rounds_done

    def file_drawing(self, path: Path) -> Drawing:
        """Put an image file of the data set into the store, as if it had been drawn."""
        return Drawing(path.name, 0, self.generator.add(path.read_bytes(), SUFFIXES[path.suffix.lower()]))


class EvaluationContext(StageContext):
    """The live things of an evaluation: the base alone, and who grades its answers."""

    __slots__ = ("judge",)

    def __init__(self, settings: Settings, run: RunDirectory, dataset: Dataset, judge: Judge) -> None:
        hub_token = opened(find_hub_token([settings.models.base]))
        super().__init__(settings, run, dataset, load_policies(settings, ("base",), hub_token))
        self.judge = judge


@contextmanager
def open_training(settings: Settings, run: str, state: StateDirectory) -> Iterator[TrainingContext]:
    """Open a run for training, alone: create it, or continue it, whatever became of who had it before."""
    check_plugins(settings)
    dataset = open_dataset(settings.data, state)
    with open_generator(settings, run, state) as generator, RunDirectory.open(state, run, settings) as directory:
        check_data(directory, dataset)
        settle_dead_sessions(directory)
        with keep_session(directory, "train"), ImageStore(state.images) as store:
            at_once = settings.generator.concurrency
            if settings.generator.service == "diffusers":  # draws in batches, which as many draws at once fill
                at_once = max(at_once, settings.generator.batch_size)
            yield TrainingContext(settings, directory, dataset, CachedGenerator(generator, store, at_once))


@contextmanager
def open_evaluation(run: RunDirectory, dataset: Dataset, state: StateDirectory) -> Iterator[EvaluationContext]:
    """Load the base of a run to evaluate it, beside a training that may be under way."""
    check_data(run, dataset)
    with keep_session(run, "evaluate"), open_judge(run.settings.judge, dataset.root, state) as judge:
        yield EvaluationContext(run.settings, run, dataset, judge)


def load_policies(
    settings: Settings, players: Sequence[Player] | None = None, hub_token: str | None = None
) -> Mapping[Player, Policy]:
    """Load the players, all that the run needs or only these, without a bar: rounds have one of their own."""
    import transformers

    from duel.policies.load import load_players

    transformers.utils.logging.disable_progress_bar()
    return load_players(settings, players, hub_token)
