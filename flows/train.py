"""The training flow: rounds in strict order, each prompting, drawing, describing, redrawing, scoring, learning."""

from pathlib import Path

from prefect import flow
from tqdm import tqdm

from duel.schedule import chapters, player_of
from duel.settings import Settings
from duel.types import Completion, Drawing, RoundRecord
from flows.state import state_directory
from tasks.context import Arena, open_arena
from tasks.drawing import choose_originals, draw, draws_asked
from tasks.evaluating import evaluate_players
from tasks.learning import learn
from tasks.publishing import publish_progress, publish_run
from tasks.recording import record_evaluation, record_round, save_checkpoint
from tasks.scoring import score, to_groups
from tasks.writing import describe_drawings, write_prompts


@flow(name="train", flow_run_name="{run}")
def train(settings: Settings, run: str, state: Path | None = None) -> None:
    """Train the players round by round; a run that exists is resumed where it stopped, however it stopped."""
    with open_arena(settings, run, state_directory(state)) as arena:
        for start, stop in chapters(arena.resume(), settings.rounds):
            play_chapter(arena, start, stop)
            if stop == settings.rounds:
                keep_state(arena, stop)
            publish_run(arena, stop)


@flow(name="chapter", flow_run_name="rounds {start} to {stop}", validate_parameters=False)
def play_chapter(arena: Arena, start: int, stop: int) -> None:
    """Play the rounds from `start` to before `stop`; a flow of its own, so that a long run stays readable in the UI."""
    settings = arena.settings
    for round in tqdm(range(start, stop), arena.run.name, initial=start, total=settings.rounds):
        if round % settings.evaluation.every == 0:
            keep_state(arena, round)
        record = play_round(arena, round)
        record_round(arena, round, record)
        publish_progress(arena, round + 1)


def keep_state(arena: Arena, rounds: int) -> None:
    """Measure the players after `rounds` rounds under fixed seeds, and keep them."""
    record_evaluation(arena, evaluate_players(arena, rounds, arena.settings.evaluation))
    save_checkpoint(arena, rounds)


def play_round(arena: Arena, round: int) -> RoundRecord:
    """Play one round and let its player learn from it.

    A base round has one original per group and G descriptions of it; an adversary round has G prompts per
    group, one original of each, and one description of each original.
    """
    settings = arena.settings
    player = player_of(settings.order, round)
    group_size = settings.sampling.group_size  # G
    per_input, per_image = (1, group_size) if player == "base" else (group_size, 1)

    prompts: list[list[Completion]] = []
    originals: list[list[Drawing]]  # (I, per_input)
    if settings.originals == "adversary":
        prompts = write_prompts(arena, round, per_input)  # (I, per_input)
        originals = draw(arena, round, prompts, label="draw_originals")
    else:
        originals = choose_originals(arena, round)
    descriptions = describe_drawings(arena, round, originals, per_image)  # (I, G)
    reconstructions = draw(arena, round, descriptions, label="draw_reconstructions")  # (I, G)
    attempts = score(arena, round, originals, reconstructions, player)  # (I, G)

    groups = to_groups(descriptions if player == "base" else prompts, attempts)
    update = learn(arena, round, player, groups)
    drawn = (originals, reconstructions) if prompts else (reconstructions,)
    return RoundRecord(round, player, groups, update, draws_asked(*drawn))
