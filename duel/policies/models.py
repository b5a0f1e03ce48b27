"""Loads a causal or vision-language model with tokenizer, processor and the mask of tokens it may not generate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from duel.devices import isolated_random_state
from duel.errors import SettingsError
from duel.offline.embedded import resolve
from duel.policies.attention import GROUPED_SDPA
from duel.policies.features import FeatureMemo
from duel.policies.tokens import end_tokens, forbidden_tokens
from duel.services.hub import NO_CODE, SAFE_WEIGHTS, reason_of


@dataclass(frozen=True)
class Model:
    """A network with its tokenizer and processor. The network is always in eval mode (no dropout)."""

    network: PreTrainedModel
    tokenizer: Any
    processor: Any | None  # None for a text-only model
    compute_dtype: torch.dtype  # of matrix products
    end_tokens: Tensor  # (E,) token ids that end a completion
    forbidden_V: Tensor = field(repr=False)  # (V,) bool: tokens with probability 0 in sampling and scoring
    template_options: Mapping[str, Any] = field(default_factory=dict)  # further variables of the chat template
    features: FeatureMemo = field(default_factory=FeatureMemo, repr=False, compare=False)

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return self.network.device

    def autocast(self, cache_enabled: bool = True) -> AbstractContextManager[Any]:
        """Return a context in which matrix products run in the compute dtype; a no-op for float32."""
        mixed = self.compute_dtype is not torch.float32
        return torch.autocast(self.device.type, self.compute_dtype, enabled=mixed, cache_enabled=cache_enabled)


def load_model(
    name: str,
    *,
    device: torch.device,
    weights_dtype: torch.dtype,
    compute_dtype: torch.dtype,
    max_pixels: int | None,
    hub_token: str | None = None,
    revision: str | None = None,
    template_options: Mapping[str, Any] | None = None,
) -> Model:
    """Load a vision-language or a causal language model.

    Args:
        name: A hub name, a local folder, or "offline" for the embedded model.
        device: The network's device.
        weights_dtype: Dtype of the weights.
        compute_dtype: Dtype of matrix products.
        max_pixels: Larger images are scaled down to this area; None uses the processor's own limit.
        hub_token: For gated models; None uses the token that `huggingface_hub` finds.
        revision: Commit, tag or branch on the hub; None: main.
        template_options: Further variables of the chat template, such as `enable_thinking`.

    Raises:
        SettingsError: The model cannot be loaded, has no chat template, or its processor does not support `max_pixels`.
    """
    folder = resolve(name, "vlm")
    try:
        config = AutoConfig.from_pretrained(folder, token=hub_token, revision=revision or "main", **NO_CODE)
        sees = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        network_class = AutoModelForImageTextToText if sees else AutoModelForCausalLM
        processor = load_processor(folder, type(config), hub_token, revision) if sees else None
        tokenizer = (
            AutoTokenizer.from_pretrained(folder, token=hub_token, revision=revision or "main", **NO_CODE)
            if processor is None
            else processor.tokenizer
        )
        with isolated_random_state():
            network = network_class.from_pretrained(
                folder,
                dtype=weights_dtype,
                attn_implementation=GROUPED_SDPA,
                token=hub_token,
                revision=revision or "main",
                **SAFE_WEIGHTS,
            )
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"cannot load the model {name!r}: {reason_of(error)}; expected a hub name or a folder with config.json and "
            f"weights"
        ) from error
    if not (tokenizer.chat_template or (processor is not None and processor.chat_template)):
        raise SettingsError(f"the model {name!r} has no chat template; expected an instruction-tuned model")
    if processor is not None and max_pixels is not None:
        limit_pixels(processor, max_pixels, name)
    network.to(device)  # type: ignore[arg-type]  # a decorator hides its signature
    return assemble(network.eval(), tokenizer, processor, compute_dtype, template_options)


def check_model(name: str, hub_token: str | None = None, revision: str | None = None) -> None:
    """Raise SettingsError when the model does not exist; loads its config only."""
    try:
        AutoConfig.from_pretrained(resolve(name, "vlm"), token=hub_token, revision=revision or "main", **NO_CODE)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"cannot load the model {name!r}: {reason_of(error)}; expected a hub name or a folder with config.json"
        ) from error


def assemble(
    network: PreTrainedModel,
    tokenizer: Any,
    processor: Any | None,
    compute_dtype: torch.dtype,
    template_options: Mapping[str, Any] | None = None,
) -> Model:
    """Return the Model of a loaded network, with its end and forbidden tokens, a pad token and one chat template.

    Processor and tokenizer get each other's chat template where they have none, and the end token pads where no other
    does; padding is masked, so that any token will do.
    """
    if processor is not None and not processor.chat_template:
        processor.chat_template = tokenizer.chat_template
    if not tokenizer.chat_template and processor is not None:
        tokenizer.chat_template = processor.chat_template
    end = end_tokens(network, tokenizer, template_options or {})
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end[0])
    forbidden_V = forbidden_tokens(network, tokenizer, end).to(network.device)
    end_tensor = torch.tensor(end, device=network.device)
    return Model(network, tokenizer, processor, compute_dtype, end_tensor, forbidden_V, template_options or {})


def load_processor(folder: str, config_class: type, hub_token: str | None = None, revision: str | None = None) -> Any:
    """Return the model's processor; without torchvision, one that processes images but no videos.

    Video processors, which `AutoProcessor` always creates, need torchvision.
    """
    if find_spec("torchvision") is not None:
        return AutoProcessor.from_pretrained(folder, token=hub_token, revision=revision or "main", **NO_CODE)
    processor_class: Any = PROCESSOR_MAPPING[config_class]

    class ImageOnly(processor_class):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in processor_class.get_attributes() if name != "video_processor"]

        @classmethod
        def get_processor_dict(cls, *where: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
            arguments, rest = super().get_processor_dict(*where, **options)
            return {name: value for name, value in arguments.items() if name != "video_processor"}, rest

    ImageOnly.__name__ = processor_class.__name__  # `save_pretrained` writes it
    return ImageOnly.from_pretrained(folder, token=hub_token, revision=revision or "main", **NO_CODE)


def limit_pixels(processor: Any, max_pixels: int, name: str) -> None:
    """Make the processor scale images down to at most `max_pixels`. Raises SettingsError if it has no such limit."""
    size = dict(processor.image_processor.size)
    # Processors limited by area store it under the same keys as those limited by edge length.
    takes_areas = "max_pixels" in getattr(processor.image_processor.valid_kwargs, "__annotations__", {})
    if not takes_areas or "longest_edge" not in size or "shortest_edge" not in size:
        raise SettingsError(
            f"models.max_pixels = {max_pixels}, but the image processor of {name!r} has no such limit; leave it empty"
        )
    shortest = min(size["shortest_edge"], max_pixels)
    processor.image_processor.size = type(processor.image_processor.size)(
        shortest_edge=shortest, longest_edge=max_pixels
    )


def language_linears(network: PreTrainedModel) -> str:
    """Return a regular expression that matches the language model's linear layers, for LoRA's `target_modules`.

    PEFT's "all-linear" would adapt the vision tower too. Raises SettingsError for a family without any, such as GPT-2.
    """
    decoder = network.get_decoder()
    prefix = next(name for name, module in network.named_modules() if module is decoder)
    kinds = {name.rsplit(".", 1)[-1] for name, module in decoder.named_modules() if isinstance(module, nn.Linear)}
    if not kinds:
        raise SettingsError(
            f"a {network.config.model_type} model has no linear layers to adapt; set models.tuning = 'full'"
        )
    return rf"{re.escape(prefix)}\..*\.({'|'.join(sorted(kinds))})"
