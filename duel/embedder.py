"""Images to unit vectors, by a DINOv2 model (Oquab et al. 2023, arXiv 2304.07193).

The whole image counts: it is padded to a square and resized, never cropped, because a chart's title and axis
labels lie at its edges. Padding is white: most charts' own background, and, unlike a colour taken from the image's
edge, it does not jump when a few pixels there change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoModel
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # the top-level name needs torchvision

from duel.devices import choose_device, own_random_state
from duel.errors import SettingsError
from duel.images import decode_image
from duel.offline.embedded import resolve
from duel.settings import ModelSettings

CHUNK = 8  # images in one pass, always: a fixed shape keeps an image's embedding free of its neighbours


class Embedder:
    """Embeds images with the network's class token."""

    def __init__(self, network: Any, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.network = network.eval().requires_grad_(False)
        self.size = size
        self.mean = torch.tensor(mean).view(3, 1, 1)
        self.std = torch.tensor(std).view(3, 1, 1)

    @torch.no_grad()
    def embed(self, images: Sequence[bytes]) -> Tensor:
        """Return one unit vector per image, (N, D) in fp32 on the CPU; each distinct image is embedded once.

        Raises DataError for bytes that are no image.
        """
        index = {data: i for i, data in enumerate(dict.fromkeys(images))}
        pixels = [self._pixels(data) for data in index]
        embedded = [self._embed_chunk(pixels[i : i + CHUNK]) for i in range(0, len(pixels), CHUNK)]
        if not embedded:
            return torch.zeros(0, self.network.config.hidden_size)
        return torch.cat(embedded)[[index[data] for data in images]]

    def _embed_chunk(self, pixels: list[Tensor]) -> Tensor:
        blank = [torch.zeros_like(pixels[0])] * (CHUNK - len(pixels))
        batch = torch.stack(pixels + blank).to(self.network.device)  # (chunk, 3, size, size)
        class_token = self.network(pixel_values=batch).last_hidden_state[: len(pixels), 0]  # (n, D)
        return torch.nn.functional.normalize(class_token.float(), dim=-1).cpu()

    def _pixels(self, data: bytes) -> Tensor:
        square = pad_to_square(decode_image(data)).resize((self.size, self.size), Image.Resampling.BICUBIC)
        values = torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255  # (3, size, size)
        return (values - self.mean) / self.std


def similarity(a: Tensor, b: Tensor) -> float:
    """Return the cosine of two unit vectors, in [-1, 1]."""
    return float((a @ b).clamp(-1, 1))


def pad_to_square(image: Image.Image) -> Image.Image:
    """Return the image in the middle of a white square."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def load_embedder(settings: ModelSettings, hub_token: str | None = None) -> Embedder:
    """Load the embedder; raises SettingsError when it cannot be loaded or the size does not fit its patches.

    `hub_token` is for models that the hub gives to some accounts only; None: the hub library's own.
    """
    size, processor = check_embedder(settings, hub_token)
    try:
        with own_random_state():
            network = AutoModel.from_pretrained(
                resolve(settings.embedder, "embedder"),
                dtype=torch.float32,
                attn_implementation="sdpa",
                token=hub_token,
            )
    except (OSError, ValueError) as error:
        raise _unusable(settings, error) from error
    return Embedder(network.to(choose_device(settings.device)), size, processor.image_mean, processor.image_std)


def check_embedder(settings: ModelSettings, hub_token: str | None = None) -> tuple[int, Any]:
    """Return the side of the square that is embedded, and the image processor; reads no weights.

    Raises SettingsError when there is no such embedder, or the size does not fit its patches.
    """
    folder = resolve(settings.embedder, "embedder")
    try:
        config = AutoConfig.from_pretrained(folder, token=hub_token)
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil", token=hub_token)
    except (OSError, ValueError) as error:
        raise _unusable(settings, error) from error
    patch = getattr(config, "patch_size", None)
    if not isinstance(patch, int):
        raise _unusable(settings, f"it is a {config.model_type} model, whose input is not cut into square patches")
    size = settings.embedder_size or input_size(processor)
    if size % patch:
        raise SettingsError(f"models.embedder_size = {size}: expected a multiple of the model's patch size, {patch}")
    return size, processor


def _unusable(settings: ModelSettings, why: Exception | str) -> SettingsError:
    first_line = str(why).splitlines()[0]
    return SettingsError(
        f"cannot load the embedder {settings.embedder!r}: {first_line}; expected a hub name or a DINOv2 folder"
    )


def input_size(processor: Any) -> int:
    """Return the side of the square that a model was made to see: that of its stock crop, here filled by the whole."""
    size = dict(processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size)
    side: int = size.get("height") or size["shortest_edge"]
    return side
