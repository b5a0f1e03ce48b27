"""Image generation stages: originals from prompts (or from the data set), reconstructions from descriptions."""

from duel.randomness import draw_seed
from duel.schedule import images_of_turn, turns_before
from duel.types import Completion, Drawing, DrawnGroups, Player
from tasks.context import TrainingContext
from tasks.stages import Measured, stage
from tasks.writing import NOTHING_TO_DESCRIBE

NO_ORIGINAL = Drawing(text="", seed=0, key=None, refusal="its original was refused")


@stage("draw", retries=3)
def draw(context: TrainingContext, round: int, completions: list[list[Completion]], *, label: str) -> DrawnGroups:
    """Draw every completion of every group, (I, G). A group shares one seed, so that equal texts are one draw.

    Images already in the store are not drawn again, so a retry draws only what is missing.
    """
    return draw_groups(context, completions, f"round-{round:04d}/{label}", round, label)


def draw_ceilings(
    context: TrainingContext,
    round: int,
    player: Player,
    prompts: list[list[Completion]],
    originals: list[list[Drawing]],
) -> list[Measured[DrawnGroups]]:
    """Draw every prompt a second time, (I, G), if the adversary learns and its reward needs the ceiling.

    Returns a list of that one stage, or an empty list.
    """
    if player == "base" or not context.rewards.adversary.needs_ceiling:
        return []
    return [draw(context, round, drawn_ones(prompts, originals), label="draw_ceilings")]


def drawn_ones(prompts: list[list[Completion]], originals: list[list[Drawing]]) -> list[list[Completion]]:
    """Return the prompts with NOTHING_TO_DESCRIBE in place of refused ones, which would be refused again."""
    return [
        [NOTHING_TO_DESCRIBE if original.key is None else prompt for prompt, original in zip(*row, strict=True)]
        for row in zip(prompts, originals, strict=True)
    ]


def draw_groups(
    context: TrainingContext, completions: list[list[Completion]], purpose: str, *names: int | str
) -> DrawnGroups:
    """Draw completions (I, G) with one seed per group from the random stream `names`.

    `purpose` is stored with each image as the stage that it was drawn for.
    """
    seeds = [draw_seed(context.settings.seed, *names, i) for i in range(len(completions))]  # (I,)
    wanted = [
        (completion.text, seed)
        for group, seed in zip(completions, seeds, strict=True)
        for completion in group
        if completion != NOTHING_TO_DESCRIBE
    ]
    origin = f"{context.run.name}/{purpose}"
    batch = context.generator.draw([text for text, _ in wanted], [seed for _, seed in wanted], origin)
    drawings = iter(batch.drawings)
    groups = [[NO_ORIGINAL if c == NOTHING_TO_DESCRIBE else next(drawings) for c in group] for group in completions]
    return DrawnGroups(groups, batch.made)


def choose_originals(context: TrainingContext, round: int) -> DrawnGroups:
    """Return the data set's images that the base describes in this round, as drawings, (I, 1)."""
    settings, paths = context.settings, context.dataset.train_images
    turn = turns_before(settings.order, round)
    chosen = images_of_turn(settings.seed, len(paths), settings.images_per_round, turn)
    return DrawnGroups([[context.file_drawing(paths[i])] for i in chosen], made=0)


def draws_asked(*stages: list[list[Drawing]]) -> int:
    """Count the distinct images of a round's stages."""
    return len({drawing.key for stage in stages for group in stage for drawing in group} - {None})
