"""Measures the embedded models on charts they were not trained on: `python -m duel.offline.pretraining.measure`."""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    BitImageProcessorPil,
    Dinov2Model,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from duel import instructions
from duel.judges.exact import final_answer
from duel.offline.charts import Chart
from duel.offline.language import invent, write
from duel.offline.misreading import MISREAD, misread
from duel.offline.pretraining.models import EMBEDDER_FOLDER, VLM_FOLDER
from duel.offline.pretraining.tokenizer import chat
from duel.offline.questions import QUESTIONS, UNTRAINED, ChartQuestion, questions_about
from duel.offline.reading import PROMPT_LIMIT, asked_for, read
from duel.offline.renderer import render
from duel.offline.strata import HARD, STRATA, hard_content, sample_stratum
from duel.randomness import stream, torch_stream

LONGEST = PROMPT_LIMIT + 8  # tokens of a completion: a description and an answer
MISREAD_RATES = {"right": 0.0, "misread as taught": MISREAD, "all misread": 1.0}


@dataclass(frozen=True)
class Embedder:
    """The embedded DINOv2 model with its preprocessing."""

    model: Dinov2Model
    processor: BitImageProcessorPil

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Embedder:
        """Load from a folder."""
        model: Any = Dinov2Model.from_pretrained(folder, dtype=torch.float32)
        model.to(device).eval()
        return cls(model, BitImageProcessorPil.from_pretrained(folder))

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        """Return unit vectors, `(N, width)`, of square images."""
        pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"].to(self.model.device)
        batches = [self.model(batch).pooler_output for batch in pixels.split(256)]
        return F.normalize(torch.cat(batches).float(), dim=1)


@dataclass(frozen=True)
class VisionLanguageModel:
    """The embedded VLM with its tokenizer and preprocessing."""

    model: Qwen2_5_VLForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    processor: Qwen2VLImageProcessorPil

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> VisionLanguageModel:
        """Load from a folder."""
        model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        model.to(device).eval()
        return cls(model, AutoTokenizer.from_pretrained(folder), Qwen2VLImageProcessorPil.from_pretrained(folder))

    def inputs(self, instruction: str, images: Sequence[Image.Image] | None, count: int) -> dict[str, Tensor]:
        """Return the model's arguments for one instruction, for each image or `count` times without one."""
        device = self.model.device
        prompt = self.tokenizer.encode(chat(self.tokenizer, instruction, images is not None))
        if images is None:
            return {"input_ids": torch.tensor([prompt] * count, device=device)}
        tokens = torch.tensor([prompt] * len(images), device=device)
        arguments: dict[str, Tensor] = dict(self.processor(images=list(images), return_tensors="pt").to(device))
        return arguments | {
            "input_ids": tokens,
            "mm_token_type_ids": (tokens == self.model.config.image_token_id).int(),
        }

    @torch.no_grad()
    def sample(
        self, instruction: str, images: Sequence[Image.Image] | None, temperature: float, seed: int, count: int = 1
    ) -> Tensor:
        """Sample a completion for each image (or `count` without one); temperature 0 takes the likeliest.

        Returns tokens `(B, T)`, padded after the end token. Special tokens other than the end are not sampled.
        """
        arguments = self.inputs(instruction, images, count)
        prompt = arguments["input_ids"]
        generator = torch_stream(seed, "measure")
        end, pad = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        barred = [token for token in self.tokenizer.all_special_ids if token != end]
        output = self.model(**arguments, attention_mask=torch.ones_like(prompt), use_cache=True)
        position = prompt.shape[1] + int(self.model.model.rope_deltas[0]) if images is not None else prompt.shape[1]
        tokens: list[Tensor] = []
        running = torch.ones(len(prompt), dtype=torch.bool, device=prompt.device)
        for step in range(LONGEST):
            logits = output.logits[:, -1].float()
            logits[:, barred] = -torch.inf
            chosen = choose(logits, temperature, generator).where(running, torch.tensor(pad, device=logits.device))
            tokens.append(chosen)
            running = running & (chosen != end)
            if not running.any():
                break
            places = torch.full((3, len(prompt), 1), position + step, device=prompt.device)
            output = self.model(
                input_ids=chosen[:, None], position_ids=places, past_key_values=output.past_key_values, use_cache=True
            )
        return torch.stack(tokens, 1)

    def texts(self, tokens: Tensor) -> list[str]:
        """Return the texts of sampled tokens."""
        return [str(text) for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def choose(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Return one token for each row of `(B, V)` logits."""
    if temperature == 0:
        return logits.argmax(1)
    probabilities = (logits / temperature).softmax(1).cpu()
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0].to(logits.device)


def measure_stratum(vlm: VisionLanguageModel, embedder: Embedder, stratum: str, count: int) -> dict[str, object]:
    """Measure descriptions and answers on charts of one stratum, and the similarity lost by misreading."""
    charts = [sample_stratum(stream(1, "held out", stratum, index), stratum) for index in range(count)]
    images = [render(chart) for chart in charts]
    originals = embedder.embed(images)
    misread_texts = {
        f"complete text, {name}": [
            write(misread(c, stream(1, "misread", i), rate), stream(i)) for i, c in enumerate(charts)
        ]
        for name, rate in MISREAD_RATES.items()
    }
    answers, reasoned = (
        {q.text: answered_rightly(vlm, q, charts, images, 0.7, how) for q in questions_about(stratum)}
        for how in (instructions.ANSWER, instructions.REASON)
    )
    return {
        **measure_descriptions(vlm, embedder, charts, images, originals),
        **{
            name: round(similarities(embedder, originals, texts).mean().item(), 3)
            for name, texts in misread_texts.items()
        },
        "pass@1": mean_known(answers),
        "pass@1, reasoned": mean_known(reasoned),
        "answers": {text: share for text, share in answers.items() if share is not None},
        "reasoned answers": {text: share for text, share in reasoned.items() if share is not None},
    }


def mean_known(shares: dict[str, float | None]) -> float:
    """Return the mean share of right answers over the questions that apply to some chart."""
    known = [share for share in shares.values() if share is not None]
    return round(sum(known) / len(known), 2)


def measure_descriptions(
    vlm: VisionLanguageModel, embedder: Embedder, charts: list[Chart], images: list[Image.Image], originals: Tensor
) -> dict[str, object]:
    """Return how often each attribute is named and how often rightly, and how alike the redrawn charts are."""
    tokens = vlm.sample(instructions.DESCRIBE, images, 0.9, seed=1)
    texts = vlm.texts(tokens)
    named: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for chart, text in zip(charts, texts, strict=True):
        for attribute, value in asked_for(text).items():
            named[attribute] += 1
            right[attribute] += value == getattr(chart, attribute)
    similarity = similarities(embedder, originals, texts)
    lengths = (tokens != vlm.tokenizer.pad_token_id).sum(1).float()
    return {
        "similarity": round(similarity.mean().item(), 3),
        "similarity_std": round(similarity.std().item(), 3),
        "tokens": round(lengths.mean().item(), 1),
        "cut": round((tokens != vlm.tokenizer.eos_token_id).all(1).float().mean().item(), 4),
        "named": {name: round(number / len(charts), 2) for name, number in sorted(named.items())},
        "right": {name: round(right[name] / number, 3) for name, number in sorted(named.items())},
    }


def similarities(embedder: Embedder, originals: Tensor, texts: Sequence[str]) -> Tensor:
    """Return the cosines, `(N,)`, of embedded originals and the charts drawn from one text each."""
    redrawn = [render(read(text, random.Random(index))) for index, text in enumerate(texts)]
    return (originals * embedder.embed(redrawn)).sum(1)


def answered_rightly(
    vlm: VisionLanguageModel,
    question: ChartQuestion,
    charts: list[Chart],
    images: list[Image.Image],
    temperature: float,
    how: str = instructions.ANSWER,
) -> float | None:
    """Return the share of right answers to one question about those charts that it applies to; None: to none.

    `how` is the instruction, `instructions.ANSWER` or `instructions.REASON`.
    """
    fitting = [(chart, image) for chart, image in zip(charts, images, strict=True) if question.applies(chart)]
    if not fitting:
        return None
    instruction = how.format(question=question.text)
    answers = vlm.texts(vlm.sample(instruction, [image for _, image in fitting], temperature, seed=1))
    finals = [final_answer(answer).strip() for answer in answers]
    right = [final == question.answer(chart) for (chart, _), final in zip(fitting, finals, strict=True)]
    return round(sum(right) / len(right), 3)


def measure_answers(vlm: VisionLanguageModel, count: int) -> dict[str, float | None]:
    """Return the share of right answers about common charts, by question (likeliest answer)."""
    charts = [sample_stratum(stream(1, "questions", index), "common") for index in range(count)]
    images = [render(chart) for chart in charts]
    return {q.text: answered_rightly(vlm, q, charts, images, 0) for q in (*QUESTIONS, *UNTRAINED)}


def measure_prompts(vlm: VisionLanguageModel, count: int, temperature: float) -> dict[str, float]:
    """Return how varied sampled prompts are and how many ask for undeterminable or hard content."""
    texts = vlm.texts(vlm.sample(instructions.INVENT, None, temperature, seed=1, count=count))
    wanted = [asked_for(text) for text in texts]
    return {
        "different": len(set(texts)) / count,
        "unpinnable": sum("texture" in asked for asked in wanted) / count,
        "attributes": sum(len(asked) for asked in wanted) / count,
        "unpinnable_in_training": sum("texture" in asked_for(invent(stream(2, i))) for i in range(2000)) / 2000,
        **{f"hard: {sort}": sum(sort in hard_content(asked) for asked in wanted) / count for sort in HARD},
    }


def measure_strata(vlm: VisionLanguageModel, embedder: Embedder, count: int) -> dict[str, dict[str, object]]:
    """Measure every stratum; prints a Markdown table row by row."""
    columns = ["similarity", "pass@1", "pass@1, reasoned", *(f"complete text, {name}" for name in MISREAD_RATES)]
    print(f"| stratum | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}", flush=True)
    strata = {}
    for stratum in STRATA:
        strata[stratum] = measure_stratum(vlm, embedder, stratum, count)
        print(f"| {stratum} | {' | '.join(str(strata[stratum][column]) for column in columns)} |", flush=True)
    return strata


def main() -> None:
    """Read the command line, measure, print the table of strata, then everything as JSON."""
    parser = argparse.ArgumentParser(prog="python -m duel.offline.pretraining.measure", description=__doc__)
    parser.add_argument("--vlm", type=Path, default=VLM_FOLDER, help="folder of the vision-language model")
    parser.add_argument("--embedder", type=Path, default=EMBEDDER_FOLDER, help="folder of the embedder")
    parser.add_argument("--charts", type=int, default=200, help="held-out charts of each stratum")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vlm = VisionLanguageModel.load(arguments.vlm, device)
    embedder = Embedder.load(arguments.embedder, device)
    strata = measure_strata(vlm, embedder, arguments.charts)
    report = {
        "strata, descriptions at temperature 0.9, answers at 0.7": strata,
        "likeliest answers about common charts": measure_answers(vlm, arguments.charts),
        "prompts at temperature 0.9": measure_prompts(vlm, arguments.charts, 0.9),
        "samples": vlm.texts(vlm.sample(instructions.INVENT, None, 0.9, seed=2, count=4)),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
