"""Checks, when a model is loaded, that its cache is all that it knows of a prompt.

Sampling and scoring continue from the cache of a prompt. A family that keeps anything else between two forward passes,
or whose position ids are not the ones passed, would silently sample from one distribution and be scored under another.
"""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from duel.errors import SettingsError
from duel.policies.inputs import Prompts, build_prompts
from duel.policies.models import Model
from duel.policies.prefix import Prefix, continue_prompts, encode_prompts
from duel.policies.sampling import DecodeBatch
from duel.types import ModelInput

TOKENS = 4  # that continue each prompt
TEXTS = ("What is shown?", "Describe it.")  # of different lengths, so that one prompt is padded
SIDES = ((112, 56), (56, 112))  # of the two images, in pixels
# Largest root mean square of the difference, in standard deviations of the logits. In tiny models of the families of
# docs/models.md, rounding gave at most 7e-6 in fp32 and 0.015 in bfloat16, and a state that was lost 0.7 or more.
TOLERANCE = {torch.float32: 0.001, torch.bfloat16: 0.2}
# What families raise whose layers ask more of a cache than it has.
UNSERVED = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def check_continuation(model: Model, name: str) -> None:
    """Raise SettingsError unless continuing from a cache gives the logits of a plain forward pass.

    Two prompts, with an image each where the model sees, are continued by a few tokens: all at once, as in scoring, and
    one by one, as in sampling.
    """
    try:
        off = _largest_difference(model)
    except UNSERVED as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise SettingsError(
            f"the model {name!r} ({model.network.config.model_type}) cannot be continued from a cached prompt: "
            f"{type(error).__name__}: {first_line}; docs/models.md lists families that can"
        ) from error
    most = TOLERANCE[model.compute_dtype]
    if not off <= most:  # NaN must not pass
        raise SettingsError(
            f"the model {name!r} ({model.network.config.model_type}) gives other logits from a cached prompt than in "
            f"one plain pass: they differ by {off:.2g} standard deviations, expected at most {most}; docs/models.md "
            f"lists families that can be used"
        )


@torch.no_grad()
def _largest_difference(model: Model) -> float:
    """Return the larger root mean square difference, of scoring and of sampling, from the plain pass."""
    pictures = [_picture(side) if model.processor is not None else None for side in SIDES]
    inputs = [ModelInput(text, picture) for text, picture in zip(TEXTS, pictures, strict=True)]
    prompts, tokens_IT = build_prompts(model, inputs), _tokens(model, len(inputs))
    rows = [_plain(model, build_prompts(model, [given]), tokens_IT[i : i + 1]) for i, given in enumerate(inputs)]
    plain_ITV = torch.stack(rows)
    prefix = encode_prompts(model, prompts)
    allowed_V = ~model.forbidden_V
    spread = plain_ITV[..., allowed_V].std()
    found = (continue_prompts(model, prefix, tokens_IT), _decode(model, prefix, tokens_IT))
    return max(((logits - plain_ITV)[..., allowed_V].square().mean().sqrt() / spread).item() for logits in found)


def _plain(model: Model, prompt: Prompts, tokens_1T: Tensor) -> Tensor:
    """Return the logits of a prompt's continuation, (T, V), from one pass without cache, at the model's positions."""
    length = tokens_1T.shape[1] - 1
    by_token = {name for name, tensor in prompt.images.items() if tensor.shape == prompt.input_ids_IP.shape}
    extra = {
        name: torch.nn.functional.pad(tensor, (0, length)) if name in by_token else tensor
        for name, tensor in prompt.images.items()
    }
    ids_1L = torch.cat([prompt.input_ids_IP, tokens_1T[:, :-1]], 1)
    with model.autocast():
        output = model.network(input_ids=ids_1L, attention_mask=torch.ones_like(ids_1L), use_cache=False, **extra)
    logits_TV: Tensor = output.logits[0, -tokens_1T.shape[1] :]
    return logits_TV.float()


def _decode(model: Model, prefix: Prefix, tokens_IT: Tensor) -> Tensor:
    """Return the same logits for all prompts, (I, T, V), reading one token after the other."""
    batch = DecodeBatch(model, prefix, tokens_IT.shape[1])
    logits = [batch.logits_bV]
    for tokens_I in tokens_IT[:, :-1].unbind(1):
        batch.read(tokens_I)
        logits.append(batch.logits_bV)
    return torch.stack(logits, 1).float()


def _tokens(model: Model, rows: int) -> Tensor:
    """Return tokens that may be generated and end nothing, (rows, TOKENS), spread over the vocabulary."""
    allowed_V = ~model.forbidden_V
    allowed_V[model.end_tokens] = False
    allowed = allowed_V.nonzero().flatten()
    places = torch.linspace(0, len(allowed) - 1, rows * TOKENS, device=model.device).long()
    return allowed[places].view(rows, TOKENS)


def _picture(side: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(side).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
