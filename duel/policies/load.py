"""Loads the policies of a run (base and adversary) from its settings."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from peft import PeftModel

from duel.devices import choose_device
from duel.plugins import load_plugin
from duel.policies.consistency import check_continuation
from duel.policies.models import Model, load_model
from duel.policies.optimizer import PlayerOptimizer
from duel.policies.policy import LocalPolicy, Policy
from duel.policies.tuning import FullTuning, LoraTuning, Tuning, add_adapter
from duel.policies.update import LearningSettings
from duel.randomness import derive_seed
from duel.settings import AnchorSettings, Settings, is_plugin
from duel.types import Player

HubModel = tuple[str, str | None]  # hub name or local folder, and revision


def load_players(
    settings: Settings, players: Sequence[Player] | None = None, hub_token: str | None = None
) -> Mapping[Player, Policy]:
    """Load the policies that a run needs: the base, and the adversary if it writes the prompts.

    With LoRA, players with the same checkpoint share one frozen backbone. A plug-in policy class is called with the
    settings, `player` and `load_local`, a function that returns that player's LocalPolicy and loads its weights only
    when called.

    Args:
        settings: The run's settings.
        players: Load only these; None loads all that the run needs.
        hub_token: For gated models; None uses the token that `huggingface_hub` finds.

    Raises:
        SettingsError: A model or a policy cannot be loaded, or the device does not exist.
    """
    needed: tuple[Player, ...] = ("base", "adversary") if settings.originals == "adversary" else ("base",)
    wanted = tuple(players or needed)
    policy = settings.models.policy
    if not is_plugin(policy):
        return load_local(settings, wanted, hub_token)
    loaded: dict[Player, LocalPolicy] = {}  # all at once, since they may share a backbone

    def load_one(player: Player) -> LocalPolicy:
        if not loaded:
            loaded.update(load_local(settings, wanted, hub_token))
        return loaded[player]

    return {
        player: load_plugin(
            "models.policy", policy, Policy, settings, player=player, load_local=functools.partial(load_one, player)
        )
        for player in wanted
    }


def load_local(settings: Settings, players: Sequence[Player], hub_token: str | None) -> Mapping[Player, LocalPolicy]:
    """Load these players on one device of this machine."""
    models = settings.models
    names: dict[Player, HubModel] = dict.fromkeys(players, (models.base, models.base_revision))
    if models.adversary is not None and "adversary" in names:
        names["adversary"] = (models.adversary, models.adversary_revision)
    if settings.models.tuning == "lora":
        tunings = _load_lora(settings, names, hub_token)
    else:
        tunings = {player: _load_full(settings, player, names[player], hub_token) for player in players}
    return {player: assemble_policy(player, tuning, settings) for player, tuning in tunings.items()}


def assemble_policy(player: Player, tuning: Tuning, settings: Settings) -> LocalPolicy:
    """Return a LocalPolicy with the player's weights, optimizer and learning settings."""
    how = settings.player(player)
    optimizer = PlayerOptimizer(tuning.parameters, how.optimizer, how.grpo.accumulation)
    learning = LearningSettings(
        grpo=how.grpo,
        temperature=settings.sampling.temperature,
        max_new_tokens=settings.sampling.max_new_tokens,
        rows_per_forward=settings.models.rows_per_forward,
        gradient_checkpointing=settings.models.gradient_checkpointing,
        anchor=settings.base.anchor if player == "base" else AnchorSettings(),
    )
    return LocalPolicy(player, tuning, optimizer, learning)


def add_lora(models: Mapping[Player, Model], settings: Settings) -> dict[Player, Tuning]:
    """Add a LoRA adapter per player; players that map to the same Model object share its backbone."""
    backbones: dict[int, PeftModel] = {}
    for player, model in models.items():
        model.network.requires_grad_(False)
        backbones[id(model)] = add_adapter(
            backbones.get(id(model)),
            model,
            player,
            rank=settings.models.lora_rank,
            alpha=settings.models.lora_alpha,
            seed=derive_seed(settings.seed, "adapter", player),
        )
    return {player: LoraTuning(model, backbones[id(model)], player) for player, model in models.items()}


def _load_lora(settings: Settings, names: Mapping[Player, HubModel], hub_token: str | None) -> dict[Player, Tuning]:
    dtype = compute_dtype(settings)
    loaded = {name: _load(settings, name, dtype, hub_token) for name in set(names.values())}
    return add_lora({player: loaded[name] for player, name in names.items()}, settings)


def _load_full(settings: Settings, player: Player, name: HubModel, hub_token: str | None) -> Tuning:
    model = _load(settings, name, torch.float32, hub_token)
    anchored = player == "base" and settings.base.anchor.coef > 0
    if not settings.player(player).grpo.kl_coef and not anchored:
        return FullTuning(model, reference=None)
    reference = _load(settings, name, compute_dtype(settings), hub_token)
    reference.network.requires_grad_(False)
    return FullTuning(model, reference)


def _load(settings: Settings, model: HubModel, weights_dtype: torch.dtype, hub_token: str | None) -> Model:
    name, revision = model
    loaded = load_model(
        name,
        device=choose_device(settings.models.device),
        weights_dtype=weights_dtype,
        compute_dtype=compute_dtype(settings),
        max_pixels=settings.models.max_pixels,
        hub_token=hub_token,
        revision=revision,
        template_options=settings.models.chat_template_kwargs,
    )
    check_continuation(loaded, name)
    return loaded


def compute_dtype(settings: Settings) -> torch.dtype:
    """Return the dtype of matrix products: as set; `auto` is bfloat16 on CUDA and float32 elsewhere."""
    if settings.models.dtype == "auto":
        return torch.bfloat16 if choose_device(settings.models.device).type == "cuda" else torch.float32
    return torch.bfloat16 if settings.models.dtype == "bfloat16" else torch.float32
