"""Sampling stages: prompts written by the adversary, descriptions written by the base."""

from duel.randomness import sample_seeds
from duel.types import Completion, Drawing, ModelInput, Player
from tasks.context import TrainingContext
from tasks.stages import stage

NOTHING_TO_DESCRIBE = Completion(text="", packed_tokens="", finished=False)


@stage("write_prompts")
def write_prompts(context: TrainingContext, round: int, per_input: int) -> list[list[Completion]]:
    """Sample `per_input` prompts of the adversary for each of the round's inputs, (I, per_input)."""
    settings = context.settings
    groups = settings.images_per_round
    if settings.schedule.turn(round) == "adversary" and settings.prompt_groups is not None:
        groups = settings.prompt_groups
    seeds = sample_seeds(settings.seed, groups, per_input, round, "prompt")
    return sample(context, "adversary", [invention(context)] * len(seeds), seeds)


@stage("describe_drawings")
def describe_drawings(
    context: TrainingContext, round: int, originals: list[list[Drawing]], per_image: int
) -> list[list[Completion]]:
    """Sample `per_image` descriptions of each original in one batch; the result has one row per row of `originals`."""
    return describe(context, originals, per_image, round, "description")


def describe(
    context: TrainingContext, originals: list[list[Drawing]], per_image: int, *names: int | str
) -> list[list[Completion]]:
    """Sample descriptions of originals from the random stream `names`; a refused original gets NOTHING_TO_DESCRIBE."""
    flat = [original for group in originals for original in group]
    drawn = [i for i, original in enumerate(flat) if original.key is not None]
    seeds = sample_seeds(context.settings.seed, len(flat), per_image, *names)
    sampled = sample(context, "base", [description(context, flat[i]) for i in drawn], [seeds[i] for i in drawn])
    texts = dict(zip(drawn, sampled, strict=True))
    rows = iter(texts.get(i, [NOTHING_TO_DESCRIBE] * per_image) for i in range(len(flat)))
    return [[completion for _ in group for completion in next(rows)] for group in originals]


def sample(
    context: TrainingContext, player: Player, inputs: list[ModelInput], seeds: list[list[int]]
) -> list[list[Completion]]:
    """Sample completions of a player, one per seed, (I, G), with the run's temperature and token limit."""
    return context.players[player].sample(
        inputs, seeds, temperature=context.settings.sampling.temperature, max_new_tokens=context.max_new_tokens
    )


def invention(context: TrainingContext) -> ModelInput:
    """Return the adversary's input: the instruction to write a prompt."""
    return ModelInput(context.settings.sampling.invent)


def description(context: TrainingContext, original: Drawing) -> ModelInput:
    """Return the base's input for a drawn original: the instruction and the image."""
    return ModelInput(context.settings.sampling.describe, context.generator.image(original))
