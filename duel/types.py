"""The carriers between stages, and the letters that name tensor dimensions everywhere.

    I  inputs of one stage: images to describe, or instructions to write prompts for
    G  completions sampled for one input (a group)
    B  rows of a batch, B = I * G, row = input * G + completion
    T  completion tokens, right-padded
    L  prompt tokens plus T
    V  vocabulary

Carriers are frozen and hold text, numbers, short lists and image-store keys only, so that each of them
persists as JSON. Token lists travel packed, as one string of decimal numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Player = Literal["base", "adversary"]
QuestionKind = Literal["reasoning", "descriptive"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class ModelInput:
    """What a policy is asked: an instruction and, for the base model, the bytes of an image."""

    instruction: str
    image: bytes | None = None


@dataclass(frozen=True)
class Completion:
    """One sampled text, with the tokens that were sampled (end token included, if it came)."""

    text: str
    packed_tokens: str  # decimal token ids separated by spaces
    finished: bool  # the model ended it; False: cut at the token limit

    @property
    def tokens(self) -> list[int]:
        """The token ids."""
        return [int(token) for token in self.packed_tokens.split()]


@dataclass(frozen=True)
class DrawRequest:
    """One image asked of a generator; its key names the image in the store.

    Two requests with equal fields are one draw, whoever asks and whenever.
    """

    generator: str
    version: str
    text: str
    seed: int
    parameters: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """SHA-256 (hex) of the request as canonical JSON: sorted keys, no spaces, UTF-8, no NaN."""
        fields = {
            "generator": self.generator,
            "version": self.version,
            "text": self.text,
            "seed": self.seed,
            "parameters": dict(self.parameters),
        }
        encoded = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(encoded.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class DrawnImage:
    """An image as the generator sent it."""

    data: bytes
    media_type: str  # e.g. image/png


@dataclass(frozen=True)
class Refusal:
    """The generator will not draw this text; asking again would get the same answer."""

    reason: str


@dataclass(frozen=True)
class Drawing:
    """A text and where its image lies; `key` is None when the generator refused the text."""

    text: str
    seed: int
    key: str | None
    refusal: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One way around the loop: an original, its description, and what was redrawn from it.

    `original.text` is the prompt (or the file name of a data set's image), `reconstruction.text` the
    description. `similarity` is None where one of the two images was refused; `reward` is None where the
    attempt takes no part in the update.
    """

    original: Drawing
    reconstruction: Drawing
    similarity: float | None
    reward: float | None


@dataclass(frozen=True)
class Group:
    """The completions sampled for one input, and the attempt that each of them made."""

    completions: list[Completion]  # (G,)
    attempts: list[Attempt]  # (G,)


@dataclass(frozen=True)
class UpdateReport:
    """What one call of `learn` did to a player."""

    loss: float
    gradient_norm: float | None  # None: gradients were accumulated, no optimizer step was taken
    groups: int
    skipped_groups: int  # all rewards equal, hence no signal
    rounds_learned: int  # rounds this player has learned from so far
    optimizer_steps: int


@dataclass(frozen=True)
class RoundRecord:
    """Everything that one round leaves behind."""

    round: int
    player: Player
    groups: list[Group]
    update: UpdateReport
    draws_asked: int  # distinct images the round needed, drawn now or found in the store


@dataclass(frozen=True)
class ProxyMeasured:
    """The players measured after some rounds, under fixed seeds; None for a player that does not train."""

    round: int
    base: dict[str, Any] | None
    adversary: dict[str, Any] | None
    draws_asked: int


@dataclass(frozen=True)
class Question:
    """One question about a chart, in the layout of CharXiv's test set."""

    figure_id: str
    image_path: str  # relative to the data set's directory
    question: str  # as it is graded: without instructions
    ground_truth: str
    answer_category: int  # 1 text in chart, 2 text in general, 3 number in chart, 4 number in general; 0 descriptive
    question_id: int | None = None  # of a descriptive question: its template, 1 to 19
    instruction: str | None = None  # what the model is asked, word for word; None: `evaluation.answer` says how
    stratum: str | None = None  # the kind of chart, where held-out charts of several kinds are measured apart

    @property
    def kind(self) -> QuestionKind:
        """Descriptive questions are 19 fixed ones about what a chart shows; all others are reasoning questions."""
        return "reasoning" if self.question_id is None else "descriptive"


@dataclass(frozen=True)
class Grade:
    """A judge's verdict on one answer; `score` is None when the answer could not be graded."""

    score: float | None
    extracted: str
