"""The carriers between stages, and the letters that name tensor dimensions everywhere.

    I  inputs of one stage: images to describe, or instructions to write prompts for
    G  completions sampled for one input (a group)
    B  rows of a batch, B = I * G, row = input * G + completion
    T  completion tokens, right-padded
    L  prompt tokens plus T
    V  vocabulary

Carriers are frozen and hold text, numbers, short lists and image-store keys only, so that each of them
persists as JSON. Lists with an entry for each token travel packed, as one string.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Player = Literal["base", "adversary"]
Turn = Literal["base", "adversary", "replay", "warm_up"]  # what a round is: who trains, and on which originals
QuestionKind = Literal["reasoning", "descriptive"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class ModelInput:
    """What a policy is asked: an instruction and, for the base model, the bytes of an image."""

    instruction: str
    image: bytes | None = None


@dataclass(frozen=True)
class Completion:
    """One sampled text, with the tokens that were sampled (end token included, if it came).

    Completions are equal, and name the same stage result, whatever their log-probabilities: these are a measurement,
    and rounding may change it.
    """

    text: str
    packed_tokens: str  # decimal token ids separated by spaces
    finished: bool  # the model ended it; False: cut at the token limit
    packed_logprobs: str = field(default="", compare=False)  # from `pack_logprobs`; empty: not known

    @property
    def tokens(self) -> list[int]:
        """The token ids."""
        return [int(token) for token in self.packed_tokens.split()]

    @property
    def logprobs(self) -> list[float]:
        """Log-probability of each token in the distribution it was sampled from; empty where that is not known."""
        packed = base64.b64decode(self.packed_logprobs, validate=True)
        return [value for (value,) in struct.iter_unpack("<f", packed)]


def pack_logprobs(logprobs: Sequence[float]) -> str:
    """Return float32 values as text: base64 of their little-endian bytes, 16 characters for three."""
    return base64.b64encode(struct.pack(f"<{len(logprobs)}f", *logprobs)).decode("ascii")


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
class DrawnGroups:
    """The drawings of a stage, group by group, and how many of them were drawn for it rather than found."""

    drawings: list[list[Drawing]]  # (I, G)
    made: int  # images; those that an earlier try of the stage drew count too


@dataclass(frozen=True)
class Attempt:
    """One way around the loop: an original, its description, and what was redrawn from it.

    `original.text` is the prompt (or the file name of a data set's image), `reconstruction.text` the
    description. `similarity` is None where one of the two images was refused; `reward` is None where the
    attempt takes no part in the update. `ceiling` is the similarity of the original to a second drawing of its
    prompt; None where the adversary's reward does not ask for one, or one of these two was refused.
    """

    original: Drawing
    reconstruction: Drawing
    similarity: float | None
    reward: float | None
    ceiling: float | None = None


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
    # |log-probability in the update - log-probability at sampling| over the tokens that the update learned from.
    # None: there were none, or what they were sampled with is not known.
    logprob_gap_mean: float | None = None
    logprob_gap_max: float | None = None
    divergence: float | None = None  # KL to the untrained model, nats per token, before the update; None: not measured


@dataclass(frozen=True)
class Rollout:
    """What one round sampled and drew; n originals in each of I groups, k descriptions of each original."""

    prompts: list[list[Completion]]  # (I, n); empty: nobody wrote the originals in this round
    originals: list[list[Drawing]]  # (I, n)
    ceilings: list[list[Drawing]]  # (I, n) second drawings of the prompts; empty: not asked for
    descriptions: list[list[Completion]]  # (I, n * k), those of the first original first
    reconstructions: list[list[Drawing]]  # (I, n * k)
    seconds: dict[str, float]  # by stage
    draws_asked: int  # distinct images that the round needed from the generator
    draws_made: int  # of these, images drawn for this round


@dataclass(frozen=True)
class RoundRecord:
    """Everything that one round leaves behind."""

    round: int
    player: Player
    groups: list[Group]
    update: UpdateReport
    draws_asked: int  # distinct images the round needed, drawn now or found in the store


@dataclass(frozen=True)
class PlayedRound:
    """A round's record, and what may differ between two equal runs: times, and what the store held already."""

    record: RoundRecord
    seconds: dict[str, float]  # by stage
    draws_made: int  # of `record.draws_asked`, images drawn for this round rather than found


@dataclass(frozen=True)
class BaseEvaluation:
    """How well the base's descriptions bring the held-out images back."""

    images: list[str]  # file names, (I,)
    similarities: list[float | None]  # (I,), means over an image's descriptions; None: every redrawing was refused
    draws_asked: int  # distinct images needed, drawn now or found in the store
    draws_made: int  # images drawn for it rather than found


@dataclass(frozen=True)
class AdversaryEvaluation:
    """What fresh prompts of the adversary earn; each is drawn, described and redrawn once."""

    prompts: list[str]  # (I,)
    descriptions: list[str]  # (I,), empty where the prompt was refused
    similarities: list[float | None]  # (I,), None where one of the two images was refused
    rewards: list[float | None]  # (I,), None where the prompt takes no part
    draws_asked: int  # distinct images needed, drawn now or found in the store
    draws_made: int  # images drawn for it rather than found
    ceilings: list[float | None] = field(default_factory=list)  # (I,), or none: the reward asks for none


@dataclass(frozen=True)
class ProxyEvaluation:
    """The players measured after some rounds, under fixed seeds; None for a player that does not train."""

    rounds_done: int
    base: BaseEvaluation | None
    adversary: AdversaryEvaluation | None


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

    @property
    def kind(self) -> QuestionKind:
        """Descriptive questions are 19 fixed ones about what a chart shows; all others are reasoning questions."""
        return "reasoning" if self.question_id is None else "descriptive"


@dataclass(frozen=True)
class Grade:
    """A judge's verdict on one answer; `score` is None when the answer could not be graded."""

    score: float | None
    extracted: str


@dataclass(frozen=True)
class Spend:
    """What one run, or all of them, spent on images, from the spend ledger."""

    predictions: int = 0  # created at the service, as far as is known
    drawn: int = 0
    refused: int = 0
    failed: int = 0
    lost: int = 0  # paid for, but the image could not be had any more
    unknown: int = 0  # whether they were paid is not known: the answer was lost and the service forgot the prediction
    under_way: int = 0  # not settled: being drawn now, or by a process that died and not asked for again
    images: int = 0  # billed, refusals included
    dollars: float = 0.0

    @property
    def outcomes(self) -> dict[str, int]:
        """How many requests ended in which way, in words; ways in which none ended are left out."""
        counts = {
            "drawn": self.drawn,
            "refused": self.refused,
            "failed": self.failed,
            "paid for but lost": self.lost,
            "unknown whether paid": self.unknown,
            "under way": self.under_way,
        }
        return {outcome: count for outcome, count in counts.items() if count}
