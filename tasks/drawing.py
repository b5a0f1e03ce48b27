"""Image generation stages: originals from prompts (or from the data set), reconstructions from descriptions."""

from collections.abc import Sequence

from duel.randomness import draw_seed, stream
from duel.schedule import images_of_turn
from duel.types import Completion, Drawing, DrawnGroups
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


@stage("redraw", retries=3)
def redraw(
    context: TrainingContext, round: int, texts: list[list[Completion]], originals: list[list[Drawing]], *, label: str
) -> DrawnGroups:
    """Draw texts about originals, (I, n * k), the k of the first original first, (I, n).

    The seed belongs to the original, whatever the round, and never depends on the seed that the original was drawn
    with (an empty text would redraw it): equal texts about one original are one draw in the whole run.
    """
    seeds = [[redraw_seed(context, original) for original in row] for row in originals]
    return draw_texts(context, texts, seeds, f"round-{round:04d}/{label}")


def redraw_seed(context: TrainingContext, original: Drawing) -> int:
    """Return the seed of all images drawn from texts about an original; 0 where the original was refused."""
    if original.key is None:
        return 0
    return draw_seed(context.settings.seed, "redraw", context.generator.identity(original))


def draw_ceilings(
    context: TrainingContext,
    round: int,
    prompts: list[list[Completion]],
    originals: list[list[Drawing]],
) -> list[Measured[DrawnGroups]]:
    """Draw every prompt of an adversary's round a second time, (I, G), if its reward or the gate asks for it.

    Returns a list of that one stage, or an empty list.
    """
    if not context.rewards.needs_ceiling:
        return []
    return [redraw(context, round, drawn_ones(prompts, originals), originals, label="draw_ceilings")]


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
    seeds = [[draw_seed(context.settings.seed, *names, i)] for i in range(len(completions))]  # (I, 1)
    return draw_texts(context, completions, seeds, purpose)


def draw_texts(
    context: TrainingContext, completions: list[list[Completion]], seeds: Sequence[Sequence[int]], purpose: str
) -> DrawnGroups:
    """Draw completions (I, n * k) with seeds (I, n): the first k of a group with its first seed, and so on."""
    wanted = [
        (completion.text, row[place * len(row) // len(group)])
        for group, row in zip(completions, seeds, strict=True)
        for place, completion in enumerate(group)
        if completion != NOTHING_TO_DESCRIBE
    ]
    origin = f"{context.run.name}/{purpose}"
    batch = context.generator.draw([text for text, _ in wanted], [seed for _, seed in wanted], origin)
    drawings = iter(batch.drawings)
    groups = [[NO_ORIGINAL if c == NOTHING_TO_DESCRIBE else next(drawings) for c in group] for group in completions]
    return DrawnGroups(groups, batch.made)


def choose_originals(context: TrainingContext, round: int) -> Measured[DrawnGroups]:
    """Return what the base describes in a round without prompts, (I, 1): hard drawings or the data set's images."""
    choose = choose_replayed if context.settings.schedule.turn(round) == "replay" else choose_images
    return Measured(DrawnGroups([[original] for original in choose(context, round)], made=0), "choose_originals", 0.0)


def choose_images(context: TrainingContext, round: int) -> list[Drawing]:
    """Return the data set's images whose turn it is, as drawings."""
    settings, paths = context.settings, context.dataset.train_images
    turn = settings.schedule.turns_before(round)
    chosen = images_of_turn(settings.seed, len(paths), settings.images_per_round, turn)
    return [context.file_drawing(paths[i]) for i in chosen]


def choose_replayed(context: TrainingContext, round: int) -> list[Drawing]:
    """Return hard drawings of earlier rounds, and images of the data set beside them.

    Images of the data set also stand in for drawings until enough are kept.
    """
    how, paths = context.settings.replay, context.dataset.train_images
    chance = stream(context.settings.seed, round, "replay")
    kept = context.pool.choose(chance, how.drawings, how.stale, round)
    images = chance.sample(paths, min(len(paths), how.images + how.drawings - len(kept)))
    return [*kept, *(context.file_drawing(path) for path in images)]


def draws_asked(*stages: list[list[Drawing]]) -> int:
    """Count the distinct images of a round's stages."""
    return len({drawing.key for stage in stages for group in stage for drawing in group} - {None})
