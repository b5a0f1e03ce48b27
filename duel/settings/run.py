"""The settings of a whole run, and those of its data set and models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from duel.schedule import Schedule
from duel.settings.evaluation import EvaluationSettings, ReportSettings
from duel.settings.learning import (
    AdversaryPlayerSettings,
    BasePlayerSettings,
    PlayerSettings,
    ReplaySettings,
    RewardSettings,
    SamplingSettings,
)
from duel.settings.sections import OPERATIONAL, NameOrClass, Section
from duel.settings.services import GeneratorSettings, JudgeSettings
from duel.settings.spending import BudgetSettings
from duel.types import Player

OFFLINE = "offline"  # the name of the embedded models

REVISION = "commit, tag or branch of the {} on the hub; empty: main; a resumed run needs the commit it started with"


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
        "offline", description="hub name or local folder of a DINOv2, DINOv3 or SigLIP model; offline: the embedded one"
    )
    base_revision: str | None = Field(None, description=REVISION.format("base"), json_schema_extra=OPERATIONAL)
    adversary_revision: str | None = Field(
        None, description=REVISION.format("adversary"), json_schema_extra=OPERATIONAL
    )
    embedder_revision: str | None = Field(None, description=REVISION.format("embedder"), json_schema_extra=OPERATIONAL)
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
    chat_template_kwargs: dict[str, bool | int | str] = Field(
        default_factory=dict,
        description="further variables of the chat templates, such as {enable_thinking = false} for models that think",
    )
    rows_per_forward: int = Field(
        64, ge=1, description="completions per forward and backward pass of the update; bounds its memory"
    )


class Settings(Section):
    """All settings of a run."""

    seed: int = Field(0, ge=0, description="seed of all random streams of the run")
    rounds: int = Field(
        1000, ge=1, description="training rounds, of all players together", json_schema_extra=OPERATIONAL
    )
    order: tuple[Literal["base", "adversary", "replay"], ...] = Field(
        ("base", "adversary"),
        description="turns, one per round, repeated: the player that trains, or replay: the base, on hard drawings of "
        "earlier rounds; one name: that player alone",
    )
    warm_up: int = Field(
        0,
        ge=0,
        description="rounds before that, in which the base trains on the data set's images, without adversary",
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
    prompt_groups: int | None = Field(
        None, ge=1, description="groups of prompts in an adversary round; empty: as images_per_round"
    )
    keep_training_states: int = Field(
        2,
        ge=1,
        description="latest checkpoints that keep their optimizer state, needed to resume",
        json_schema_extra=OPERATIONAL,
    )
    max_skipped_updates: int = Field(
        3,
        ge=1,
        description="updates of a player in a row that may be skipped because loss, gradient or an embedding is not "
        "finite; the last of so many stops the run",
        json_schema_extra=OPERATIONAL,
    )
    data: DataSettings = DataSettings()
    models: ModelSettings = ModelSettings()
    sampling: SamplingSettings = SamplingSettings()
    rewards: RewardSettings = RewardSettings()
    replay: ReplaySettings = ReplaySettings()
    base: BasePlayerSettings = BasePlayerSettings()
    adversary: AdversaryPlayerSettings = AdversaryPlayerSettings()
    generator: GeneratorSettings = GeneratorSettings()
    budget: BudgetSettings = BudgetSettings()
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
        if self.rewards.adversary in ("plain", "learnability") and self.rewards.gate is None:
            raise ValueError(
                f"order has replay, which goes by regret, but rewards.adversary = {self.rewards.adversary} measures no "
                "ceilings; set it to regret, or set rewards.gate"
            )
        return self

    @model_validator(mode="after")
    def _past_adversaries_have_rounds(self) -> Settings:
        if self.adversary.past.share and not {"base", "adversary"} <= set(self.order):
            raise ValueError(
                f"adversary.past.share = {self.adversary.past.share} with order = {list(self.order)}; expected both "
                "base and adversary in it: a past adversary writes prompts for the base"
            )
        return self

    @model_validator(mode="after")
    def _learnability_has_a_spread(self) -> Settings:
        if self.rewards.adversary == "learnability" and self.sampling.descriptions < 2:
            raise ValueError(
                f"rewards.adversary = learnability with sampling.descriptions = {self.sampling.descriptions}; expected "
                "at least 2: it is the spread of the base's rewards for the descriptions of a drawing"
            )
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
