"""The stages in which images come to be: the originals, and the reconstructions drawn from descriptions."""

from duel.randomness import draw_seed
from duel.schedule import images_of_turn, turns_before
from duel.types import Completion, Drawing
from tasks.context import TrainingContext
from tasks.stages import stage
from tasks.writing import NOTHING_TO_DESCRIBE

NO_ORIGINAL = Drawing(text="", seed=0, key=None, refusal="its original was refused")


@stage("draw", retries=3)
def draw(
    context: TrainingContext, round: int, completions: list[list[Completion]], *, label: str
) -> list[list[Drawing]]:
    """Draw every completion of every group, (I, G). A group shares its seed: equal texts are one draw.

    What is in the store is not drawn again, so that a retry draws only what is missing.
    """
    return draw_groups(context, completions, round, label)


def draw_groups(
    context: TrainingContext, completions: list[list[Completion]], *names: int | str
) -> list[list[Drawing]]:
    """Draw completions with one seed per group from the stream `names`."""
    flat = [(c, draw_seed(context.settings.seed, *names, i)) for i, group in enumerate(completions) for c in group]
    wanted = [(c.text, seed) for c, seed in flat if c != NOTHING_TO_DESCRIBE]
    batch = context.generator.draw([text for text, _ in wanted], [seed for _, seed in wanted])
    context.draws_made += batch.made
    drawings = iter(batch.drawings)
    return [[NO_ORIGINAL if c == NOTHING_TO_DESCRIBE else next(drawings) for c in group] for group in completions]


def choose_originals(context: TrainingContext, round: int) -> list[list[Drawing]]:
    """Return the data set's images that the base describes in this round, as drawings, (I, 1)."""
    settings, paths = context.settings, context.dataset.train_images
    turn = turns_before(settings.order, round)
    chosen = images_of_turn(settings.seed, len(paths), settings.images_per_round, turn)
    return [[context.file_drawing(paths[i])] for i in chosen]


def draws_asked(*stages: list[list[Drawing]]) -> int:
    """Count the distinct images of a round's stages."""
    return len({drawing.key for stage in stages for group in stage for drawing in group} - {None})
