"""Settings of sampling, rewards, replay, GRPO, the optimizer and the anchor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from duel import instructions
from duel.settings.sections import NameOrClass, Section
from duel.types import Scalar

Probability = Annotated[float, Field(ge=0, lt=1)]


class SamplingSettings(Section):
    """How completions are sampled; log-probabilities are computed from the same distribution."""

    group_size: int = Field(8, ge=2, description="completions per input, compared with each other")
    temperature: float = Field(0.9, gt=0, description="divides the logits, in sampling and in log-probabilities")
    max_new_tokens: int = Field(
        512, ge=1, description="longest completion in tokens; at most the generator's prompt limit"
    )
    descriptions: int = Field(
        1, ge=1, description="descriptions of each drawing in an adversary's round, whose mean is rewarded"
    )
    describe: str = Field(instructions.DESCRIBE, description="instruction to the base, which describes images")
    invent: str = Field(instructions.INVENT, description="instruction to the adversary, which writes prompts")


class GRPOSettings(Section):
    """The GRPO loss of one player."""

    kl_coef: float = Field(0.0, ge=0, description="weight of the KL penalty against the untrained model")
    advantage: Literal["standardised", "centred"] = Field(
        "standardised", description="standardised: (r - mean) / std of the group; centred: r - mean (Dr. GRPO)"
    )
    length_normalisation: Literal["completion", "batch", "constant"] = Field(
        "completion",
        description="completion: mean over each completion's tokens, then over completions (GRPO); "
        "batch: mean over all tokens (DAPO); constant: sum over tokens / max_new_tokens (Dr. GRPO)",
    )
    accumulation: int = Field(1, ge=1, description="rounds of the player per optimizer step (gradient accumulation)")


class RewardSettings(Section):
    """The players' rewards, computed from the similarities of originals and reconstructions."""

    base: Annotated[str, NameOrClass("similarity")] = Field(
        "similarity",
        description="the base's reward for a description; similarity: that of original and reconstruction; "
        "or package.module:Class",
    )
    adversary: Annotated[str, NameOrClass("plain", "regret", "learnability")] = Field(
        "plain",
        description="the adversary's reward for a prompt; plain: 1 - similarity; regret: ceiling - similarity, where "
        "the ceiling is the similarity of the original to a second drawing of its prompt; learnability: the standard "
        "deviation of the base's rewards for the descriptions of a drawing; or package.module:Class",
    )
    gate: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="with any reward: a prompt with a lower ceiling is invalid, because its drawing cannot be "
        "reproduced even from the prompt; its reward is `invalid`, and it is never replayed; prompts are then drawn a "
        "second time; empty: no gate",
    )
    off_topic: float | None = Field(
        None,
        gt=0,
        le=1,
        description="with any reward: a prompt is invalid when its drawing is less similar to the nearest training "
        "image than this share of the held-out images are; 1: than all of them; empty: every topic is allowed",
    )
    invalid: float = Field(-0.2, le=0, description="with `gate` or `off_topic`: reward of an invalid or refused prompt")
    diversity: float = Field(
        0.0,
        ge=0,
        description="subtracted from the reward of a prompt whose drawing is a near-duplicate of another one of the "
        "group or of recent rounds",
    )
    duplicate: float = Field(
        0.95, ge=-1, le=1, description="similarity of two drawings from which on they are near-duplicates"
    )
    memory: int = Field(
        0, ge=0, description="recent adversary rounds whose drawings count too, embedded again in every such round"
    )
    parameters: dict[str, Scalar] | None = Field(None, description="table of parameters for a reward class")


class ReplaySettings(Section):
    """The rounds called replay: the base describes hard drawings of earlier rounds again (prioritised level replay)."""

    capacity: int = Field(128, ge=1, description="drawings kept, those of highest regret")
    drawings: int = Field(6, ge=1, description="kept drawings described in one round")
    images: int = Field(2, ge=0, description="images of the data set described beside them")
    stale: Probability = Field(
        0.2, description="share of choices by how long ago a drawing was described, in place of its regret"
    )


class OptimizerSettings(Section):
    """The AdamW optimizer of one player, on fp32 weights."""

    learning_rate: float = Field(5e-6, ge=0, description="learning rate, constant without warm-up; 0: stays untrained")
    beta1: Probability = Field(0.9, description="decay of the running mean of gradients")
    beta2: Probability = Field(0.99, description="decay of the running mean of squared gradients")
    epsilon: float = Field(1e-8, gt=0, description="AdamW's epsilon, added to the denominator of a step")
    weight_decay: float = Field(0.1, ge=0, description="decoupled weight decay, on every trained weight")
    max_gradient_norm: float = Field(0.1, gt=0, description="gradients are clipped to this norm")


class PastSettings(Section):
    """Past adversaries as opponents of the base (fictitious self-play); see docs/adversary.md."""

    share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the base's rounds whose prompts a past adversary writes in place of the present one",
    )
    every: int = Field(25, ge=1, description="rounds of the adversary from one snapshot to the next")
    kept: int = Field(4, ge=1, description="latest snapshots, of which one is chosen, each equally likely")


class PlayerSettings(Section):
    """Loss and optimizer of one player."""

    grpo: GRPOSettings = GRPOSettings()
    optimizer: OptimizerSettings = OptimizerSettings()


class AnchorSettings(Section):
    """A penalty on the divergence from the untrained model on its own answers; see docs/abilities.md."""

    coef: float = Field(
        0.0,
        ge=0,
        description="weight of KL(untrained || base), summed over the tokens of an answer that the untrained model "
        "gives about a training image; 0: no anchor",
    )
    images: int = Field(8, ge=1, description="training images asked about in each round of the base")
    questions: tuple[str, ...] = Field(
        instructions.ANCHOR_QUESTIONS,
        min_length=1,
        description="one per round, in turn; the canary leaves them out",
    )
    answer: tuple[str, ...] = Field(
        (instructions.ANSWER,),
        min_length=1,
        description="instructions, one per round, in turn before the question changes; {question} is replaced by it",
    )
    last_tokens: int | None = Field(
        None,
        ge=1,
        description="of each answer only so many last tokens count: what comes before them, such as a description, "
        "training may change; empty: all count",
    )
    temperature: float = Field(0.7, gt=0, description="of the answers, and of the distributions compared")
    max_new_tokens: int = Field(16, ge=1, description="longest answer in tokens")

    @field_validator("answer", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, answer: object) -> object:
        return (answer,) if isinstance(answer, str) else answer

    @field_validator("answer")
    @classmethod
    def _question_has_a_place(cls, answer: tuple[str, ...]) -> tuple[str, ...]:
        for instruction in answer:
            if "{question}" not in instruction:
                raise ValueError(f"got {instruction!r}, expected a text with {{question}} in it")
        return answer

    def instruction(self, turn: int) -> str:
        """Return the instruction of the base's `turn`-th round, from 0: a question is asked in every way in turn."""
        question, way = divmod(turn, len(self.answer))
        return self.answer[way].replace("{question}", self.questions[question % len(self.questions)])


class BasePlayerSettings(PlayerSettings):
    """Loss, optimizer and anchor of the base."""

    anchor: AnchorSettings = AnchorSettings()


class AdversaryPlayerSettings(PlayerSettings):
    """Loss and optimizer of the adversary, and its past selves."""

    past: PastSettings = PastSettings()
