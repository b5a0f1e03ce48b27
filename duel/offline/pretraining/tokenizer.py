"""The small VLM's tokenizer: byte-level BPE trained on the offline world's texts, special tokens as in Qwen2.5-VL.

Any text encodes without unknown tokens; every word of a chart's attributes is one token.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from duel import instructions
from duel.offline import charts
from duel.offline.language import invent, write
from duel.offline.pretraining.models import IMAGE_TOKENS
from duel.offline.questions import QUESTIONS

VOCABULARY = 1200  # upper bound; the texts have fewer distinct pairs
IMAGE_PAD = "<|image_pad|>"
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def world_words() -> list[str]:
    """Return all words that occur in chart attributes and answers, sorted."""
    numbers = [str(number) for number in range(charts.MOST_VALUES + 1)]
    words = [*charts.KINDS, *charts.COLOURS, *charts.BACKGROUNDS, *charts.TITLES, *charts.X_LABELS]
    return sorted({*words, *charts.Y_LABELS, *numbers, "yes", "no"})


def training_texts(seed: int = 0) -> Iterator[str]:
    """Yield the texts to train the merges on."""
    rng = random.Random(seed)
    frame = f"user\n{instructions.DESCRIBE}\n{instructions.INVENT}\nassistant\n"
    for _ in range(6000):
        yield write(charts.sample_chart(rng), rng, keep=0.8)
        yield invent(rng)
    for _ in range(300):
        yield frame
        for question in QUESTIONS:
            yield instructions.ANSWER.format(question=question.text)
            yield instructions.REASON.format(question=question.text)
        for word in world_words():
            yield word
            yield f"a {word}"


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Train and return the tokenizer (a few seconds)."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(training_texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=[
            token for token in SPECIAL_TOKENS if token.startswith(("<|im_start", "<|vi", "<|image"))
        ],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=512,
    )


def chat(tokenizer: PreTrainedTokenizerBase, instruction: str, with_image: bool) -> str:
    """Return the chat-formatted prompt up to the answer, with one image token per merged patch."""
    parts = [{"type": "image"}] if with_image else []
    messages: Any = [{"role": "user", "content": [*parts, {"type": "text", "text": instruction}]}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return str(text).replace(IMAGE_PAD, IMAGE_PAD * IMAGE_TOKENS)
