"""Trains the embedded world's vision-language model: `python -m duel.offline.train_vlm --out FOLDER`.

Supervised, on the very sentences that the players are asked later (duel/instructions.py): describe a chart
with each clause left out at random, write a prompt without seeing an image, answer a question about a chart.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from duel import instructions
from duel.offline.charts import Chart, sample_chart
from duel.offline.corpus import corpus_chart, draw_corpus
from duel.offline.language import PROMPT_LIMIT, invent, write
from duel.offline.models import (
    IMAGE_TOKENS,
    PATCH,
    VLM_FOLDER,
    VLM_SIDE,
    pixel_statistics,
    save_half,
    vlm_config,
    vlm_image_processor,
)
from duel.offline.questions import ask
from duel.offline.tokenizer import chat, train_tokenizer
from duel.randomness import stream

KEEP = 0.55  # probability of each clause of a description: the rest is what GRPO can teach
DESCRIPTIONS, ANSWERS = 3, 3  # texts of each sort prepared for a chart
NUMBER_WEIGHT = 3.0  # of a number in the loss: values are the hardest to read, and few of an answer's tokens
GRID = VLM_SIDE // PATCH


def sample_for_vlm(rng: random.Random) -> Chart:
    """Draw a chart for training, with textures and rare kinds somewhat more frequent than in the data set."""
    return sample_chart(rng, texture_rate=0.12)


@dataclass(frozen=True)
class Rows:
    """Tokenized conversations, right-padded to one length."""

    tokens: Tensor  # (N, L) int64
    answered: Tensor  # (N, L) bool, True on the tokens to learn: the answer and the end token


def tokenize_rows(tokenizer: PreTrainedTokenizerBase, pairs: list[tuple[str, str]], length: int) -> Rows:
    """Tokenize (conversation, answer) pairs; raises ValueError if one is longer than `length` tokens."""
    prompts = {prompt: tokenizer.encode(prompt) for prompt in {prompt for prompt, _ in pairs}}
    tokens = np.full((len(pairs), length), tokenizer.pad_token_id, dtype=np.int64)
    answered = np.zeros((len(pairs), length), dtype=bool)
    answers = tokenizer([answer for _, answer in pairs])["input_ids"]
    for row, ((prompt, _), answer) in enumerate(zip(pairs, answers, strict=True)):
        begin, ids = len(prompts[prompt]), [*prompts[prompt], *answer, tokenizer.eos_token_id]
        if len(ids) > length:
            raise ValueError(f"a conversation has {len(ids)} tokens, more than the {length} there is room for")
        tokens[row, : len(ids)] = ids
        answered[row, begin : len(ids)] = True
    return Rows(torch.from_numpy(tokens), torch.from_numpy(answered))


def chart_texts(seed: int, index: int) -> list[tuple[str, str]]:
    """Return (instruction, answer) pairs for the corpus's chart at `index`: descriptions, then answers."""
    chart = corpus_chart(seed, index, sample_for_vlm)
    rng = stream(seed, "texts", index)
    texts = [(instructions.DESCRIBE, write(chart, rng, KEEP)) for _ in range(DESCRIPTIONS)]
    for question in ask(chart, ANSWERS, rng):
        texts.append((instructions.ANSWER.format(question=question.text), question.answer(chart)))
    return texts


def invented(seed: int, index: int) -> str:
    """Return the prompt at `index` of those to learn."""
    return invent(stream(seed, "invent", index))


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
        cls, model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, row: Tensor
    ) -> Layout:
        """Return the layout of a tokenized conversation, `(L,)`, with an image."""
        numbers = [tokenizer.decode([token]).strip().isdigit() for token in range(len(tokenizer))]
        weights = 1.0 + (NUMBER_WEIGHT - 1.0) * torch.tensor(numbers, device=row.device).float()
        is_image = row == model.config.image_token_id
        grid = torch.tensor([[1, GRID, GRID]], device=row.device)
        positions = model.model.get_rope_index(row[None], mm_token_type_ids=is_image.int()[None], image_grid_thw=grid)[0]
        return cls(int(is_image.int().argmax()), positions, weights)


def answer_loss(
    model: Qwen2_5_VLForConditionalGeneration, tokens: Tensor, answered: Tensor, layout: Layout, pixels: Tensor | None
) -> Tensor:
    """Return the weighted mean cross-entropy of the answers' tokens; `pixels` belongs to the rows, several rows an image."""
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


@dataclass(frozen=True)
class Lesson:
    """All training material, on the device."""

    pixels: Tensor  # (N, side, side, 3) uint8
    described: Rows  # (N * DESCRIPTIONS, L), those of one chart side by side
    asked: Rows  # (N * ANSWERS, L)
    invented: Rows  # (N, L)

    def batch(self, images: int) -> tuple[Tensor, Tensor, Tensor]:
        """Choose images, and for each one description and one answer: pixels, tokens, answered."""
        device = self.pixels.device
        chosen = torch.randint(len(self.pixels), (images,), device=device)
        description = chosen * DESCRIPTIONS + torch.randint(DESCRIPTIONS, (images,), device=device)
        answer = chosen * ANSWERS + torch.randint(ANSWERS, (images,), device=device)
        pairs = [
            torch.stack([one[description], other[answer]], 1).flatten(0, 1)
            for one, other in (
                (self.described.tokens, self.asked.tokens),
                (self.described.answered, self.asked.answered),
            )
        ]
        return self.pixels[chosen], pairs[0], pairs[1]


def prepare_lesson(arguments: argparse.Namespace, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> Lesson:
    """Draw the charts and tokenize all texts."""
    started = time.monotonic()
    pixels = draw_corpus(arguments.seed, arguments.charts, VLM_SIDE, sample_for_vlm, arguments.workers)
    places = [(arguments.seed, index) for index in range(arguments.charts)]
    with multiprocessing.get_context("fork").Pool(arguments.workers) as pool:
        texts = pool.starmap(chart_texts, places, chunksize=500)
        prompts = pool.starmap(invented, places, chunksize=500)
    length = len(tokenizer.encode(chat(tokenizer, instructions.DESCRIBE, True))) + PROMPT_LIMIT
    described = [(chat_of(tokenizer, i), a) for chart in texts for i, a in chart[:DESCRIPTIONS]]
    asked = [(chat_of(tokenizer, i), a) for chart in texts for i, a in chart[DESCRIPTIONS:]]
    prompt = chat(tokenizer, instructions.INVENT, False)
    rows = [
        tokenize_rows(tokenizer, pairs, length)
        for pairs in (described, asked, [(prompt, text) for text in prompts])
    ]
    print(f"prepared {arguments.charts} charts in {time.monotonic() - started:.0f} s", flush=True)
    moved = [Rows(row.tokens.to(device), row.answered.to(device)) for row in rows]
    return Lesson(torch.from_numpy(pixels).to(device), *moved)


CHATS: dict[str, str] = {}


def chat_of(tokenizer: PreTrainedTokenizerBase, instruction: str) -> str:
    """Return the conversation with an image for an instruction; there are few different ones."""
    if instruction not in CHATS:
        CHATS[instruction] = chat(tokenizer, instruction, True)
    return CHATS[instruction]


def train(arguments: argparse.Namespace) -> None:
    """Prepare, train until the steps or the minutes are used up, save."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = train_tokenizer()
    lesson = prepare_lesson(arguments, tokenizer, device)
    torch.manual_seed(arguments.seed)
    model = Qwen2_5_VLForConditionalGeneration(vlm_config(tokenizer))
    if arguments.init is not None:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(arguments.init, dtype=torch.float32)
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=0.02, betas=(0.9, 0.98))
    layout = Layout.of(model, tokenizer, lesson.described.tokens[0])
    started = time.monotonic()
    for step in range(arguments.steps):
        elapsed = (time.monotonic() - started) / (60 * arguments.minutes)
        progress = max(step / arguments.steps, elapsed)
        if progress >= 1:
            break
        rate = arguments.learning_rate * min(1.0, (step + 1) / 400) * (0.5 + 0.5 * math.cos(math.pi * progress))
        optimizer.param_groups[0]["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if step % 5 == 4:
                rows = torch.randint(len(lesson.invented.tokens), (arguments.batch,), device=device)
                loss = answer_loss(model, lesson.invented.tokens[rows], lesson.invented.answered[rows], layout, None)
            else:
                pixels, tokens, answered = lesson.batch(arguments.batch)
                loss = answer_loss(model, tokens, answered, layout, pixels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % arguments.report == 0:
            print(f"vlm step {step} loss {loss:.4f} {time.monotonic() - started:.0f} s", flush=True)
        if step and step % (20 * arguments.report) == 0:
            save(model, tokenizer, arguments.out)
    save(model, tokenizer, arguments.out)


def save(model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the model with its tokenizer and image processor."""
    save_half(model, folder)
    tokenizer.save_pretrained(folder)
    vlm_image_processor().save_pretrained(folder)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m duel.offline.train_vlm", description=__doc__)
    parser.add_argument("--out", type=Path, default=VLM_FOLDER, help="folder for the model (default: in the package)")
    parser.add_argument("--init", type=Path, help="folder of a model to go on from (default: random weights)")
    parser.add_argument("--charts", type=int, default=80_000, help="charts to draw and train on")
    parser.add_argument("--steps", type=int, default=30_000, help="optimizer steps at most")
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes of training at most; the rate decays with them")
    parser.add_argument("--batch", type=int, default=384, help="images a step, two conversations each")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak learning rate of AdamW")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that draw")
    parser.add_argument("--report", type=int, default=100, help="steps between two lines of progress")
    parser.add_argument("--seed", type=int, default=0, help="seed of charts, texts, weights and batches")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
