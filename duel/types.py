"""The dataclasses passed between stages, and the letters that name tensor dimensions.

    I  inputs of one stage: images to describe, or instructions to write prompts for
    G  completions sampled for one input (a group)
    B  rows of a batch, B = I * G, row = input * G + completion
    T  completion tokens, right-padded
    L  prompt tokens plus T
    V  vocabulary

All are frozen and hold only text, numbers, short lists and image-store keys, so that each can be stored as JSON. Lists
with an entry per token are packed into one string, because Prefect traverses lists element by element.
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
EMBEDDED = "embedded"  # the service of what is drawn in this process
InvalidReason = Literal["refused", "ceiling", "off_topic"]  # why a prompt is invalid, the first that holds
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class ModelInput:
    """Input of a policy: an instruction and, for the base, an image file."""

    instruction: str
    image: bytes | None = None


@dataclass(frozen=True)
class Completion:
    """One sampled text with its tokens, including the end token if it was sampled.

    Log-probabilities are ignored in comparisons and in digests of stage inputs, because rounding may change them.
    """

    text: str
    packed_tokens: str  # decimal token ids separated by spaces
    finished: bool  # the end token was sampled; False: cut at the token limit
    packed_logprobs: str = field(default="", compare=False)  # from `pack_logprobs`; empty: unknown

    @property
    def tokens(self) -> list[int]:
        """The token ids."""
        return [int(token) for token in self.packed_tokens.split()]

    @property
    def logprobs(self) -> list[float]:
        """Log-probability of each token in the distribution it was sampled from; empty if unknown."""
        packed = base64.b64decode(self.packed_logprobs, validate=True)
        return [value for (value,) in struct.iter_unpack("<f", packed)]


def pack_logprobs(logprobs: Sequence[float]) -> str:
    """Return the values as base64 of little-endian float32, 16 characters per three values."""
    return base64.b64encode(struct.pack(f"<{len(logprobs)}f", *logprobs)).decode("ascii")


@dataclass(frozen=True)
class DrawRequest:
    """A request for one image. Requests with equal fields have the same key in the image store and are drawn once.

    `service` is the address that draws it, so that images of a test server never pass for those of the real one.
    """

    generator: str
    version: str
    text: str
    seed: int
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    service: str = EMBEDDED  # address of the service; EMBEDDED: drawn in this process

    @property
    def key(self) -> str:
        """SHA-256 (hex) of the request as canonical JSON: sorted keys, no spaces, UTF-8, no NaN.

        What is drawn in this process has no service in it: name and version say all, and older keys stay valid.
        """
        fields: dict[str, object] = {
            "generator": self.generator,
            "version": self.version,
            "text": self.text,
            "seed": self.seed,
            "parameters": dict(self.parameters),
        }
        if self.service != EMBEDDED:
            fields["service"] = self.service
        encoded = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(encoded.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class DrawnImage:
    """An image file as returned by the generator."""

    data: bytes
    media_type: str  # e.g. image/png


@dataclass(frozen=True)
class Refusal:
    """The generator's permanent refusal to draw a text, e.g. by a content filter."""

    reason: str


@dataclass(frozen=True)
class Drawing:
    """A text and the store key of its image; `key` is None when the generator refused the text."""

    text: str
    seed: int
    key: str | None
    refusal: str | None = None
    replay_age: int | None = field(default=None, compare=False)  # rounds since it was described; None: not replayed


@dataclass(frozen=True)
class DrawnGroups:
    """The drawings of a stage by group, and how many of them were drawn rather than found in the store."""

    drawings: list[list[Drawing]]  # (I, G)
    made: int  # images drawn, including those drawn by an earlier try of the stage


@dataclass(frozen=True)
class PromptParts:
    """What rewards of the adversary are made of, for one prompt; measured whichever reward trains."""

    learnability: float | None  # standard deviation (divisor k) of the base's rewards; None: fewer than two of them
    invalid: InvalidReason | None  # None: the prompt is valid
    self_similarity: float | None = None  # to the most similar other drawing of the group or of recent rounds
    penalty: float = 0.0  # what its reward was reduced by, as a near-duplicate
    nearness: float | None = None  # cosine of its drawing to the nearest training image; None: not measured
    cluster: int | None = None  # prompts of a group with near-duplicate drawings have the same; None: refused


@dataclass(frozen=True)
class Attempt:
    """One pass through the loop: an original, its description, and the reconstruction.

    `original.text` is the prompt (or the file name of a data set's image), `reconstruction.text` the
    description. `similarity` is None where one of the two images was refused; `reward` is None where the
    attempt takes no part in the update. `ceiling` is the similarity of the original to a second drawing of its
    prompt; None where neither the adversary's reward nor the gate asks for one, or one of these two was refused.
    `parts` is None where the base learns.
    """

    original: Drawing
    reconstruction: Drawing
    similarity: float | None
    reward: float | None
    ceiling: float | None = None
    parts: PromptParts | None = None


@dataclass(frozen=True)
class Group:
    """The completions sampled for one input, each with its attempt."""

    completions: list[Completion]  # (G,)
    attempts: list[Attempt]  # (G,)


@dataclass(frozen=True)
class UpdateReport:
    """Result of one update of a player."""

    loss: float | None  # None: the update was skipped, because its loss, a gradient or an embedding was not finite
    gradient_norm: float | None  # None: gradients were accumulated, no optimizer step was taken
    groups: int
    skipped_groups: int  # without gradient, because all rewards are equal
    rounds_learned: int  # rounds this player has learned from so far
    optimizer_steps: int
    # |log-probability in the update - log-probability at sampling| over the tokens that the update learned from.
    # None: there were none, or what they were sampled with is not known.
    logprob_gap_mean: float | None = None
    logprob_gap_max: float | None = None
    divergence: float | None = None  # KL to the untrained model, nats per token, before the update; None: not measured
    anchor_divergence: float | None = None  # KL(untrained || base), nats per token of the anchor; None: no anchor
    skipped_updates: int = 0  # updates of this player skipped so far


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
    past_adversary: int | None = None  # which wrote the prompts, by the rounds it had learned from; None: the present


@dataclass(frozen=True)
class RoundRecord:
    """The reproducible results of one round."""

    round: int
    player: Player
    groups: list[Group]
    update: UpdateReport
    draws_asked: int  # distinct images the round needed, drawn or found in the store
    past_adversary: int | None = None  # as in Rollout


@dataclass(frozen=True)
class PlayedRound:
    """A round's record, and what may differ between two equal runs: durations and the number of images drawn."""

    record: RoundRecord
    seconds: dict[str, float]  # by stage
    draws_made: int  # images drawn, out of `record.draws_asked`


@dataclass(frozen=True)
class Question:
    """One question about a chart, in the layout of CharXiv's test set."""

    figure_id: str
    image_path: str  # relative to the data set's directory
    question: str  # as shown to the judge, without instructions
    ground_truth: str
    answer_category: int  # 1 text in chart, 2 text in general, 3 number in chart, 4 number in general; 0 descriptive
    question_id: int | None = None  # of a descriptive question: its template, 1 to 19
    instruction: str | None = None  # the model's whole input text; None: made from `evaluation.answer`
    stratum: str | None = None  # of a chart in one of the data set's strata, whose results are kept separate

    @property
    def kind(self) -> QuestionKind:
        """`descriptive` for CharXiv's 19 fixed questions about what a chart shows, `reasoning` for all others."""
        return "reasoning" if self.question_id is None else "descriptive"


@dataclass(frozen=True)
class Grade:
    """A judge's verdict on one answer; `score` is None when the answer could not be graded."""

    score: float | None
    extracted: str


@dataclass(frozen=True)
class Spend:
    """Cost of images and grades of one run or of all runs, from the spend ledger. Counts are predictions."""

    predictions: int = 0  # created at the service, as far as known
    drawn: int = 0
    refused: int = 0
    failed: int = 0
    lost: int = 0  # paid for, but the service had deleted the image
    unknown: int = 0  # unknown whether paid: the response was lost and the service no longer lists the prediction
    under_way: int = 0  # not settled: being drawn, or started by a process that died and not requested again
    images: int = 0  # billed, refusals included
    dollars: float = 0.0
    uncertain: int = 0  # images that may have been billed besides: the service did not say
    grades: int = 0  # requests to a judge
    grade_dollars: float = 0.0
    rehearsed_dollars: float = 0.0  # of all dollars, those counted for services of this machine, which cost nothing

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of requests by outcome, and of images possibly billed besides; what did not occur is left out."""
        counts = {
            "drawn": self.drawn,
            "refused": self.refused,
            "failed": self.failed,
            "paid for but lost": self.lost,
            "unknown whether paid": self.unknown,
            "under way": self.under_way,
            "possibly billed besides": self.uncertain,
        }
        return {outcome: count for outcome, count in counts.items() if count}
