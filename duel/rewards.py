"""From similarity to reward, for each player."""

from duel.types import Drawing

REFUSED_PROMPT = 0.0  # the lowest that 1 - similarity gives for real images: refusals must not pay


def base_reward(similarity: float | None) -> float | None:
    """Return the base's reward: the similarity itself, or None (left out of its group) where none was measured."""
    return similarity


def adversary_reward(original: Drawing, similarity: float | None) -> float | None:
    """Return the adversary's reward: 1 - similarity, high where the base failed.

    A refused prompt earns the lowest reward. Where only the description was refused, the adversary is not
    to blame: None, left out of its group.
    """
    if original.key is None:
        return REFUSED_PROMPT
    return None if similarity is None else 1.0 - similarity
