"""Training targets of the embedder: a vector per chart whose cosine similarities reflect how alike two charts are.

Each attribute has its own block of components; the squared length of a block is the attribute's weight. The layout of a
texture has a block too, so that two draws of the same text with texture differ. Most blocks are centred: charts that
have nothing in common have about the constant block's share as cosine, far below 1.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from duel.offline.charts import BACKGROUNDS, COLOURS, KINDS, TEXTURES, Chart
from duel.offline.textures import texture_field
from duel.randomness import stream

Vector = NDArray[np.float32]
Direction = NDArray[np.float64]

WEIGHTS = {
    "constant": 2.0, "kind": 1.4, "colour": 1.3, "heights": 1.3, "count": 0.5, "title": 1.2, "x_label": 0.8,
    "y_label": 0.8, "grid": 0.9, "legend": 0.9, "background": 1.1, "second": 0.9, "texture": 0.6, "content": 5.0,
}  # fmt: skip
HEIGHTS = 12  # points at which a series is sampled


def target(chart: Chart) -> Vector:
    """Return the chart's target vector, `(D,)`, of unit length."""
    blocks = {
        "constant": np.ones(1),
        "kind": one_hot(KINDS.index(chart.kind), len(KINDS)),
        "colour": one_hot(COLOURS.index(chart.colour), len(COLOURS)),
        "heights": outline(chart.values),
        "count": one_hot(min(len(chart.values), 8) - 1, 8),
        "title": words_vector(chart.title, 48),
        "x_label": words_vector(chart.x_label, 16),
        "y_label": words_vector(chart.y_label, 16),
        "grid": np.array([1.0 if chart.grid else -1.0]),
        "legend": np.array([1.0 if chart.legend else -1.0]),
        "background": one_hot(BACKGROUNDS.index(chart.background), len(BACKGROUNDS)),
        "second": second_series(chart),
        "texture": one_hot(TEXTURES.index(chart.texture) + 1 if chart.texture else 0, len(TEXTURES) + 1),
        "content": np.array(texture_field(chart)) / 8 if chart.texture else np.zeros(64),
    }
    vector = np.concatenate([np.sqrt(WEIGHTS[name]) * block for name, block in blocks.items()])
    unit: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


def one_hot(place: int, length: int) -> Direction:
    """Return a centred one-hot vector of unit length."""
    vector = np.full(length, -1.0 / length)
    vector[place] += 1.0
    return normalised(vector)


def normalised(vector: Direction) -> Direction:
    """Return the vector scaled to unit length."""
    unit: Direction = vector / np.linalg.norm(vector)
    return unit


def outline(values: tuple[int, ...]) -> Direction:
    """Return the series sampled at HEIGHTS points, centred, of about unit length for random values."""
    places = np.linspace(0, len(values) - 1, HEIGHTS)
    heights: Direction = np.interp(places, np.arange(len(values)), values)
    centred: Direction = (heights - 5.0) / (2.3 * np.sqrt(HEIGHTS))
    return centred


def second_series(chart: Chart) -> Direction:
    """Return presence, colour and sampled values of a second series; zeros if there is none."""
    if not chart.second_colour:
        return np.zeros(1 + len(COLOURS) + HEIGHTS)
    colour = 0.6 * one_hot(COLOURS.index(chart.second_colour), len(COLOURS))
    return np.concatenate([np.ones(1), colour, 0.6 * outline(chart.second_values)])


def words_vector(text: str, length: int) -> Direction:
    """Return the normalised sum of the words' random directions; any text has one."""
    vector = sum((word_direction(word, length) for word in text.split()), np.zeros(length))
    if not text:
        vector = word_direction("", length)
    return normalised(vector)


@lru_cache(maxsize=4096)
def word_direction(word: str, length: int) -> Direction:
    """Return a word's direction: mostly its own, partly its letters', so that similar spellings are close."""
    own = gaussian(stream(0, "word", word), length)
    letters = sum((gaussian(stream(0, "letter", letter), length) for letter in word), np.zeros(length))
    return own + 0.3 * letters / max(1.0, float(np.linalg.norm(letters)))


def gaussian(rng: random.Random, length: int) -> Direction:
    """Return a random direction of unit length."""
    vector = np.array([rng.gauss(0, 1) for _ in range(length)])
    return normalised(vector)
