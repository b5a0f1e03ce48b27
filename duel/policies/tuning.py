"""Which weights of a player are trained: a LoRA adapter on a shared frozen backbone, or all weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import Linear as LoraLinear
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from duel.devices import isolated_random_state
from duel.errors import DamagedError, RunError
from duel.policies.card import commit_of
from duel.policies.models import Model, language_linears
from duel.services.hub import SAFE_WEIGHTS
from duel.types import Player

ADAPTER = "adapter_model.safetensors"


class Tuning(Protocol):
    """A player's trainable weights: activating, saving and loading them."""

    @property
    def model(self) -> Model:
        """The model that the weights belong to."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The trainable fp32 weights, by name."""

    def active(self) -> Any:
        """Return a context in which the model has this player's weights."""

    def sampling(self) -> Any:
        """Return such a context for sampling without gradients, possibly with a faster but equivalent forward pass."""

    @property
    def has_reference(self) -> bool:
        """Whether `reference` can be used."""

    def reference(self) -> Any:
        """Return a context that yields the model before training, the KL reference."""

    def save(self, directory: Path) -> None:
        """Write the weights for evaluation."""

    def load(self, directory: Path) -> None:
        """Load the weights. Raises RunError when they do not fit the model."""


class LoraTuning:
    """An fp32 LoRA adapter, one of several on a backbone, selected by name (Hu et al. 2021, arXiv 2106.09685)."""

    def __init__(self, model: Model, backbone: PeftModel, player: Player) -> None:
        self.model = model
        self.backbone = backbone
        self.player = player
        self.parameters = {name: parameter for name, parameter in backbone.named_parameters() if f".{player}." in name}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Activate this player's adapter.

        PEFT lets only the active adapter require gradients; the other player's accumulated gradients are kept.
        """
        self.backbone.set_adapter(self.player)
        yield

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Activate this player's adapter; on the CPU in fp32, merged into copies of the weights.

        Merging saves two thirds of the matrix products. It is not done in bf16, where the sum would round small changes
        away, nor under CUDA graphs: a captured graph keeps using the weights merged at capture time.
        """
        model = self.model
        fold = model.device.type == "cpu" and model.compute_dtype is torch.float32
        layers: list[Any] = [m for m in model.network.modules() if isinstance(m, LoraLinear)] if fold else []
        with self.active(), torch.no_grad():
            for layer in layers:
                base: Any = layer.get_base_layer()
                weight = base.weight + layer.get_delta_weight(self.player)
                layer.forward = partial(nn.functional.linear, weight=weight, bias=base.bias)
            try:
                yield
            finally:
                for layer in layers:
                    del layer.forward

    @property
    def has_reference(self) -> bool:
        """True: the backbone is the reference."""
        return True

    @contextmanager
    def reference(self) -> Iterator[Model]:
        """Yield the backbone with adapters disabled."""
        with self.backbone.disable_adapter():
            yield self.model

    def save(self, directory: Path) -> None:
        """Write a PEFT adapter folder, which `PeftModel.from_pretrained` loads, with tokenizer or processor.

        Its config names the base model and its commit, also for the player whose adapter was added second.
        """
        directory.mkdir(parents=True, exist_ok=True)
        weights = get_peft_model_state_dict(self.backbone, adapter_name=self.player, save_embedding_layers=False)
        save_file({name: weight.contiguous() for name, weight in weights.items()}, directory / ADAPTER)
        config = copy(self.backbone.peft_config[self.player])
        config.base_model_name_or_path = self.model.network.name_or_path
        config.revision = commit_of(self.model.network)
        config.task_type = TaskType.CAUSAL_LM  # PEFT has no other for models that write text about images
        config.inference_mode = True
        config.save_pretrained(str(directory))
        (self.model.processor or self.model.tokenizer).save_pretrained(directory)

    def load(self, directory: Path) -> None:
        """Load the adapter's weights from a PEFT adapter folder. Raises RunError when they do not fit."""
        weights = read_weights(directory / ADAPTER)
        mine = get_peft_model_state_dict(self.backbone, adapter_name=self.player, save_embedding_layers=False)
        check_fit(directory, {name: tuple(weight.shape) for name, weight in mine.items()}, weights)
        set_peft_model_state_dict(self.backbone, weights, adapter_name=self.player)


class FullTuning:
    """All weights, kept in fp32; matrix products run in the compute dtype."""

    def __init__(self, model: Model, reference: Model | None) -> None:
        self.model = model
        self.reference_model = reference
        model.network.requires_grad_(True)
        self.parameters = dict(model.network.named_parameters())

    @contextmanager
    def active(self) -> Iterator[None]:
        """A no-op: the model is used by this player only."""
        yield

    sampling = active

    @property
    def has_reference(self) -> bool:
        """Whether a frozen copy was loaded, which a KL penalty needs."""
        return self.reference_model is not None

    @contextmanager
    def reference(self) -> Iterator[Model]:
        """Yield the frozen copy of the untrained model, loaded if kl_coef or anchor.coef is not 0."""
        assert self.reference_model is not None, "the reference is loaded where kl_coef or base.anchor.coef is not 0"
        yield self.reference_model

    def save(self, directory: Path) -> None:
        """Write a `save_pretrained` folder in the compute dtype, with tokenizer or processor.

        The fp32 weights are part of the training state.
        """
        network = self.model.network
        kept = self.parameters.keys() | dict(network.named_buffers()).keys()  # leaves out duplicates of tied weights
        weights = {k: v.to(self.model.compute_dtype) for k, v in network.state_dict().items() if k in kept}
        network.save_pretrained(directory, state_dict=weights)
        (self.model.processor or self.model.tokenizer).save_pretrained(directory)

    @torch.no_grad()
    def load(self, directory: Path) -> None:
        """Load the weights from a `save_pretrained` folder. Raises RunError when they do not fit."""
        try:
            with isolated_random_state():
                saved = type(self.model.network).from_pretrained(directory, dtype=torch.float32, **SAFE_WEIGHTS)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise DamagedError(f"cannot read weights from {directory}: {error}") from error
        weights = dict(saved.named_parameters())
        check_fit(directory, {name: tuple(weight.shape) for name, weight in self.parameters.items()}, weights)
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])


def add_adapter(
    backbone: PeftModel | None, model: Model, player: Player, rank: int, alpha: float, seed: int
) -> PeftModel:
    """Add a new adapter on all linear layers of the language model; until trained it does not change the output.

    Returns `backbone`, or the model wrapped as a new one. `seed` determines the initial weights.
    """
    first: Any = None if backbone is None else next(iter(backbone.peft_config.values()))
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # a scale; fractions are valid
        lora_dropout=0.0,
        target_modules=language_linears(model.network) if first is None else first.target_modules,
    )
    with isolated_random_state(model.device):  # PEFT initialises from the global random state
        torch.manual_seed(seed)
        if backbone is None:
            return get_peft_model(model.network, config, adapter_name=player)
        backbone.add_adapter(player, config)
    return backbone


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file. Raises DamagedError when it cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DamagedError(f"cannot read weights from {path}: {error}") from error


def check_fit(directory: Path, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, torch.Tensor]) -> None:
    """Raise RunError unless every expected tensor is present with its shape."""
    for name, shape in expected.items():
        if name not in found or tuple(found[name].shape) != shape:
            got = tuple(found[name].shape) if name in found else "nothing"
            raise RunError(f"the weights in {directory} do not fit this model: {name} is {got}, expected {shape}")
