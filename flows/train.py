"""The training flow: rounds in strict order, each prompting, drawing, describing, redrawing, scoring, learning."""

from pathlib import Path

from prefect import flow
from tqdm import tqdm

from duel.schedule import player_of
from duel.settings import Settings
from duel.types import Completion, Drawing, RoundRecord
from tasks.drawing import choose_originals, draw, draws_asked
from tasks.evaluating import evaluate_players
from tasks.learning import learn
from tasks.places import Arena, open_arena
from tasks.recording import record_evaluation, record_round, save_checkpoint
from tasks.scoring import score, to_groups
from tasks.writing import describe_drawings, write_prompts


@flow(name="train", flow_run_name="{run}")
def train(settings: Settings, run: str, state: Path = Path("state")) -> None:
    """Train the players round by round; a run that exists is resumed from its last checkpoint."""
    with open_arena(settings, run, state) as arena:
        first = arena.resume()
        for round in tqdm(range(first, settings.rounds), run, initial=first, total=settings.rounds):
            if round % settings.evaluation.every == 0:
                record_evaluation(arena, round, evaluate_players(arena, round, settings.evaluation))
                save_checkpoint(arena, round)
            record = play_round(arena, round)
            record_round(arena, round, record)
        last = max(first, settings.rounds)  # a run that has more rounds than asked for stays as it is
        record_evaluation(arena, last, evaluate_players(arena, last, settings.evaluation))
        save_checkpoint(arena, last)


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
