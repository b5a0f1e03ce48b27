"""The shipped models load, are small, and perform as their model cards say."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

from duel import instructions
from duel.judges.exact import final_answer
from duel.offline.charts import sample_chart
from duel.offline.language import write
from duel.offline.misreading import NEAREST_KIND
from duel.offline.pretraining.embedder import embedder_input
from duel.offline.pretraining.lessons import tokenize_rows
from duel.offline.pretraining.measure import Embedder, VisionLanguageModel
from duel.offline.pretraining.models import EMBEDDER_FOLDER, VLM_FOLDER, VLM_SIDE, WEIGHTS
from duel.offline.pretraining.targets import target
from duel.offline.pretraining.tokenizer import chat, world_words
from duel.offline.pretraining.vlm import Layout, answer_loss, encode_images, patches
from duel.offline.reading import PROMPT_LIMIT, asked_for, read
from duel.offline.renderer import render
from duel.offline.strata import sample_stratum

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vlm():
    return VisionLanguageModel.load(VLM_FOLDER, CPU)


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load(EMBEDDER_FOLDER, CPU)


@pytest.fixture(scope="module")
def images():
    return [render(sample_stratum(random.Random(seed), "common")) for seed in range(100, 108)]


def small(images, side):
    return torch.from_numpy(np.stack([np.asarray(i.resize((side, side), Image.Resampling.BICUBIC)) for i in images]))


def test_weights_are_small_and_described():
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*")) < 20e6
    for folder in (VLM_FOLDER, EMBEDDER_FOLDER):
        assert "Apache-2.0" in (folder / "README.md").read_text()


def test_every_word_of_the_world_is_one_token_and_any_text_encodes():
    tokenizer = AutoTokenizer.from_pretrained(VLM_FOLDER)
    assert [word for word in world_words() if len(tokenizer.encode(f" {word}")) != 1] == []
    for text in ("Ünïcode 日本\n\n ok!", "A  chart\t.", "\U0001f600"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_complete_descriptions_fit_the_prompt_limit():
    tokenizer = AutoTokenizer.from_pretrained(VLM_FOLDER)
    rng = random.Random(0)
    lengths = [
        len(tokenizer.encode(write(sample_chart(rng, texture_rate=0.5, hard_rate=0.6), rng))) for _ in range(1000)
    ]
    assert max(lengths) < PROMPT_LIMIT


def test_training_sees_what_the_processors_make(vlm, embedder, images):
    processed = vlm.processor(images=images[:3], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(patches(small(images[:3], VLM_SIDE)).flatten(0, 1), processed, rtol=0, atol=1e-6)
    processed = embedder.processor(images=images[:3], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(embedder_input(small(images[:3], 112)), processed, rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_batched_vision_tower_equals_the_models_own(vlm, images):
    inputs = vlm.inputs(instructions.DESCRIBE, images[:3], 1)
    own = vlm.model.model.visual(inputs["pixel_values"], inputs["image_grid_thw"]).pooler_output
    batched = encode_images(vlm.model, small(images[:3], VLM_SIDE))
    torch.testing.assert_close(batched.flatten(0, 1), own, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_training_loss_equals_the_models_own(vlm, images):
    pairs = [(chat(vlm.tokenizer, instructions.DESCRIBE, True), "A red chart with grid.")]  # no number: weights are 1
    rows = tokenize_rows(vlm.tokenizer, pairs, 100)
    layout = Layout.of(vlm.model, vlm.tokenizer, rows.tokens[0])
    loss = answer_loss(vlm.model, rows.tokens, rows.answered, layout, small(images[:1], VLM_SIDE))
    inputs = vlm.inputs(instructions.DESCRIBE, images[:1], 1)
    whole = rows.tokens[:, : int(rows.answered[0].nonzero().max()) + 1]
    kinds = (whole == vlm.model.config.image_token_id).int()
    labels = whole.where(rows.answered[:, : whole.shape[1]], torch.tensor(-100))
    output = vlm.model(**(inputs | {"input_ids": whole, "mm_token_type_ids": kinds}), labels=labels)
    torch.testing.assert_close(loss, output.loss, rtol=1e-4, atol=1e-4)


def test_descriptions_are_mostly_right_and_leave_much_out(vlm, images):
    charts = [sample_stratum(random.Random(seed), "common") for seed in range(100, 108)]
    texts = vlm.texts(vlm.sample(instructions.DESCRIBE, images, 0.9, seed=0))
    named = [
        (name, value, chart)
        for chart, text in zip(charts, texts, strict=True)
        for name, value in asked_for(text).items()
    ]
    right = sum(value == getattr(chart, name) for name, value, chart in named)
    assert right / len(named) > 0.85
    assert 0.3 < len(named) / (12 * len(charts)) < 0.8


def test_answers_are_mostly_right(vlm, images):
    charts = [sample_stratum(random.Random(seed), "common") for seed in range(100, 108)]
    instruction = instructions.ANSWER.format(question="What kind of chart is this?")
    answers = vlm.texts(vlm.sample(instruction, images, 0, seed=0))
    assert sum(answer == chart.kind for answer, chart in zip(answers, charts, strict=True)) >= 7


def test_answers_after_a_description_are_mostly_right(vlm, images):
    charts = [sample_stratum(random.Random(seed), "common") for seed in range(100, 108)]
    instruction = instructions.REASON.format(question="What kind of chart is this?")
    texts = vlm.texts(vlm.sample(instruction, images, 0, seed=0))
    assert sum(final_answer(text) == chart.kind for text, chart in zip(texts, charts, strict=True)) >= 7
    assert all(asked_for(text.partition("Answer:")[0]) for text in texts)


def test_hard_content_is_mostly_taken_for_something_common_and_sometimes_not(vlm):
    charts = [sample_stratum(random.Random(seed), "kind") for seed in range(40)]
    instruction = instructions.ANSWER.format(question="What kind of chart is this?")
    answers = vlm.texts(vlm.sample(instruction, [render(chart) for chart in charts], 0.9, seed=0))
    right = [answer == chart.kind for answer, chart in zip(answers, charts, strict=True)]
    assert 0.1 < sum(right) / len(right) < 0.6
    nearest = [answer in (chart.kind, NEAREST_KIND[chart.kind]) for answer, chart in zip(answers, charts, strict=True)]
    assert sum(nearest) / len(nearest) > 0.9


def test_invented_prompts_differ_and_ask_for_charts(vlm):
    texts = vlm.texts(vlm.sample(instructions.INVENT, None, 0.9, seed=0, count=10))
    assert len(set(texts)) > 7
    assert sum(bool(asked_for(text)) for text in texts) > 7


def test_similarity_falls_as_more_is_left_out(embedder):
    charts = [sample_chart(random.Random(seed), texture_rate=0) for seed in range(12)]
    originals = embedder.embed([render(chart) for chart in charts])
    means = []
    for keep in (1.0, 0.6, 0.0):
        texts = [write(chart, random.Random(seed), keep) for seed, chart in enumerate(charts)]
        redrawn = [render(read(text, random.Random(seed + 99))) for seed, text in enumerate(texts)]
        means.append(float((originals * embedder.embed(redrawn)).sum(1).mean()))
    assert means[0] > 0.999
    assert means[1] < 0.85
    assert means[2] < 0.45


def test_targets_are_unit_vectors_and_fall_with_changes():
    one = sample_chart(random.Random(0), texture_rate=0)
    other = sample_chart(random.Random(1), texture_rate=0)
    assert float(target(one) @ target(one)) == pytest.approx(1)
    assert float(target(one) @ target(other)) < 0.7
