"""What the small VLM is trained on: charts, and the conversations about them, tokenized."""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from duel import instructions
from duel.offline.charts import Chart, sample_chart
from duel.offline.language import invent, write
from duel.offline.misreading import misread
from duel.offline.pretraining.corpus import corpus_chart, draw_corpus
from duel.offline.pretraining.models import VLM_SIDE
from duel.offline.pretraining.tokenizer import chat
from duel.offline.questions import ask, questions_about
from duel.offline.reading import PROMPT_LIMIT
from duel.randomness import stream

HARD_RATES = (0.05, 0.2, 0.5)  # of each sort of hard content: one of these for each chart, so that many meet in some
KEEP = 0.55  # probability of each clause of a description: the rest is what GRPO can teach
DESCRIPTIONS, ANSWERS, REASONED = 3, 3, 3  # texts of each sort prepared for a chart


def sample_for_vlm(rng: random.Random) -> Chart:
    """Draw a chart for training, with textures and hard content far more frequent than in the data set."""
    return sample_chart(rng, texture_rate=0.12, hard_rate=rng.choice(HARD_RATES))


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
    """Return (instruction, answer) pairs for the corpus's chart at `index`: descriptions, answers, reasoned answers.

    Each text is about the chart as it was misread for this text: an answer after a description agrees with it, also
    where the description leaves out what was asked for.
    """
    chart = corpus_chart(seed, index, sample_for_vlm)
    rng = stream(seed, "texts", index)
    texts = [(instructions.DESCRIBE, write(misread(chart, rng), rng, KEEP)) for _ in range(DESCRIPTIONS)]
    for question in ask(chart, ANSWERS, rng):
        texts.append((instructions.ANSWER.format(question=question.text), question.answer(misread(chart, rng))))
    for question in [*ask(chart, 1, rng), *ask(chart, REASONED - 1, rng, questions_about("all"))]:
        seen = misread(chart, rng)
        reasoned = f"{write(seen, rng, KEEP)}\nAnswer: {question.answer(seen)}"
        texts.append((instructions.REASON.format(question=question.text), reasoned))
    return texts


def invented(seed: int, index: int) -> str:
    """Return the prompt at `index` of those to learn."""
    return invent(stream(seed, "invent", index))


@dataclass(frozen=True)
class Lesson:
    """All training material, on the device."""

    pixels: Tensor  # (N, side, side, 3) uint8
    described: Rows  # (N * DESCRIPTIONS, L), those of one chart side by side
    asked: Rows  # (N * ANSWERS, L)
    reasoned: Rows  # (N * REASONED, L)
    invented: Rows  # (N, L)

    def batch(self, images: int) -> tuple[Tensor, Tensor, Tensor]:
        """Choose images, and for each one text of each sort: pixels, tokens, answered (three rows an image)."""
        device = self.pixels.device
        chosen = torch.randint(len(self.pixels), (images,), device=device)
        sorts = ((self.described, DESCRIPTIONS), (self.asked, ANSWERS), (self.reasoned, REASONED))
        rows = [(texts, chosen * each + torch.randint(each, (images,), device=device)) for texts, each in sorts]
        tokens = torch.stack([texts.tokens[places] for texts, places in rows], 1).flatten(0, 1)
        answered = torch.stack([texts.answered[places] for texts, places in rows], 1).flatten(0, 1)
        return self.pixels[chosen], tokens, answered


def prepare_lesson(arguments: argparse.Namespace, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> Lesson:
    """Draw the charts and tokenize all texts."""
    started = time.monotonic()
    pixels = draw_corpus(arguments.seed, arguments.charts, VLM_SIDE, sample_for_vlm, arguments.workers)
    places = [(arguments.seed, index) for index in range(arguments.charts)]
    with multiprocessing.get_context("fork").Pool(arguments.workers) as pool:
        texts = pool.starmap(chart_texts, places, chunksize=500)
        prompts = pool.starmap(invented, places, chunksize=500)
    chats = {i: chat(tokenizer, i, True) for i in {instruction for chart in texts for instruction, _ in chart}}
    length = max(len(tokenizer.encode(prompt)) for prompt in chats.values()) + PROMPT_LIMIT
    described = [(chats[i], answer) for chart in texts for i, answer in chart[:DESCRIPTIONS]]
    asked = [(chats[i], answer) for chart in texts for i, answer in chart[DESCRIPTIONS : DESCRIPTIONS + ANSWERS]]
    reasoned = [(chats[i], answer) for chart in texts for i, answer in chart[DESCRIPTIONS + ANSWERS :]]
    prompt = chat(tokenizer, instructions.INVENT, False)
    sorts = (described, asked, reasoned, [(prompt, text) for text in prompts])
    rows = [tokenize_rows(tokenizer, pairs, length) for pairs in sorts]
    print(f"prepared {arguments.charts} charts in {time.monotonic() - started:.0f} s", flush=True)
    moved = [Rows(row.tokens.to(device), row.answered.to(device)) for row in rows]
    return Lesson(torch.from_numpy(pixels).to(device), *moved)
