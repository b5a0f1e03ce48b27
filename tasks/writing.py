"""The stages in which a model writes: prompts (adversary) and descriptions (base)."""

from duel.randomness import sample_seeds
from duel.types import Completion, Drawing, ModelInput, Player
from tasks.context import Arena
from tasks.stages import stage

NOTHING_TO_DESCRIBE = Completion(text="", packed_tokens="", finished=False)


@stage("write_prompts")
def write_prompts(arena: Arena, round: int, per_input: int) -> list[list[Completion]]:
    """Let the adversary write `per_input` prompts for each of the round's inputs, (I, per_input)."""
    seeds = sample_seeds(arena.settings.seed, arena.settings.images_per_round, per_input, round, "prompt")
    return sample(arena, "adversary", [invention(arena)] * len(seeds), seeds)


@stage("describe_drawings")
def describe_drawings(
    arena: Arena, round: int, originals: list[list[Drawing]], per_image: int
) -> list[list[Completion]]:
    """Let the base describe each original `per_image` times, all in one batch, (I, G)."""
    return describe(arena, originals, per_image, round, "description")


def describe(arena: Arena, originals: list[list[Drawing]], per_image: int, *names: int | str) -> list[list[Completion]]:
    """Sample descriptions of originals from the stream `names`; a refused original gets empty ones."""
    flat = [original for group in originals for original in group]
    drawn = [i for i, original in enumerate(flat) if original.key is not None]
    seeds = sample_seeds(arena.settings.seed, len(flat), per_image, *names)
    sampled = sample(arena, "base", [description(arena, flat[i]) for i in drawn], [seeds[i] for i in drawn])
    texts = dict(zip(drawn, sampled, strict=True))
    rows = iter(texts.get(i, [NOTHING_TO_DESCRIBE] * per_image) for i in range(len(flat)))
    return [[completion for _ in group for completion in next(rows)] for group in originals]


def sample(arena: Arena, player: Player, inputs: list[ModelInput], seeds: list[list[int]]) -> list[list[Completion]]:
    """Sample completions of a player with the run's temperature and length."""
    return arena.players[player].sample(
        inputs, seeds, temperature=arena.settings.sampling.temperature, max_new_tokens=arena.max_new_tokens
    )


def invention(arena: Arena) -> ModelInput:
    """Return what the adversary is asked."""
    return ModelInput(arena.settings.sampling.invent)


def description(arena: Arena, original: Drawing) -> ModelInput:
    """Return what the base is asked about an original that was drawn."""
    return ModelInput(arena.settings.sampling.describe, arena.studio.image(original))
