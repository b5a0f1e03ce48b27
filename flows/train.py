"""The training flow: rounds in strict order, each of prompting, drawing, describing, redrawing, scoring, updating."""

from pathlib import Path
from typing import Any

from prefect import flow
from tqdm import tqdm

from duel.schedule import chapters
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Completion, DrawnGroups, PlayedRound, Rollout, RoundRecord
from tasks.anchoring import anchor_round
from tasks.context import TrainingContext, open_training
from tasks.drawing import choose_originals, draw, draw_ceilings, redraw
from tasks.evaluating import evaluate_players
from tasks.learning import check_skipped, learn
from tasks.past import choose_past, keep_snapshot, write_past_prompts
from tasks.publishing import announced_limits, publish_progress, publish_run
from tasks.recording import note_round, record_evaluation, record_round, save_checkpoint
from tasks.rollouts import share_rollout, to_rollout
from tasks.scoring import score, to_groups
from tasks.stages import Measured
from tasks.topic import open_topic
from tasks.writing import describe_drawings, write_prompts


@flow(name="train", flow_run_name="{run}")
def train(settings: Settings, run: str, state: Path | None = None) -> None:
    """Train the players round by round; a run that exists is resumed from its last checkpoint.

    At a limit of the budget it fails between two requests; run again with a higher one, it goes on exactly there.
    """
    with announced_limits(run), open_training(settings, run, StateDirectory.default(state)) as context:
        open_topic(context)
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
        keep_snapshot(context, round)
        played = play_round(context, round)
        record_round(context, round, played)
        note_round(context, played.record)
        check_skipped(context, played.record)
        publish_progress(context, round + 1)


def keep_state(context: TrainingContext, rounds: int) -> None:
    """Evaluate the players after `rounds` rounds (proxy, fixed seeds) and write a checkpoint."""
    record_evaluation(context, evaluate_players(context, rounds, context.settings.evaluation).value)
    save_checkpoint(context, rounds)


def play_round(context: TrainingContext, round: int) -> PlayedRound:
    """Play one round and update its player; return the round's record with timings."""
    player = context.settings.schedule.player(round)
    rollout = go_around(context, round)
    drawn = (rollout.originals, rollout.reconstructions, rollout.ceilings)
    recent = context.recent.drawings if player == "adversary" else []
    attempts = score(context, round, *drawn, player, recent)  # (I, k) of the base, (I, G) of the adversary

    groups = to_groups(rollout.descriptions if player == "base" else rollout.prompts, attempts.value)
    anchored = anchor_round(context, round, player)  # one stage, or none
    update = learn(context, round, player, groups, [anchor for stage in anchored for anchor in stage.value])
    stages: list[Measured[Any]] = [attempts, *anchored, update]
    return PlayedRound(
        RoundRecord(round, player, groups, update.value, rollout.draws_asked, rollout.past_adversary),
        seconds=rollout.seconds | {stage.stage: stage.seconds for stage in stages},
        draws_made=rollout.draws_made,
    )


def go_around(context: TrainingContext, round: int) -> Rollout:
    """Prompts, drawings, descriptions and reconstructions of one round.

    In a base round, each group has one original and G descriptions of it; in an adversary round, each group has G
    prompts, one original per prompt and k descriptions per original. With shared draws, a base round takes those of the
    adversary's round before it, unless a past adversary writes prompts for it.
    """
    settings, schedule = context.settings, context.settings.schedule
    turn, group_size = schedule.turn(round), settings.sampling.group_size  # G
    past = choose_past(context, round)
    if past is None and turn == "base" and settings.shared_draws and schedule.turn(round - 1) == "adversary":
        return share_rollout(context, round, go_around(context, round - 1))
    prompts: list[Measured[list[list[Completion]]]] = []  # one stage, or none
    ceilings: list[Measured[DrawnGroups]] = []  # the same
    per_input, per_image = (group_size, settings.sampling.descriptions) if turn == "adversary" else (1, group_size)
    if turn == "adversary" or (turn == "base" and settings.originals == "adversary"):
        prompts = [
            write_prompts(context, round, per_input)
            if past is None
            else write_past_prompts(context, round, per_input, past)
        ]  # (I, per_input)
        originals = draw(context, round, prompts[0].value, label="draw_originals")  # (I, per_input)
        if turn == "adversary":
            ceilings = draw_ceilings(context, round, prompts[0].value, originals.value.drawings)
    else:
        originals = choose_originals(context, round)  # (I, 1)
    drawings = originals.value.drawings
    descriptions = describe_drawings(context, round, drawings, per_image)  # (I, per_input * per_image)
    redrawn = redraw(context, round, descriptions.value, drawings, label="draw_reconstructions")
    return to_rollout(prompts, originals, ceilings, descriptions, redrawn, past)
