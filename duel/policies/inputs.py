"""Tokenised model inputs: chat template, image processor and position ids."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from duel.errors import DataError, SettingsError
from duel.images import decode_image, open_image, read_image_file
from duel.policies.models import Model
from duel.types import ModelInput

LONG, SHORT = 10, 32  # times as long as wide, and pixels: beyond these a processor is asked whether it takes an image


@dataclass(frozen=True)
class Prompts:
    """A batch of I distinct prompts, left-padded to P tokens."""

    input_ids_IP: Tensor  # (I, P)
    attention_mask_IP: Tensor  # (I, P), 0 on padding
    position_ids: Tensor  # (I, P), or (3, I, P) for models with multimodal RoPE
    images: Mapping[str, Tensor]  # the processor's image tensors, by the model's argument names
    digest: str  # of the image files in their order; empty: there are none

    @property
    def next_position_I(self) -> Tensor:
        """The position id of each prompt's first completion token, (I,)."""
        last = self.position_ids.amax(-1)
        return (last if last.ndim == 1 else last.amax(0)) + 1


def check_shapes(model: Model, paths: Iterable[Path]) -> None:
    """Raise DataError for an image file whose shape the model's processor refuses, such as one far wider than high.

    Only images far from square, or with a short side, are given to it: their headers tell.
    """
    if model.processor is None:
        return
    for path in paths:
        data = read_image_file(path)
        with open_image(data) as image:
            width, height = image.size
        if max(width, height) < LONG * min(width, height) and min(width, height) >= SHORT:
            continue
        try:
            model.processor.image_processor(images=[decode_image(data)], return_tensors="pt")
        except ValueError as error:
            reason = str(error).partition("\n")[0]
            raise DataError(
                f"{path} of {width} x {height} pixels: the model's image processor refuses it: {reason}; crop or pad "
                "it, or leave it out"
            ) from None


def distinct(inputs: Sequence[ModelInput]) -> tuple[list[ModelInput], list[int]]:
    """Return the distinct inputs in order of appearance, and each input's index among them."""
    index: dict[ModelInput, int] = {}
    places = [index.setdefault(given, len(index)) for given in inputs]
    return list(index), places


def build_prompts(model: Model, inputs: Sequence[ModelInput]) -> Prompts:
    """Tokenise inputs as a left-padded batch on the model's device.

    Raises DataError for bytes that are not an image, SettingsError for an image given to a text-only model.
    """
    encoded = _tokenize_with_images(model, inputs) if model.processor is not None else _tokenize(model, inputs)
    tensors = {name: value.to(model.device) for name, value in encoded.items() if isinstance(value, Tensor)}
    input_ids_IP, attention_mask_IP = tensors.pop("input_ids"), tensors.pop("attention_mask")
    position_ids = _positions(model, input_ids_IP, attention_mask_IP, tensors)
    # Some processors also return counts and sizes that their model does not take.
    taken = inspect.signature(model.network.forward).parameters
    images = {name: tensor for name, tensor in tensors.items() if name in taken}
    return Prompts(input_ids_IP, attention_mask_IP, position_ids, images, _digest(inputs))


def _digest(inputs: Sequence[ModelInput]) -> str:
    """Return the SHA-256 of the inputs' image files in their order; empty without any."""
    files = [hashlib.sha256(given.image).digest() for given in inputs if given.image is not None]
    return hashlib.sha256(b"".join(files)).hexdigest() if files else ""


def _tokenize(model: Model, inputs: Sequence[ModelInput]) -> dict[str, Tensor]:
    if any(given.image is not None for given in inputs):
        raise SettingsError("an image was given to a text-only model; expected a vision-language model as the base")
    chats = [[{"role": "user", "content": given.instruction}] for given in inputs]
    texts = model.tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, tokenize=False, **model.template_options
    )
    return _encode(model.tokenizer, texts)


def _tokenize_with_images(model: Model, inputs: Sequence[ModelInput]) -> dict[str, Any]:
    assert model.processor is not None
    chats = [[{"role": "user", "content": _content(given)}] for given in inputs]
    texts = model.processor.apply_chat_template(
        chats, add_generation_prompt=True, tokenize=False, **model.template_options
    )
    images = [[] if given.image is None else [decode_image(given.image)] for given in inputs]  # grouped by prompt
    if not any(images):
        return _encode(model.tokenizer, texts)
    encoded: dict[str, Any] = dict(
        model.processor(
            text=texts, images=images, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt"
        )
    )
    return encoded


def _content(given: ModelInput) -> list[dict[str, str]]:
    image = [{"type": "image"}] if given.image is not None else []
    return [*image, {"type": "text", "text": given.instruction}]


def _encode(tokenizer: Any, texts: list[str]) -> dict[str, Tensor]:
    encoded = tokenizer(texts, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def _positions(model: Model, input_ids: Tensor, attention_mask: Tensor, images: Mapping[str, Tensor]) -> Tensor:
    # Passed explicitly, because Qwen2.5-VL otherwise reuses the RoPE offsets of an earlier batch.
    place = getattr(model.network.base_model, "get_rope_index", None)
    if place is not None and images:
        grids = {name: images[name] for name in ("mm_token_type_ids", "image_grid_thw") if name in images}
        position_ids: Tensor = place(input_ids, attention_mask=attention_mask, **grids)[0]
        return position_ids
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def repeat_positions(next_position_B: Tensor, length: int, axes: int) -> Tensor:
    """Return the position ids of `length` completion tokens, (B, length), or (axes, B, length) for multimodal RoPE."""
    steps = torch.arange(length, device=next_position_B.device)
    positions = next_position_B[:, None] + steps  # (B, length)
    return positions if axes == 1 else positions.expand(axes, -1, -1)
