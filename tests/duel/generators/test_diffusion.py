"""DiffusionGenerator on a tiny pipeline with random weights: seeds, batching, prompt limit, errors."""

import io
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from duel.errors import SettingsError, UserError
from duel.generators.diffusion import DiffusionGenerator, load_diffusion, pipeline_prompt_limit
from duel.types import DrawnImage, Refusal

STEPS = {"num_inference_steps": 2, "guidance_scale": 1.0, "output_format": "png"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a Stable Diffusion of a few thousand weights that draws 16 x 16 pixels."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                num_attention_heads=2, max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
            )
        )  # fmt: skip
        unet = UNet2DConditionModel(
            sample_size=8, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=16, attention_head_dim=2,
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(8, 16), norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae, text_encoder, tokenizer, unet, DDIMScheduler(steps_offset=1, clip_sample=False), None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    saved = tmp_path_factory.mktemp("tiny") / "diffusion"
    pipeline.save_pretrained(saved)
    return saved


@pytest.fixture
def generator(folder: Path) -> Iterator[DiffusionGenerator]:
    with load_diffusion(str(folder), device="cpu", parameters=STEPS, batch_size=4) as loaded:
        yield loaded


def pixels(drawn: DrawnImage | Refusal) -> np.ndarray:
    assert isinstance(drawn, DrawnImage)
    return np.asarray(Image.open(io.BytesIO(drawn.data)), dtype=int)


class Recorder:
    """A pipeline that draws a pixel and remembers its batches; it waits until it is let go."""

    class Tokenizer:
        model_max_length = 77

        def num_special_tokens_to_add(self) -> int:
            return 2

    class Drawn:
        def __init__(self, images: list[Image.Image], flags: list[bool]) -> None:
            self.images = images
            self.nsfw_content_detected = flags

    def __init__(self) -> None:
        self.tokenizer = self.Tokenizer()
        self.batches: list[list[str]] = []
        self.let_go = threading.Event()
        self.error: Exception | None = None

    def __call__(self, prompt: list[str], generator: list[torch.Generator], height: int = 8) -> Any:
        self.batches.append(prompt)
        self.let_go.wait(5)
        if self.error is not None:
            raise self.error
        images = [Image.new("RGB", (8, height), (one.initial_seed(), 0, 0)) for one in generator]
        return self.Drawn(images, ["forbidden" in text for text in prompt])


def test_an_image_is_determined_by_text_and_seed(generator):
    first = pixels(generator.draw("a red bar", 1))
    assert first.shape == (16, 16, 3)
    assert (pixels(generator.draw("a red bar", 1)) == first).all()
    assert (pixels(generator.draw("a red bar", 2)) != first).any()
    assert (pixels(generator.draw("a blue pie", 1)) != first).any()


def test_an_image_is_the_same_alone_and_in_a_batch(generator):
    alone = [pixels(generator.draw("a red bar", seed)) for seed in range(2)]
    generator.batch_size, generator.gather_seconds = 2, 5
    with ThreadPoolExecutor(2) as pool:
        together = [pixels(drawn) for drawn in pool.map(generator.draw, ["a red bar"] * 2, range(2))]
    assert all(abs(one - other).max() <= 1 for one, other in zip(alone, together, strict=True))


def test_the_prompt_limit_is_the_tokenizers_without_its_special_tokens(generator):
    assert generator.prompt_limit == 16 - 2


def test_max_sequence_length_is_the_prompt_limit():
    class TwoEncoders(Recorder):
        def __call__(self, prompt: Any, generator: Any, max_sequence_length: int = 512) -> Any:
            raise NotImplementedError

    class T5(Recorder.Tokenizer):
        def num_special_tokens_to_add(self) -> int:
            return 1

    pipeline = TwoEncoders()
    pipeline.tokenizer_2 = T5()
    assert pipeline_prompt_limit(pipeline, {}, "flux") == 511
    assert pipeline_prompt_limit(pipeline, {"max_sequence_length": 256}, "flux") == 255


def test_a_tokenizer_without_limit_requires_the_setting():
    pipeline = Recorder()
    pipeline.tokenizer.model_max_length = int(1e30)
    with pytest.raises(UserError, match=r"set generator\.prompt_limit"):
        DiffusionGenerator(pipeline, "tiny", "1")
    with DiffusionGenerator(pipeline, "tiny", "1", prompt_limit=50) as generator:
        assert generator.prompt_limit == 50


def test_concurrent_draws_are_batched_up_to_the_batch_size():
    pipeline = Recorder()
    texts = [f"text {i}" for i in range(9)]
    made = DiffusionGenerator(pipeline, "recorder", "1", {"output_format": "png"}, batch_size=4, gather_seconds=0.2)
    with made as generator, ThreadPoolExecutor(9) as pool:
        pending = [pool.submit(generator.draw, text, i) for i, text in enumerate(texts)]
        pipeline.let_go.set()
        assert [pixels(one.result())[0, 0, 0] for one in pending] == list(range(9))
    assert [len(batch) for batch in pipeline.batches] == [4, 4, 1]
    assert sorted(text for batch in pipeline.batches for text in batch) == texts


def test_what_the_safety_checker_flags_is_a_refusal_of_that_image_only():
    pipeline = Recorder()
    pipeline.let_go.set()
    with DiffusionGenerator(pipeline, "recorder", "1", batch_size=2) as generator, ThreadPoolExecutor(2) as pool:
        fine, flagged = pool.map(generator.draw, ["a plot", "forbidden"], [1, 2])
    assert isinstance(fine, DrawnImage)
    assert fine.media_type == "image/webp"
    assert flagged == Refusal("NSFW content detected")


def test_out_of_memory_names_the_batch_size_setting():
    pipeline = Recorder()
    pipeline.let_go.set()
    pipeline.error = torch.OutOfMemoryError("CUDA out of memory")
    with DiffusionGenerator(pipeline, "recorder", "1") as generator:
        with pytest.raises(UserError, match=r"CUDA out of memory; lower generator\.batch_size"):
            generator.draw("a plot", 1)
        pipeline.error = None
        assert isinstance(generator.draw("a plot", 1), DrawnImage)  # the thread lives on


def test_a_parameter_that_the_pipeline_does_not_take_is_named():
    with pytest.raises(SettingsError, match=r"generator\.parameters\.stepps: Recorder takes no such argument"):
        DiffusionGenerator(Recorder(), "recorder", "1", {"stepps": 3})


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot load the diffusion model"):
        load_diffusion(str(tmp_path))


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"pip install 'duel\[diffusers\]'"):
        load_diffusion("anything")
