"""The stages in which a model writes: prompts (adversary) and descriptions (base)."""

from duel.randomness import sample_seeds
from duel.types import Completion, Drawing, ModelInput, Player
from tasks.context import TrainingContext
from tasks.stages import stage

NOTHING_TO_DESCRIBE = Completion(text="", packed_tokens="", finished=False)


@stage("write_prompts")
def write_prompts(context: TrainingContext, round: int, per_input: int) -> list[list[Completion]]:
    """Let the adversary write `per_input` prompts for each of the round's inputs, (I, per_input)."""
    seeds = sample_seeds(context.settings.seed, context.settings.images_per_round, per_input, round, "prompt")
    return sample(context, "adversary", [invention(context)] * len(seeds), seeds)


@stage("describe_drawings")
def describe_drawings(
    context: TrainingContext, round: int, originals: list[list[Drawing]], per_image: int
) -> list[list[Completion]]:
    """Let the base describe each original `per_image` times, all in one batch, (I, G)."""
    return describe(context, originals, per_image, round, "description")


def describe(
    context: TrainingContext, originals: list[list[Drawing]], per_image: int, *names: int | str
) -> list[list[Completion]]:
    """Sample descriptions of originals from the stream `names`; a refused original gets empty ones."""
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
    """Sample completions of a player with the run's temperature and length."""
    return context.players[player].sample(
        inputs, seeds, temperature=context.settings.sampling.temperature, max_new_tokens=context.max_new_tokens
    )


def invention(context: TrainingContext) -> ModelInput:
    """Return what the adversary is asked."""
    return ModelInput(context.settings.sampling.invent)


def description(context: TrainingContext, original: Drawing) -> ModelInput:
    """Return what the base is asked about an original that was drawn."""
    return ModelInput(context.settings.sampling.describe, context.generator.image(original))
