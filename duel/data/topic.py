"""Whether a drawing is on the data set's topic: by its similarity to the nearest training image.

How near is near enough is calibrated on held-out images, which are on topic and not among the training images either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Topic:
    """The embeddings of the training images, and how near to one of them a drawing has to be."""

    def __init__(self, images_ND: Tensor, least: float) -> None:
        self.images_ND = images_ND
        self.least = least

    def nearness(self, vector_D: Tensor) -> float:
        """Return the cosine of an image's embedding to that of the nearest training image."""
        return nearness(self.images_ND, vector_D[None])[0]

    def has(self, nearness: float) -> bool:
        """Return whether a drawing of this nearness is on topic."""
        return nearness >= self.least


def nearness(images_ND: Tensor, vectors_MD: Tensor) -> list[float]:
    """Return each vector's cosine to the nearest of the images, (M,), in [-1, 1]. Both are unit vectors."""
    found: list[float] = (vectors_MD @ images_ND.T).amax(1).clamp(-1, 1).tolist()
    return found


def least_nearness(held_out: list[float], share: float) -> float:
    """Return the nearness that `share` of the held-out images reach; linear between two of them."""
    ascending = sorted(held_out)
    place = (1 - share) * (len(ascending) - 1)
    below = int(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (place - below) * (ascending[above] - ascending[below])
