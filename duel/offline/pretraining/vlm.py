"""Trains the embedded world's vision-language model: `python -m duel.offline.pretraining.vlm --out FOLDER`.

Supervised, on the very sentences that the players are asked later (duel/instructions.py): describe a chart
with each clause left out at random, write a prompt without seeing an image, answer a question about a chart, at once or
after a description. Hard content is misread in descriptions and answers (misreading.py).
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from duel.offline.pretraining.lessons import prepare_lesson
from duel.offline.pretraining.loop import TrainingLoop
from duel.offline.pretraining.models import (
    IMAGE_TOKENS,
    PATCH,
    VLM_FOLDER,
    VLM_SIDE,
    pixel_statistics,
    save_half,
    vlm_config,
    vlm_image_processor,
)
from duel.offline.pretraining.tokenizer import train_tokenizer

# Of a number in the loss: values are the hardest to read, and few of an answer's tokens. It also makes numbers likelier
# than they were taught, and lists of them longer; a last stage with 1 undoes that.
NUMBER_WEIGHT = 3.0
GRID = VLM_SIDE // PATCH


def patches(pixels: Tensor) -> Tensor:
    """Return what Qwen2VLImageProcessorPil makes of resized images, batched.

    `(B, side, side, 3)` uint8 to `(B, GRID * GRID, 3 * 2 * PATCH * PATCH)`: patches in blocks of 2 x 2, each
    repeated for the temporal axis.
    """
    mean, deviation = pixel_statistics(pixels.device)
    scaled = (pixels.float() / 255 - mean) / deviation  # (B, side, side, 3)
    half = GRID // 2
    blocks = scaled.view(-1, half, 2, PATCH, half, 2, PATCH, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    blocks = blocks.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1)
    return blocks.reshape(len(pixels), GRID * GRID, -1)


def encode_images(model: Qwen2_5_VLForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Return the image tokens of equally large images, `(B, IMAGE_TOKENS, width)`.

    The same numbers as `model.model.visual`, whose attention loops over images. All its layers attend to the
    whole image, so the order of windows does not matter.
    """
    visual = model.model.visual
    batch, places = len(pixels), GRID * GRID
    rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    order = torch.stack([rows, columns]).view(2, GRID // 2, 2, GRID // 2, 2).permute(0, 1, 3, 2, 4).reshape(2, places)
    cos, sin = visual.rotary_pos_emb(pixels, order.T.to(pixels.device))  # (P, head width)
    hidden = visual.patch_embed(patches(pixels).reshape(batch * places, -1)).view(batch, places, -1)
    for block in visual.blocks:
        attention = block.attn
        qkv = attention.qkv(block.norm1(hidden)).view(batch, places, 3, attention.num_heads, -1)
        query, key, value = qkv.unbind(2)  # (B, P, heads, head width)
        query, key = apply_rotary_pos_emb_vision(query, key, cos, sin)
        mixed = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        hidden = hidden + attention.proj(mixed.transpose(1, 2).reshape(batch, places, -1))
        hidden = hidden + block.mlp(block.norm2(hidden))
    tokens: Tensor = visual.merger(hidden.reshape(batch * places, -1)).view(batch, IMAGE_TOKENS, -1)
    return tokens


@dataclass(frozen=True)
class Layout:
    """What all conversations with an image share, as it comes first in each, and what each token weighs."""

    begin: int  # place of the first image token
    positions: Tensor  # (3, 1, L) rotary positions
    weights: Tensor  # (V,) of the tokens in the loss

    @classmethod
    def of(
        cls,
        model: Qwen2_5_VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        row: Tensor,
        number_weight: float = NUMBER_WEIGHT,
    ) -> Layout:
        """Return the layout of a tokenized conversation, `(L,)`, with an image."""
        numbers = [str(tokenizer.decode([token])).strip().isdigit() for token in range(len(tokenizer))]
        weights = 1.0 + (number_weight - 1.0) * torch.tensor(numbers, device=row.device).float()
        is_image = (row == model.config.image_token_id).int()
        grid = torch.tensor([[1, GRID, GRID]], device=row.device)
        positions = model.model.get_rope_index(row[None], mm_token_type_ids=is_image[None], image_grid_thw=grid)[0]
        return cls(int(is_image.argmax()), positions, weights)


def answer_loss(
    model: Qwen2_5_VLForConditionalGeneration, tokens: Tensor, answered: Tensor, layout: Layout, pixels: Tensor | None
) -> Tensor:
    """Return the weighted mean cross-entropy of the answers' tokens.

    `tokens` and `answered` are `(B, L)`; `pixels` `(B / n, side, side, 3)`, each image for n rows that follow one
    another, or None for conversations without one.
    """
    embedded = model.get_input_embeddings()(tokens)  # (B, L, width)
    batch, length = tokens.shape
    if pixels is None:
        positions = torch.arange(length, device=tokens.device).view(1, 1, -1).expand(3, batch, -1)
    else:
        images = encode_images(model, pixels).repeat_interleave(batch // len(pixels), 0).to(embedded.dtype)
        rest = embedded[:, layout.begin + IMAGE_TOKENS :]
        embedded = torch.cat([embedded[:, : layout.begin], images, rest], 1)
        positions = layout.positions.expand(3, batch, -1)
    hidden = model.model.language_model(inputs_embeds=embedded, position_ids=positions, use_cache=False)[0]
    predicted = model.lm_head(hidden[:, :-1][answered[:, 1:]]).float()  # (answer tokens, V)
    wanted = tokens[:, 1:][answered[:, 1:]]
    weights = layout.weights[wanted]
    return (F.cross_entropy(predicted, wanted, reduction="none") * weights).sum() / weights.sum()


def train(arguments: argparse.Namespace) -> None:
    """Prepare, train until the steps or the minutes are used up, save."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Going on from a model, with its tokens: learned anew, their numbers might differ.
    tokenizer: Any = AutoTokenizer.from_pretrained(arguments.init) if arguments.init else train_tokenizer()
    lesson = prepare_lesson(arguments, tokenizer, device)
    torch.manual_seed(arguments.seed)
    model: Any = Qwen2_5_VLForConditionalGeneration(vlm_config(tokenizer))
    if arguments.init is not None:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(arguments.init, dtype=torch.float32)
    model = model.to(device).train()
    layout = Layout.of(model, tokenizer, lesson.described.tokens[0], arguments.number_weight)
    loop = TrainingLoop(model, arguments, warmup=400)
    for step in loop.steps():
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if step % 5 == 4:
                rows = torch.randint(len(lesson.invented.tokens), (arguments.batch,), device=device)
                loss = answer_loss(model, lesson.invented.tokens[rows], lesson.invented.answered[rows], layout, None)
            else:
                pixels, tokens, answered = lesson.batch(arguments.batch)
                loss = answer_loss(model, tokens, answered, layout, pixels)
        loop.step(loss)
        if loop.report_due(step):
            print(f"vlm step {step} loss {loss:.4f} {loop.seconds:.0f} s", flush=True)
        if loop.save_due(step):
            save(model, tokenizer, arguments.out)
    save(model, tokenizer, arguments.out)


def save(model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the model with its tokenizer and image processor."""
    save_half(model, folder)
    tokenizer.save_pretrained(folder)
    vlm_image_processor().save_pretrained(folder)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m duel.offline.pretraining.vlm", description=__doc__)
    parser.add_argument("--out", type=Path, default=VLM_FOLDER, help="folder for the model (default: in the package)")
    parser.add_argument("--init", type=Path, help="folder of a model to go on from (default: random weights)")
    parser.add_argument("--charts", type=int, default=80_000, help="charts to draw and train on")
    parser.add_argument("--steps", type=int, default=30_000, help="optimizer steps at most")
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes of training at most")
    parser.add_argument("--batch", type=int, default=384, help="images a step, three conversations each")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak learning rate of AdamW")
    parser.add_argument("--number-weight", type=float, default=NUMBER_WEIGHT, help="weight of a number in the loss")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that draw")
    parser.add_argument("--report", type=int, default=100, help="steps between two lines of progress")
    parser.add_argument("--seed", type=int, default=0, help="seed of charts, texts, weights and batches")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
