"""Past adversaries as opponents: snapshots of the adversary, and prompts that one of them writes for the base.

The adversary itself does not learn in these rounds, since it did not write their prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.files import TEMPORARY
from artifacts.run.snapshots import list_snapshots, prune_snapshots, snapshot_path, write_snapshot
from duel.errors import storing
from duel.randomness import sample_seeds, stream
from duel.schedule import past_adversaries
from duel.types import Completion
from tasks.context import TrainingContext
from tasks.stages import stage
from tasks.writing import invention, sample


def keep_snapshot(context: TrainingContext, round: int) -> None:
    """Write a snapshot of the adversary before `round`, if one is due, and remove those that are no longer needed.

    Those that a run resumed from its oldest training state would choose from are kept.
    """
    past, learned = context.settings.adversary.past, context.settings.schedule.turns_of("adversary", round)
    if not past.share or learned % past.every or learned in list_snapshots(context.run):
        return
    write_snapshot(context.run, learned, context.players["adversary"])
    resumable = [checkpoint.rounds_done for checkpoint in list_checkpoints(context.run) if checkpoint.resumable]
    oldest = context.settings.schedule.turns_of("adversary", min([round, *resumable]))
    prune_snapshots(context.run, min(past_adversaries(oldest, past.every, past.kept), default=0))


def choose_past(context: TrainingContext, round: int) -> int | None:
    """Return which past adversary writes the prompts of a base round, by the rounds it had learned from.

    None: the present one writes them, or nobody does. The choice has a random stream of its own.
    """
    settings, past = context.settings, context.settings.adversary.past
    choices = past_adversaries(settings.schedule.turns_of("adversary", round), past.every, past.kept)
    chance = stream(settings.seed, round, "past")
    if settings.schedule.turn(round) != "base" or not choices or chance.random() >= past.share:
        return None
    return chance.choice(choices)


@stage("write_past_prompts")
def write_past_prompts(context: TrainingContext, round: int, per_input: int, past: int) -> list[list[Completion]]:
    """Sample prompts of the adversary as it was after `past` rounds of its own, (I, per_input)."""
    seeds = sample_seeds(context.settings.seed, context.settings.images_per_round, per_input, round, "past prompt")
    with _as_it_was(context, past):
        return sample(context, "adversary", [invention(context)] * len(seeds), seeds)


@contextmanager
def _as_it_was(context: TrainingContext, past: int) -> Iterator[None]:
    """Give the adversary the weights of a snapshot, and afterwards its own again, as a checkpoint restores them."""
    adversary = context.players["adversary"]
    with TemporaryDirectory(prefix=TEMPORARY, dir=context.run.past_adversaries) as present:
        weights, training_state = Path(present, "weights"), Path(present, "training_state")
        for directory, save in ((weights, adversary.save), (training_state, adversary.save_training_state)):
            with storing(directory):
                directory.mkdir()
                save(directory)
        try:
            adversary.load(snapshot_path(context.run, past))
            yield
        finally:
            adversary.load(weights)
            adversary.load_training_state(training_state)
