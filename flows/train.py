"""The training flow: rounds in strict order, each of prompting, drawing, describing, redrawing, scoring, updating."""

from pathlib import Path
from typing import Any

from prefect import flow
from tqdm import tqdm

from duel.schedule import chapters, player_of
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import PlayedRound, RoundRecord
from tasks.context import TrainingContext, open_training
from tasks.drawing import choose_originals, draw, draw_ceilings, draws_asked
from tasks.evaluating import evaluate_players
from tasks.learning import learn
from tasks.publishing import publish_progress, publish_run
from tasks.recording import record_evaluation, record_round, save_checkpoint
from tasks.scoring import score, to_groups
from tasks.stages import Measured
from tasks.writing import describe_drawings, write_prompts


@flow(name="train", flow_run_name="{run}")
def train(settings: Settings, run: str, state: Path | None = None) -> None:
    """Train the players round by round; a run that exists is resumed from its last checkpoint."""
    with open_training(settings, run, StateDirectory.default(state)) as context:
        for start, stop in chapters(context.resume(), settings.rounds):
            play_chapter(context, start, stop)
            if stop == settings.rounds:
                keep_state(context, stop)
            publish_run(context, stop)


@flow(name="chapter", flow_run_name="rounds {start} to {stop}", validate_parameters=False)
def play_chapter(context: TrainingContext, start: int, stop: int) -> None:
    """Play the rounds `start` to `stop - 1`; a separate flow, so that a long run stays readable in the UI."""
    settings = context.settings
    for round in tqdm(range(start, stop), context.run.name, initial=start, total=settings.rounds):
        if round % settings.evaluation.every == 0:
            keep_state(context, round)
        record_round(context, round, play_round(context, round))
        publish_progress(context, round + 1)


def keep_state(context: TrainingContext, rounds: int) -> None:
    """Evaluate the players after `rounds` rounds (proxy, fixed seeds) and write a checkpoint."""
    record_evaluation(context, evaluate_players(context, rounds, context.settings.evaluation).value)
    save_checkpoint(context, rounds)


def play_round(context: TrainingContext, round: int) -> PlayedRound:
    """Play one round and update its player; return the round's record with timings.

    In a base round, each group has one original and G descriptions of it; in an adversary round, each group has G
    prompts, one original per prompt and one description per original.
    """
    settings = context.settings
    player = player_of(settings.order, round)
    group_size = settings.sampling.group_size  # G
    per_input, per_image = (1, group_size) if player == "base" else (group_size, 1)

    stages: list[Measured[Any]] = []
    if settings.originals == "adversary":
        prompts = write_prompts(context, round, per_input)  # (I, per_input)
        drawn = draw(context, round, prompts.value, label="draw_originals")  # (I, per_input)
        again = draw_ceilings(context, round, player, prompts.value, drawn.value.drawings)  # one stage, or none
        originals, stages = drawn.value, [prompts, drawn, *again]
    else:
        originals, again = choose_originals(context, round), []  # (I, 1)
    descriptions = describe_drawings(context, round, originals.drawings, per_image)  # (I, G)
    redrawn = draw(context, round, descriptions.value, label="draw_reconstructions")  # (I, G)
    ceilings = [group for stage in again for group in stage.value.drawings]  # (I, G), or none
    attempts = score(context, round, originals.drawings, redrawn.value.drawings, ceilings, player)  # (I, G)

    groups = to_groups(descriptions.value if player == "base" else prompts.value, attempts.value)
    update = learn(context, round, player, groups)
    asked = draws_asked(*(stage.value.drawings for stage in (*stages[1:], redrawn)))
    stages += [descriptions, redrawn, attempts, update]
    return PlayedRound(
        RoundRecord(round, player, groups, update.value, asked),
        seconds={stage.stage: stage.seconds for stage in stages},
        draws_made=originals.made + sum(stage.value.made for stage in (*again, redrawn)),
    )
