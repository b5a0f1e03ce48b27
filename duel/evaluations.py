"""Results of the proxy evaluations: held-out similarity, strata, the canary, and the adversary's fresh prompts."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CanaryResult:
    """The base's answers to a fixed handful of questions about held-out charts, graded by equal text or number."""

    questions: list[str]  # figure id and question, (Q,)
    scores: list[float]  # (Q,), means over a question's answers, in [0, 1]
    unfinished: list[float]  # (Q,), shares of a question's answers that were cut at the token limit


@dataclass(frozen=True)
class StratumEvaluation:
    """Evaluation of the base on one stratum of held-out images."""

    name: str
    images: list[str]  # file names, (I,)
    similarities: list[float | None]  # (I,), as in BaseEvaluation


@dataclass(frozen=True)
class BaseEvaluation:
    """Evaluation of the base: similarity of held-out images to their reconstructions, and the canary."""

    images: list[str]  # file names, (I,)
    similarities: list[float | None]  # (I,), means over an image's descriptions; None: every reconstruction was refused
    draws_asked: int  # distinct images needed, drawn now or found in the store
    draws_made: int  # images drawn for it rather than found
    canary: CanaryResult | None = None  # None: the data set has no questions for it, or none are wanted
    strata: list[StratumEvaluation] = field(default_factory=list)  # of the data set's strata; not in `similarities`


@dataclass(frozen=True)
class AdversaryEvaluation:
    """Evaluation of the adversary: rewards of freshly sampled prompts, each drawn, described and redrawn.

    Where each is described several times, similarities are means, and descriptions those whose similarity is nearest.
    """

    prompts: list[str]  # (I,)
    descriptions: list[str]  # (I,), empty where the prompt was refused
    similarities: list[float | None]  # (I,), None where one of the two images was refused
    rewards: list[float | None]  # (I,), None for a prompt without reward
    draws_asked: int  # distinct images needed, drawn now or found in the store
    draws_made: int  # images drawn for it rather than found
    ceilings: list[float | None] = field(default_factory=list)  # (I,), or empty if the reward needs none


@dataclass(frozen=True)
class ProxyEvaluation:
    """Proxy evaluation of the players under fixed seeds; None for a player that does not train."""

    rounds_done: int
    base: BaseEvaluation | None
    adversary: AdversaryEvaluation | None
