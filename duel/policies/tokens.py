"""Which tokens end a completion, and which may never be generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
import torch
from torch import Tensor
from transformers import PreTrainedModel

from duel.errors import SettingsError

ANSWER = "answer"  # of the assistant, in the chat that shows what a template writes behind it


def end_tokens(network: PreTrainedModel, tokenizer: Any, template_options: Mapping[str, Any]) -> list[int]:
    """Return the ids of the tokens that end a turn, sorted.

    Generation config, tokenizer and chat template may each name another one, as where the tokenizer's ends a document
    and the template's a turn. Any of them ends a completion. Raises SettingsError when none names one.
    """
    declared = network.generation_config.eos_token_id if network.generation_config is not None else None
    found = {*(declared if isinstance(declared, list) else [declared]), tokenizer.eos_token_id}
    found.add(_end_of_turn(tokenizer, template_options))
    found.discard(None)
    if not found:
        raise SettingsError(
            "the model names no end-of-turn token; expected eos_token_id in generation_config.json or in the "
            "tokenizer's config, or a special token behind an answer in the chat template"
        )
    return sorted(found)


def _end_of_turn(tokenizer: Any, options: Mapping[str, Any]) -> int | None:
    """Return the special token that the chat template writes right behind an answer; None if there is none."""
    for content in (ANSWER, [{"type": "text", "text": ANSWER}]):  # templates of vision-language models take parts
        chat = [{"role": "user", "content": content}, {"role": "assistant", "content": content}]
        try:
            text = tokenizer.apply_chat_template(chat, tokenize=False, **options)
        except (jinja2.TemplateError, TypeError, ValueError):
            continue
        _, answered, behind = text.rpartition(ANSWER)
        if answered:
            special = {token.content: index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
            first = [name for name in special if behind.lstrip().startswith(name)]
            return special[max(first, key=len)] if first else None
    return None


def forbidden_tokens(network: PreTrainedModel, tokenizer: Any, allowed: list[int]) -> Tensor:
    """Return the tokens never generated, (V,) bool: special tokens except `allowed`, and ids beyond the vocabulary.

    A sampled image placeholder would crash the next forward pass, and chat-template tokens would start another turn.
    """
    vocabulary = network.get_output_embeddings().weight.shape[0]
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    special.update(tokenizer.all_special_ids)
    for config in (network.config, network.config.get_text_config()):
        for key, value in config.to_dict().items():
            if key.endswith(("_token_id", "_token_index")):
                special.update(index for index in (value if isinstance(value, list) else [value]) if index is not None)
    forbidden_V = torch.zeros(vocabulary, dtype=torch.bool)
    forbidden_V[[index for index in special if index < vocabulary]] = True
    forbidden_V[len(tokenizer) :] = True  # padding of the embedding matrix
    forbidden_V[allowed] = False
    return forbidden_V
