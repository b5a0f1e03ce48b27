"""All settings of a run as pydantic models, filled from a profile and overrides; unknown keys are refused.

A field marked `operational` may be changed when a run is resumed; every other field defines the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from duel import instructions
from duel.schedule import Schedule
from duel.sections import OPERATIONAL, GeneratorSettings, JudgeSettings, NameOrClass, Section
from duel.types import Player, Scalar

OFFLINE = "offline"  # the name of the embedded models
Probability = Annotated[float, Field(ge=0, lt=1)]


class DataSettings(Section):
    """The data set: images and questions."""

    source: Literal["offline", "charxiv", "folder"] = Field(
        "offline", description="offline: rendered charts; charxiv: downloaded from its authors; folder: your own images"
    )
    path: Path | None = Field(
        None,
        description="the data set's directory, or your folder of images; "
        "empty: the directory under the state directory that `duel prepare` writes",
    )
    train_images: int = Field(75, ge=1, description="images to train on (used without an adversary)")
    test_images: int = Field(25, ge=1, description="held-out images, never trained on")
    charxiv_revision: str = Field(
        "main", min_length=1, description="commit or branch of CharXiv's images; the first download records its commit"
    )


class ModelSettings(Section):
    """The models, how they are tuned, and the device they run on."""

    base: str = Field("offline", description="hub name or local folder of the base model; offline: the embedded one")
    adversary: str | None = Field(None, description="the adversary's model; empty: the base model's checkpoint")
    embedder: str = Field(
        "offline", description="hub name or local folder of a DINOv2 model; offline: the embedded one"
    )
    policy: Annotated[str, NameOrClass("local")] = Field(
        "local", description="backend of the players; local: one device of this machine; or package.module:Class"
    )
    tuning: Literal["lora", "full"] = Field(
        "lora", description="lora: one frozen backbone and an fp32 adapter per player; full: fp32 weights per player"
    )
    lora_rank: int = Field(16, ge=1, description="rank of the adapters")
    lora_alpha: float = Field(32.0, gt=0, description="adapter output is scaled by lora_alpha / lora_rank")
    device: str = Field(
        "auto", description="torch device; auto: cuda if available, else cpu", json_schema_extra=OPERATIONAL
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="type of backbone weights and matrix products; auto: bfloat16 on cuda, float32 elsewhere"
    )
    max_pixels: int | None = Field(
        None, ge=784, description="largest image, in pixels, that the base model sees; empty: the model's own limit"
    )
    embedder_size: int | None = Field(
        None, ge=14, description="side of the square image that is embedded, in pixels; empty: the model's own"
    )
    gradient_checkpointing: bool = Field(
        False,
        description="recompute activations in the update: slower, with less memory",
        json_schema_extra=OPERATIONAL,
    )
    rows_per_forward: int = Field(
        64, ge=1, description="completions per forward and backward pass of the update; bounds its memory"
    )


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
    adversary: Annotated[str, NameOrClass("plain", "regret")] = Field(
        "plain",
        description="the adversary's reward for a prompt; plain: 1 - similarity; regret: ceiling - similarity, where "
        "the ceiling is the similarity of the original to a second drawing of its prompt; or package.module:Class",
    )
    gate: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="with regret: a prompt with a lower ceiling is invalid, because its drawing cannot be reproduced "
        "even from the prompt; its reward is `invalid`, and it is never replayed; empty: no gate",
    )
    invalid: float = Field(-0.2, le=0, description="with a gate: reward of an invalid or refused prompt")
    parameters: dict[str, Scalar] | None = Field(None, description="table of parameters for a reward class")


class ReplaySettings(Section):
    """The rounds called replay: the base describes hard drawings of earlier rounds again (prioritised level replay)."""

    capacity: int = Field(128, ge=1, description="drawings kept, those of highest regret")
    drawings: int = Field(6, ge=1, description="kept drawings described in one round")
    images: int = Field(2, ge=0, description="images of the data set described beside them")
    stale: Probability = Field(
        0.2, description="share of choices made by the time since a drawing was last described, in place of its regret"
    )


class OptimizerSettings(Section):
    """The AdamW optimizer of one player, on fp32 weights."""

    learning_rate: float = Field(5e-6, gt=0, description="learning rate, constant without warm-up")
    beta1: Probability = Field(0.9, description="decay of the running mean of gradients")
    beta2: Probability = Field(0.99, description="decay of the running mean of squared gradients")
    epsilon: float = Field(1e-8, gt=0, description="AdamW's epsilon, added to the denominator of a step")
    weight_decay: float = Field(0.1, ge=0, description="decoupled weight decay, on every trained weight")
    max_gradient_norm: float = Field(0.1, gt=0, description="gradients are clipped to this norm")


class PlayerSettings(Section):
    """Loss and optimizer of one player."""

    grpo: GRPOSettings = GRPOSettings()
    optimizer: OptimizerSettings = OptimizerSettings()


class EvaluationSettings(Section):
    """Evaluation on held-out images and on questions that training never sees."""

    every: int = Field(
        25, ge=1, description="rounds between proxy evaluations and checkpoints", json_schema_extra=OPERATIONAL
    )
    proxy_completions: int = Field(
        2, ge=1, description="descriptions per held-out image", json_schema_extra=OPERATIONAL
    )
    adversary_prompts: int = Field(
        16, ge=1, description="prompts per evaluation of the adversary", json_schema_extra=OPERATIONAL
    )
    completions: int = Field(10, ge=1, description="answers sampled per question", json_schema_extra=OPERATIONAL)
    temperature: float = Field(
        0.7, gt=0, description="temperature of question answering", json_schema_extra=OPERATIONAL
    )
    max_new_tokens: int = Field(512, ge=1, description="longest answer in tokens", json_schema_extra=OPERATIONAL)
    answer: str = Field(
        instructions.ANSWER,
        description="instruction for answering; {question} is replaced by the question",
        json_schema_extra=OPERATIONAL,
    )
    charts: int | None = Field(
        None,
        ge=1,
        description="number of charts, from the start of the test set; empty: all (925 of CharXiv; the reference "
        "experiment has 25)",
        json_schema_extra=OPERATIONAL,
    )
    questions: Literal["reasoning", "descriptive", "both"] = Field(
        "reasoning", description="kinds of questions; descriptive: CharXiv only", json_schema_extra=OPERATIONAL
    )
    report: Literal["last", "best"] = Field(
        "last",
        description="the checkpoint that is reported as the result; last: that with the most rounds; best: that with "
        "the highest pass@1 on the development charts. It cannot be changed on resume, so that the rule is set before "
        "results are known",
    )
    development_charts: int = Field(
        0,
        ge=0,
        description="charts for choosing the checkpoint of `report = best`, from the end of the test set (of CharXiv: "
        "not among the reference's 25); their questions do not count in the result",
    )
    questions_at_once: int = Field(
        25, ge=1, description="questions per batch; bounds memory", json_schema_extra=OPERATIONAL
    )

    @model_validator(mode="after")
    def _question_has_a_place(self) -> EvaluationSettings:
        if "{question}" not in self.answer:
            raise ValueError(f"got {self.answer!r}, expected a text with {{question}} in it")
        return self

    @model_validator(mode="after")
    def _best_is_chosen_on_its_own_charts(self) -> EvaluationSettings:
        if (self.report == "best") != (self.development_charts > 0):
            raise ValueError(
                f"got report = {self.report} and development_charts = {self.development_charts}; expected charts to "
                "choose by for best, and none for last"
            )
        return self


class ReportSettings(Section):
    """Appearance of plots and reports."""

    theme: Literal["christmas", "plain"] = Field(
        "christmas", description="colours and decoration of plots and report", json_schema_extra=OPERATIONAL
    )
    moving_average: int = Field(
        10, ge=1, description="window of the moving averages in plots, in points", json_schema_extra=OPERATIONAL
    )
    embed: bool = Field(
        False,
        description="embed the gallery's thumbnails in report.html, so that it can be sent as one file; "
        "false: they are files in report_files/, loaded while scrolling",
        json_schema_extra=OPERATIONAL,
    )


class Settings(Section):
    """All settings of a run."""

    seed: int = Field(0, ge=0, description="seed of all random streams of the run")
    rounds: int = Field(
        1000, ge=1, description="training rounds, of all players together", json_schema_extra=OPERATIONAL
    )
    order: tuple[Literal["base", "adversary", "replay"], ...] = Field(
        ("base", "adversary"),
        description="the turns, one per round, repeated: the player that trains, or replay: the base, on hard drawings of "
        "earlier rounds; one name: that player alone",
    )
    warm_up: int = Field(
        0, ge=0, description="rounds before `order` in which the base trains on the data set's images, as without adversary"
    )
    shared_draws: bool = Field(
        False,
        description="a base round right after an adversary round trains on the drawings and descriptions of that round "
        "instead of new ones; one set of draws trains both players",
    )
    originals: Literal["adversary", "dataset"] = Field(
        "adversary",
        description="what the base describes: drawings of the adversary's prompts, or the data set's images",
    )
    images_per_round: int = Field(1, ge=1, description="groups per round")
    keep_training_states: int = Field(
        2,
        ge=1,
        description="latest checkpoints that keep their optimizer state, needed to resume",
        json_schema_extra=OPERATIONAL,
    )
    data: DataSettings = DataSettings()
    models: ModelSettings = ModelSettings()
    sampling: SamplingSettings = SamplingSettings()
    rewards: RewardSettings = RewardSettings()
    replay: ReplaySettings = ReplaySettings()
    base: PlayerSettings = PlayerSettings()
    adversary: PlayerSettings = PlayerSettings()
    generator: GeneratorSettings = GeneratorSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    judge: JudgeSettings = JudgeSettings()
    report: ReportSettings = ReportSettings()

    @property
    def schedule(self) -> Schedule:
        """Which turn each round is."""
        return Schedule(self.order, self.warm_up)

    def limited(self, prompt_limit: int) -> Settings:
        """Return these settings with completions of at most `prompt_limit` tokens, the generator's limit."""
        longest = min(self.sampling.max_new_tokens, prompt_limit)
        return self.model_copy(update={"sampling": self.sampling.model_copy(update={"max_new_tokens": longest})})

    def player(self, player: Player) -> PlayerSettings:
        """Return the settings of a player's loss and optimizer."""
        return self.base if player == "base" else self.adversary

    @model_validator(mode="after")
    def _order_fits_originals(self) -> Settings:
        if not self.order:
            raise ValueError("order is empty, expected at least one of base, adversary")
        if "adversary" in self.order and self.originals == "dataset":
            raise ValueError("originals = dataset leaves the adversary nothing to do; set order = ['base']")
        return self

    @model_validator(mode="after")
    def _replay_has_something_to_replay(self) -> Settings:
        if "replay" not in self.order:
            return self
        if "adversary" not in self.order:
            raise ValueError("order has replay without adversary, whose rounds find the drawings; add adversary to it")
        if self.rewards.adversary == "plain":
            raise ValueError("order has replay, which goes by regret, but rewards.adversary = plain; set it to regret")
        return self

    @model_validator(mode="after")
    def _shared_draws_make_groups(self) -> Settings:
        if not self.shared_draws:
            return self
        turns = len(self.order)
        if ("adversary", "base") not in zip(self.order, self.order[1:], strict=False) or self.order[0] == "base":
            raise ValueError(
                f"shared_draws with order = {list(self.order)}; expected base right after adversary, not first"
            )
        if self.sampling.descriptions < 2:
            raise ValueError(
                f"shared_draws with sampling.descriptions = {self.sampling.descriptions}; expected at least 2: the "
                "descriptions of a drawing are a group of the base's"
            )
        if self.evaluation.every % turns or self.warm_up % turns:
            raise ValueError(
                f"shared_draws with evaluation.every = {self.evaluation.every} and warm_up = {self.warm_up}; expected "
                f"multiples of the {turns} turns in order: a checkpoint would part rounds that share draws"
            )
        return self
