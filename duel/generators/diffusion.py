"""Local diffusion draws: any text-to-image pipeline of `diffusers`, for a GPU and no token (extra `[diffusers]`).

Callers' threads meet here in batches: one thread owns the pipeline, takes the first draw that waits, gathers others
for a moment, and draws them together. Each draw has a generator of its own on the CPU, so that its noise does not
depend on its neighbours or on the device; the arithmetic of another batch size may still differ in the last bits.
"""

from __future__ import annotations

import inspect
import queue
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import torch
from PIL import Image

from duel.closing import Closing
from duel.devices import choose_device
from duel.errors import GeneratorError, SettingsError, UserError
from duel.types import DrawnImage, Refusal, Scalar

KNOWN_PARAMETERS: dict[str, dict[str, Scalar]] = {
    "black-forest-labs/FLUX.1-schnell": {
        "height": 1024,
        "width": 1024,
        "num_inference_steps": 4,
        "guidance_scale": 0.0,
        "max_sequence_length": 256,  # more is refused
    }
}
ENCODING: dict[str, Scalar] = {"output_format": "webp", "output_quality": 80}  # as the reference's drawings
FORMATS = {"webp": "WEBP", "png": "PNG", "jpg": "JPEG"}
LONGEST_PROMPT = 100_000  # a tokenizer that states more states no limit


@dataclass(frozen=True)
class Asked:
    """A draw that waits for its batch."""

    text: str
    seed: int
    result: Future[DrawnImage | Refusal] = field(default_factory=Future)


class DiffusionGenerator(Closing):
    """Draws with a pipeline, as `duel.generators.base.ImageGenerator` asks; call it from at least `batch_size` threads.

    `pipeline` is called with a list of prompts, a list of torch generators, and `parameters` (without the encoding's);
    it returns an object with `images`. A draw waits up to `gather_seconds` for others to share its batch.
    """

    def __init__(
        self,
        pipeline: Any,
        name: str,
        version: str,
        parameters: Mapping[str, Scalar] | None = None,
        prompt_limit: int | None = None,
        batch_size: int = 4,
        gather_seconds: float = 0.05,
    ) -> None:
        self.name = name
        self.version = version
        self.parameters: Mapping[str, Scalar] = {**ENCODING, **KNOWN_PARAMETERS.get(name, {}), **(parameters or {})}
        self.prompt_limit = prompt_limit or tokens_read(pipeline, self.parameters, name)
        self.batch_size = batch_size
        self.gather_seconds = gather_seconds
        self._arguments = check_parameters(pipeline, self.parameters)
        self._pipeline = pipeline
        self._asked: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="diffusion", daemon=True)
        self._worker.start()

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        """Draw `text` in the next batch. Raises UserError when the batch does not fit into memory."""
        if self._closed:
            raise GeneratorError(f"the generator {self.name} was closed")
        asked = Asked(text, seed)
        self._asked.put(asked)
        return asked.result.result()

    def close(self) -> None:
        """Finish what was asked and end the pipeline's thread."""
        if not self._closed:
            self._closed = True
            self._asked.put(None)
            self._worker.join()

    def _work(self) -> None:
        more = True
        while more:
            first = self._asked.get()
            if first is None:
                return
            batch, more = self._gather(first)
            try:
                results = self._draw_batch(batch)
            except torch.OutOfMemoryError as error:
                self._fail(batch, UserError(f"{len(batch)} images at once: {error}; lower generator.batch_size"))
            except Exception as error:  # noqa: BLE001  handed to those who asked, in whose threads it is raised
                self._fail(batch, error)
            else:
                for asked, result in zip(batch, results, strict=True):
                    asked.result.set_result(result)

    def _gather(self, first: Asked) -> tuple[list[Asked], bool]:
        """Return a batch, and whether there may be another."""
        batch = [first]
        end = time.monotonic() + self.gather_seconds
        while len(batch) < self.batch_size:
            try:
                asked = self._asked.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if asked is None:
                return batch, False
            batch.append(asked)
        return batch, True

    def _draw_batch(self, batch: list[Asked]) -> list[DrawnImage | Refusal]:
        with torch.inference_mode():
            drawn = self._pipeline(
                prompt=[asked.text for asked in batch],
                generator=[torch.Generator().manual_seed(asked.seed) for asked in batch],
                **self._arguments,
            )
        flags = getattr(drawn, "nsfw_content_detected", None) or [False] * len(batch)
        return [
            Refusal("NSFW content detected") if flagged else self._encoded(image)
            for image, flagged in zip(drawn.images, flags, strict=True)
        ]

    def _encoded(self, image: Image.Image) -> DrawnImage:
        format = FORMATS[str(self.parameters["output_format"])]
        buffer = BytesIO()
        image.save(buffer, format, quality=self.parameters["output_quality"])
        return DrawnImage(buffer.getvalue(), Image.MIME[format])

    @staticmethod
    def _fail(batch: list[Asked], error: BaseException) -> None:
        for asked in batch:
            asked.result.set_exception(error)


def load_diffusion(
    model: str,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    parameters: Mapping[str, Scalar] | None = None,
    prompt_limit: int | None = None,
    batch_size: int = 4,
    hub_token: str | None = None,
) -> DiffusionGenerator:
    """Load a pipeline by hub name or local folder; bfloat16 on a GPU and float32 elsewhere, unless `dtype` is given.

    `hub_token` is for gated models; None: the hub library's own.
    Raises UserError when `diffusers` is not installed, or the model cannot be loaded.
    """
    try:
        import diffusers
    except ImportError:
        raise UserError(
            "generator.service = diffusers needs the package diffusers; install it with pip install 'duel[diffusers]'"
        ) from None
    place = choose_device(device)
    kind = dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32)
    try:
        pipeline: Any = diffusers.DiffusionPipeline
        pipeline = pipeline.from_pretrained(model, revision=revision, dtype=kind, token=hub_token)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load the diffusion model {model}: {error}; set generator.model") from None
    pipeline.to(place)
    pipeline.set_progress_bar_config(disable=True)
    version = f"{revision or 'main'} {str(kind).removeprefix('torch.')} diffusers-{diffusers.__version__}"
    return DiffusionGenerator(pipeline, model, version, parameters, prompt_limit, batch_size)


def check_parameters(pipeline: Any, parameters: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return what the pipeline is called with. Raises SettingsError when it takes no such argument."""
    if parameters["output_format"] not in FORMATS:
        raise SettingsError(
            f"generator.parameters.output_format: got {parameters['output_format']!r}, expected {', '.join(FORMATS)}"
        )
    arguments = {name: value for name, value in parameters.items() if name not in ENCODING}
    taken = inspect.signature(type(pipeline).__call__).parameters
    for name in arguments:
        if name not in taken:
            raise SettingsError(f"generator.parameters.{name}: {type(pipeline).__name__} takes no such argument")
    return arguments


def tokens_read(pipeline: Any, parameters: Mapping[str, Scalar], name: str) -> int:
    """Return how many text tokens a pipeline reads, special ones not counted.

    `max_sequence_length` where the pipeline has it (it bounds the larger of two encoders), else the tokenizer's limit.
    """
    taken = inspect.signature(type(pipeline).__call__).parameters
    if "max_sequence_length" in taken:
        limit = parameters.get("max_sequence_length", taken["max_sequence_length"].default)
        tokenizer = getattr(pipeline, "tokenizer_2", None) or pipeline.tokenizer
    else:
        tokenizer = pipeline.tokenizer
        limit = tokenizer.model_max_length
    if not isinstance(limit, int) or limit > LONGEST_PROMPT:
        raise UserError(f"how many text tokens does {name} read? Set generator.prompt_limit")
    return limit - int(tokenizer.num_special_tokens_to_add())
