"""All settings of a run: one pydantic tree, filled from a profile and overrides, unknown keys refused.

A field marked `operational` may differ when a run is opened again; every other field defines the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from duel import instructions
from duel.types import Player, Scalar

OPERATIONAL: dict[str, Any] = {"operational": True}
OFFLINE = "offline"  # the name of the embedded models
Probability = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Base of all settings: unknown keys are refused, values cannot be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


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


class OptimizerSettings(Section):
    """AdamW on fp32 weights."""

    learning_rate: float = Field(5e-6, gt=0)
    adversary_learning_rate: float | None = Field(None, gt=0, description="empty: as learning_rate")
    beta1: Probability = 0.9
    beta2: Probability = 0.99
    epsilon: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    max_gradient_norm: float = Field(0.1, gt=0, description="gradients are clipped to this norm")


class GeneratorSettings(Section):
    """Which service draws, with what, how fast, and at what price."""

    service: Literal["offline", "replicate", "diffusers"] = Field(
        "offline",
        description="offline: the chart renderer on this machine; replicate: a paid service; "
        "diffusers: a diffusion model on this machine",
    )
    model: str = Field(
        "black-forest-labs/flux-schnell",
        description="the service's model; for diffusers a hub name or local folder; unused offline",
    )
    version: str | None = Field(
        None, description="pinned version (replicate) or revision (diffusers); empty: the official model's, main"
    )
    parameters: dict[str, Scalar] | None = Field(
        None,
        description="a table of what else the model takes, such as size and steps; it overrides the reference's "
        "values, which flux-schnell has by default",
    )
    prompt_limit: int | None = Field(
        None,
        ge=1,
        description="text tokens the model reads; empty: known for flux-schnell, the tokenizer's for diffusers",
    )
    concurrency: int = Field(8, ge=1, description="draws under way at once", json_schema_extra=OPERATIONAL)
    requests_per_minute: float = Field(
        600, gt=0, description="predictions created in a minute, at most (replicate)", json_schema_extra=OPERATIONAL
    )
    deadline_seconds: float = Field(
        300, gt=0, description="one draw may take so long, retries included (replicate)", json_schema_extra=OPERATIONAL
    )
    dollars_per_image: float = Field(
        0.003, ge=0, description="price that the spend ledger counts with (replicate)", json_schema_extra=OPERATIONAL
    )
    batch_size: int = Field(
        4, ge=1, description="images drawn at once on this machine (diffusers)", json_schema_extra=OPERATIONAL
    )

    @model_validator(mode="after")
    def _parameters_leave_the_draw_alone(self) -> GeneratorSettings:
        parameters = self.parameters or {}
        for name in ("prompt", "seed", "generator"):
            if name in parameters:
                raise ValueError(f"parameters holds {name!r}, which differs from draw to draw; remove it")
        if parameters.get("num_outputs", 1) != 1:
            raise ValueError(f"parameters.num_outputs is {parameters['num_outputs']!r}, expected 1: an image a draw")
        if self.service == "replicate" and self.prompt_limit is None and self.model != "black-forest-labs/flux-schnell":
            raise ValueError(f"prompt_limit is empty; how many text tokens does {self.model} read?")
        return self


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
    charts_per_stratum: int | None = Field(
        0,
        ge=0,
        description="first N charts of each stratum, measured apart, in proxy evaluations and questions; empty: all. "
        "The offline data set alone has strata",
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


class JudgeSettings(Section):
    """Who grades answers."""

    service: Literal["exact", "openai"] = Field(
        "exact",
        description="exact: equal texts or numbers, on this machine; openai: CharXiv's rubrics, a paid service",
        json_schema_extra=OPERATIONAL,
    )
    model: str = Field(
        "gpt-4.1", min_length=1, description="the service's model; unused by exact", json_schema_extra=OPERATIONAL
    )
    concurrency: int = Field(8, ge=1, description="requests under way at once", json_schema_extra=OPERATIONAL)
    timeout_seconds: float = Field(60, gt=0, description="one request may take so long", json_schema_extra=OPERATIONAL)
    deadline_seconds: float = Field(
        600, gt=0, description="one answer may take so long, retries included", json_schema_extra=OPERATIONAL
    )


class ReportSettings(Section):
    """How plots and reports look."""

    theme: Literal["christmas", "plain"] = Field("christmas", json_schema_extra=OPERATIONAL)
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
    order: tuple[Player, ...] = Field(
        ("base", "adversary"), description="who trains, round after round; one name: that player alone"
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
    grpo: GRPOSettings = GRPOSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    generator: GeneratorSettings = GeneratorSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    judge: JudgeSettings = JudgeSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _order_fits_originals(self) -> Settings:
        if not self.order:
            raise ValueError("order is empty, expected at least one of base, adversary")
        if "adversary" in self.order and self.originals == "dataset":
            raise ValueError("originals = dataset leaves the adversary nothing to do; set order = ['base']")
        return self
