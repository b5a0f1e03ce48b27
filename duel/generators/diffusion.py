"""Image generation on a local GPU with any text-to-image pipeline of `diffusers` (extra `[diffusers]`, no API token).

Concurrent `draw` calls are batched: one worker thread owns the pipeline, takes the first pending draw, waits briefly
for more, and runs them as one batch. Each draw has its own CPU `torch.Generator`, so its initial noise depends neither
on the rest of the batch nor on the device; another batch size may still change the last bits of the arithmetic.
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
from duel.services.hub import SAFE_WEIGHTS
from duel.types import DrawnImage, Refusal, Scalar

KNOWN_PARAMETERS: dict[str, dict[str, Scalar]] = {
    "black-forest-labs/FLUX.1-schnell": {
        "height": 1024,
        "width": 1024,
        "num_inference_steps": 4,
        "guidance_scale": 0.0,
        "max_sequence_length": 256,  # more is rejected
    }
}
ENCODING: dict[str, Scalar] = {"output_format": "webp", "output_quality": 80}  # the reference experiment's values
FORMATS = {"webp": "WEBP", "png": "PNG", "jpg": "JPEG"}
LONGEST_PROMPT = 100_000  # tokens; a larger `model_max_length` means that the tokenizer has no limit


@dataclass(frozen=True)
class PendingDraw:
    """A draw that waits to be batched; `result` resolves to its image, refusal or error."""

    text: str
    seed: int
    result: Future[DrawnImage | Refusal] = field(default_factory=Future)


class DiffusionGenerator(Closing):
    """ImageGenerator over a `diffusers` pipeline. Full batches need `batch_size` or more calling threads.

    `pipeline` is called with `prompt` (list of str), `generator` (list of torch.Generator) and `parameters` without
    the encoding's, and returns an object with `images`. A batch waits up to `gather_seconds` to fill.
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
        self.prompt_limit = prompt_limit or pipeline_prompt_limit(pipeline, self.parameters, name)
        self.batch_size = batch_size
        self.gather_seconds = gather_seconds
        self._arguments = check_parameters(pipeline, self.parameters)
        self._pipeline = pipeline
        self._queue: queue.SimpleQueue[PendingDraw | None] = queue.SimpleQueue()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="diffusion", daemon=True)
        self._worker.start()

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        """Return the image of `text`, or a Refusal when the safety checker flagged it.

        Raises UserError when the batch does not fit into memory, GeneratorError after `close`, and whatever the
        pipeline raises.
        """
        if self._closed:
            raise GeneratorError(f"the generator {self.name} was closed")
        pending = PendingDraw(text, seed)
        self._queue.put(pending)
        return pending.result.result()

    def close(self) -> None:
        """Finish pending draws and stop the worker thread. May be called twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._worker.join()

    def _work(self) -> None:
        more = True
        while more:
            first = self._queue.get()
            if first is None:
                return
            batch, more = self._gather(first)
            try:
                results = self._draw_batch(batch)
            except torch.OutOfMemoryError as error:
                self._fail(batch, UserError(f"{len(batch)} images at once: {error}; lower generator.batch_size"))
            except Exception as error:  # noqa: BLE001  re-raised in the calling threads by their futures
                self._fail(batch, error)
            else:
                for pending, result in zip(batch, results, strict=True):
                    pending.result.set_result(result)

    def _gather(self, first: PendingDraw) -> tuple[list[PendingDraw], bool]:
        """Return a batch that starts with `first`, and False if the generator was closed meanwhile."""
        batch = [first]
        end = time.monotonic() + self.gather_seconds
        while len(batch) < self.batch_size:
            try:
                pending = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if pending is None:
                return batch, False
            batch.append(pending)
        return batch, True

    def _draw_batch(self, batch: list[PendingDraw]) -> list[DrawnImage | Refusal]:
        with torch.inference_mode():
            drawn = self._pipeline(
                prompt=[pending.text for pending in batch],
                generator=[torch.Generator().manual_seed(pending.seed) for pending in batch],
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
    def _fail(batch: list[PendingDraw], error: BaseException) -> None:
        for pending in batch:
            pending.result.set_exception(error)


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
    """Load a pipeline by hub name or local folder; dtype defaults to bfloat16 on CUDA and float32 elsewhere.

    `hub_token` is for gated models; None uses the token that `huggingface_hub` finds.
    Raises UserError when `diffusers` is not installed or the model cannot be loaded.
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
        pipeline = pipeline.from_pretrained(model, revision=revision, dtype=kind, token=hub_token, **SAFE_WEIGHTS)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load the diffusion model {model}: {error}; set generator.model") from None
    pipeline.to(place)
    pipeline.set_progress_bar_config(disable=True)
    version = f"{revision or 'main'} {str(kind).removeprefix('torch.')} diffusers-{diffusers.__version__}"
    return DiffusionGenerator(pipeline, model, version, parameters, prompt_limit, batch_size)


def check_parameters(pipeline: Any, parameters: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return `parameters` without the image encoding's: the pipeline's keyword arguments.

    Raises SettingsError for an unknown output format or an argument that the pipeline does not take.
    """
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


def pipeline_prompt_limit(pipeline: Any, parameters: Mapping[str, Scalar], name: str) -> int:
    """Return a pipeline's prompt limit in text tokens, special tokens not counted.

    This is `max_sequence_length` where the pipeline takes it (it bounds the longer of two text encoders), else the
    tokenizer's `model_max_length`. Raises UserError when neither states a limit.
    """
    taken = inspect.signature(type(pipeline).__call__).parameters
    if "max_sequence_length" in taken:
        limit = parameters.get("max_sequence_length", taken["max_sequence_length"].default)
        tokenizer = getattr(pipeline, "tokenizer_2", None) or pipeline.tokenizer
    else:
        tokenizer = pipeline.tokenizer
        limit = tokenizer.model_max_length
    if not isinstance(limit, int) or limit > LONGEST_PROMPT:
        raise UserError(f"the prompt limit of {name} is not known; set generator.prompt_limit to its tokens")
    return limit - int(tokenizer.num_special_tokens_to_add())
