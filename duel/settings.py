"""All settings of a run: one pydantic tree, filled from a profile and overrides, unknown keys refused.

A field marked `operational` may differ when a run is opened again; every other field defines the result.
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
    """Where the images and the questions come from."""

    source: Literal["offline", "charxiv", "folder"] = Field(
        "offline", description="offline: charts rendered here; charxiv: downloaded; folder: your own images"
    )
    path: Path | None = Field(
        None,
        description="the data set's directory, or your folder of images; "
        "empty: where `duel prepare` put it, under the state directory",
    )
    train_images: int = Field(75, ge=1, description="images to train on (used without an adversary)")
    test_images: int = Field(25, ge=1, description="held-out images, never trained on")
    charxiv_revision: str = Field(
        "main", min_length=1, description="commit or branch of CharXiv's images; the first download records its commit"
    )


class ModelSettings(Section):
    """Which models, how they are held and on what."""

    base: str = Field("offline", description="hub name or local folder of the base model; offline: the embedded one")
    adversary: str | None = Field(None, description="the adversary's model; empty: the base model's checkpoint")
    embedder: str = Field(
        "offline", description="hub name or local folder of a DINOv2 model; offline: the embedded one"
    )
    policy: Annotated[str, NameOrClass("local")] = Field(
        "local", description="what runs the players; local: one device of this machine; or package.module:Class"
    )
    tuning: Literal["lora", "full"] = Field(
        "lora", description="lora: one frozen backbone and an fp32 adapter per player; full: fp32 weights per player"
    )
    lora_rank: int = Field(16, ge=1, description="rank of the adapters")
    lora_alpha: float = Field(32.0, gt=0, description="adapter output is scaled by lora_alpha / lora_rank")
    device: str = Field("auto", description="auto: cuda if there is one, else cpu", json_schema_extra=OPERATIONAL)
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="backbone and matrix products; auto: bfloat16 on cuda, float32 elsewhere"
    )
    max_pixels: int | None = Field(
        None, ge=784, description="largest image, in pixels, that the base model sees; empty: the model's own limit"
    )
    embedder_size: int | None = Field(
        None, ge=14, description="side in pixels of the square that is embedded; empty: the model's own"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations in the update: slower, less memory", json_schema_extra=OPERATIONAL
    )
    rows_per_forward: int = Field(
        64, ge=1, description="completions in one forward and backward pass of the update; bounds its memory"
    )


class SamplingSettings(Section):
    """How completions are sampled; log-probabilities are computed from the same distribution."""

    group_size: int = Field(8, ge=2, description="completions per input; at least 2, since they are compared")
    temperature: float = Field(0.9, gt=0, description="divides the logits, in sampling and in scoring")
    max_new_tokens: int = Field(
        512, ge=1, description="longest completion in tokens; the generator's prompt limit lowers it"
    )
    descriptions: int = Field(
        1, ge=1, description="descriptions of each drawing in an adversary's round; it earns by their mean"
    )
    describe: str = Field(instructions.DESCRIBE, description="instruction of the base model")
    invent: str = Field(instructions.INVENT, description="instruction of the adversary")


class GRPOSettings(Section):
    """The loss."""

    kl_coef: float = Field(0.0, ge=0, description="weight of the KL penalty against the untrained model")
    advantage: Literal["standardised", "centred"] = Field(
        "standardised", description="standardised: (r - mean) / std of the group; centred: r - mean (Dr. GRPO)"
    )
    length_normalisation: Literal["completion", "batch", "constant"] = Field(
        "completion",
        description="completion: mean over each completion's tokens, then over completions (GRPO); "
        "batch: mean over all tokens (DAPO); constant: sum over tokens / max_new_tokens (Dr. GRPO)",
    )
    accumulation: int = Field(1, ge=1, description="rounds of one player whose gradients make one optimizer step")


class RewardSettings(Section):
    """What each player earns for how alike originals and reconstructions are."""

    base: Annotated[str, NameOrClass("similarity")] = Field(
        "similarity",
        description="what a description earns the base; similarity: of original and reconstruction; "
        "or package.module:Class",
    )
    adversary: Annotated[str, NameOrClass("plain", "regret")] = Field(
        "plain",
        description="what a prompt earns the adversary; plain: 1 - similarity; regret: ceiling - similarity, the "
        "ceiling being the similarity of the original to a second drawing of its prompt; or package.module:Class",
    )
    gate: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="with regret: a prompt with a lower ceiling is invalid, since not even itself brings its "
        "drawing back; it earns `invalid`, and its drawing is never replayed; empty: no gate",
    )
    invalid: float = Field(
        -0.2, le=0, description="with regret: reward of an invalid or refused prompt, if gate is set"
    )
    parameters: dict[str, Scalar] | None = Field(None, description="a table of what your own reward takes")


class ReplaySettings(Section):
    """The rounds called replay: the base describes hard drawings of earlier rounds again (prioritised level replay)."""

    capacity: int = Field(128, ge=1, description="drawings kept, those of highest regret")
    drawings: int = Field(6, ge=1, description="kept drawings described in one round")
    images: int = Field(2, ge=0, description="images of the data set described beside them")
    stale: Probability = Field(
        0.2, description="share of choices made by the time since a drawing was last described, in place of its regret"
    )


class OptimizerSettings(Section):
    """AdamW on fp32 weights."""

    learning_rate: float = Field(5e-6, gt=0, description="constant over the run, no warm-up")
    beta1: Probability = Field(0.9, description="decay of the running mean of gradients")
    beta2: Probability = Field(0.99, description="decay of the running mean of squared gradients")
    epsilon: float = Field(1e-8, gt=0, description="added to the denominator of a step")
    weight_decay: float = Field(0.1, ge=0, description="decoupled weight decay, on every trained weight")
    max_gradient_norm: float = Field(0.1, gt=0, description="gradients are clipped to this norm")


class PlayerSettings(Section):
    """How one player learns."""

    grpo: GRPOSettings = GRPOSettings()
    optimizer: OptimizerSettings = OptimizerSettings()


class EvaluationSettings(Section):
    """What is measured on images and questions that training never sees."""

    every: int = Field(
        25, ge=1, description="rounds between proxy evaluations and checkpoints", json_schema_extra=OPERATIONAL
    )
    proxy_completions: int = Field(
        2, ge=1, description="descriptions per held-out image", json_schema_extra=OPERATIONAL
    )
    adversary_prompts: int = Field(
        16, ge=1, description="prompts sampled to evaluate the adversary", json_schema_extra=OPERATIONAL
    )
    completions: int = Field(10, ge=1, description="answers sampled per question", json_schema_extra=OPERATIONAL)
    temperature: float = Field(
        0.7, gt=0, description="temperature of question answering", json_schema_extra=OPERATIONAL
    )
    max_new_tokens: int = Field(512, ge=1, description="longest answer in tokens", json_schema_extra=OPERATIONAL)
    answer: str = Field(
        instructions.ANSWER, description="instruction; {question} stands for it", json_schema_extra=OPERATIONAL
    )
    charts: int | None = Field(
        None,
        ge=1,
        description="first N charts of the test set; empty: all (of CharXiv 925, of which the reference has 25)",
        json_schema_extra=OPERATIONAL,
    )
    questions: Literal["reasoning", "descriptive", "both"] = Field(
        "reasoning", description="which questions are put; descriptive: CharXiv only", json_schema_extra=OPERATIONAL
    )
    report: Literal["last", "best"] = Field(
        "last",
        description="the checkpoint whose number is the result; last: after most rounds; best: by pass@1 on the "
        "development charts. Part of what defines the run, so that it is chosen before anyone has looked",
    )
    development_charts: int = Field(
        0,
        ge=0,
        description="charts at the end of the test set (of CharXiv among the 900 others) set aside for `report = "
        "best`; their questions never enter the final number",
    )
    questions_at_once: int = Field(
        25, ge=1, description="questions answered in one batch; bounds memory", json_schema_extra=OPERATIONAL
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
    """How plots and reports look."""

    theme: Literal["christmas", "plain"] = Field(
        "christmas", description="look of the plots", json_schema_extra=OPERATIONAL
    )
    moving_average: int = Field(
        10, ge=1, description="points averaged in the plots' smooth lines", json_schema_extra=OPERATIONAL
    )
    embed: bool = Field(
        False,
        description="put the gallery's small pictures into report.html, so that the one file can be sent; "
        "without, they lie in report_files/ beside it and load as one scrolls",
        json_schema_extra=OPERATIONAL,
    )


class Settings(Section):
    """A whole run."""

    seed: int = Field(0, ge=0, description="every random stream of the run starts from it")
    rounds: int = Field(1000, ge=1, description="rounds, counted over all players", json_schema_extra=OPERATIONAL)
    order: tuple[Literal["base", "adversary", "replay"], ...] = Field(
        ("base", "adversary"),
        description="who trains, round after round, repeated; one name: that player alone; replay: the base, on hard "
        "drawings of earlier rounds",
    )
    warm_up: int = Field(
        0,
        ge=0,
        description="rounds before that, in which the base trains on the data set's images as without adversary",
    )
    shared_draws: bool = Field(
        False,
        description="a base round right after an adversary's learns from the drawings and descriptions of that round, "
        "whose weights wrote them, in place of new ones: one set of draws teaches both",
    )
    originals: Literal["adversary", "dataset"] = Field(
        "adversary",
        description="what the base describes: drawings of the adversary's prompts, or the data set's images",
    )
    images_per_round: int = Field(1, ge=1, description="groups in one round")
    keep_training_states: int = Field(
        2, ge=1, description="checkpoints that keep what resuming needs", json_schema_extra=OPERATIONAL
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
        """Return these settings with completions of at most `prompt_limit` tokens: what the generator reads."""
        longest = min(self.sampling.max_new_tokens, prompt_limit)
        return self.model_copy(update={"sampling": self.sampling.model_copy(update={"max_new_tokens": longest})})

    def player(self, player: Player) -> PlayerSettings:
        """Return how a player learns."""
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
