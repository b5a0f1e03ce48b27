"""The anchor's stage: what the untrained model answers about training images, for the base to stay near."""

from dataclasses import dataclass

from duel.data.dataset import Dataset
from duel.randomness import sample_seeds
from duel.schedule import images_of_turn
from duel.settings import Settings
from duel.types import Completion, Drawing, ModelInput, Player
from tasks.context import TrainingContext
from tasks.stages import Measured, stage


@dataclass(frozen=True)
class Anchor:
    """What the untrained model answers about a training image; an update can hold the base to it."""

    image: Drawing
    instruction: str
    answer: Completion


def anchor_round(context: TrainingContext, round: int, player: Player) -> list[Measured[list[Anchor]]]:
    """Sample the anchor's answers in a base round with `base.anchor.coef` above 0; return that one stage, or none."""
    if player != "base" or not context.settings.base.anchor.coef:
        return []
    chosen = anchor_images(context.settings, context.dataset, round)
    images = [context.file_drawing(context.dataset.train_images[index]) for index in chosen]
    return [sample_anchors(context, round, images)]


def anchor_images(settings: Settings, dataset: Dataset, round: int) -> list[int]:
    """Return the indices of the training images asked about in a round of the base, in their own shuffled epochs."""
    turn, wanted = settings.schedule.turns_before(round), settings.base.anchor.images
    return images_of_turn(settings.seed, len(dataset.train_images), wanted, turn, "anchor epoch")


@stage("sample_anchors")
def sample_anchors(context: TrainingContext, round: int, images: list[Drawing]) -> list[Anchor]:
    """Sample one answer of the untrained model about each image, (I,); a round has one question, in turn."""
    anchor = context.settings.base.anchor
    instruction = anchor.instruction(context.settings.schedule.turns_before(round))
    answers = context.players["base"].sample(
        [ModelInput(instruction, context.generator.image(image)) for image in images],
        sample_seeds(context.settings.seed, len(images), 1, round, "anchor"),
        temperature=anchor.temperature,
        max_new_tokens=anchor.max_new_tokens,
        untrained=True,
    )
    return [Anchor(image, instruction, answer) for image, [answer] in zip(images, answers, strict=True)]
