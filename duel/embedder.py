"""Image embeddings by a DINOv2, DINOv3 or SigLIP model, and their cosine similarity.

The default is DINOv2 (Oquab et al. 2023, arXiv 2304.07193). Of each family the model's own pooled output is taken: the
class token of the DINO models, the attention pooling of SigLIP's and SigLIP 2's, which have no class token.

Images are padded to a square and resized, never cropped, because a chart's title and axis labels lie at its edges.
The padding is white: the background of most charts, and, unlike a colour sampled at the image's edge, independent of
a few pixels there.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoModel
from transformers.image_processing_base import ImageProcessingMixin
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # the top-level name needs torchvision

from duel.devices import choose_device, isolated_random_state
from duel.errors import SettingsError
from duel.images import decode_image
from duel.offline.embedded import resolve
from duel.services.hub import NO_CODE, SAFE_WEIGHTS, reason_of
from duel.settings import ModelSettings

POOLED = ("dinov2", "dinov2_with_registers", "dinov3_vit", "siglip", "siglip_vision_model")  # SigLIP 2's type is siglip
CHUNK = 8  # images per forward pass, padded: with a fixed shape, an embedding does not depend on the batch


class Embedder:
    """Embeds images as the network's pooled output, normalised to unit length."""

    def __init__(self, network: Any, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.network = network.eval().requires_grad_(False)
        self.size = size
        self.mean = torch.tensor(mean).view(3, 1, 1)
        self.std = torch.tensor(std).view(3, 1, 1)

    @torch.no_grad()
    def embed(self, images: Sequence[bytes]) -> Tensor:
        """Return one unit vector per image, (N, D) in fp32 on the CPU; duplicate images are embedded once.

        Raises DataError for bytes that are not an image.
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
        pooled = self.network(pixel_values=batch).pooler_output[: len(pixels)]  # (n, D)
        return torch.nn.functional.normalize(pooled.float(), dim=-1).cpu()

    def _pixels(self, data: bytes) -> Tensor:
        square = pad_to_square(decode_image(data)).resize((self.size, self.size), Image.Resampling.BICUBIC)
        values = torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255  # (3, size, size)
        return (values - self.mean) / self.std


def similarity(a: Tensor, b: Tensor) -> float:
    """Return the cosine similarity of two unit vectors, in [-1, 1]."""
    return float((a @ b).clamp(-1, 1))


def pad_to_square(image: Image.Image) -> Image.Image:
    """Return the image centred on a white square."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def load_embedder(settings: ModelSettings, hub_token: str | None = None) -> Embedder:
    """Load the embedder. Raises SettingsError when it cannot be loaded or the size does not fit its patches.

    `hub_token` is for gated models; None uses the token that `huggingface_hub` finds.
    """
    size, processor = check_embedder(settings, hub_token)
    try:
        with isolated_random_state():
            network = AutoModel.from_pretrained(
                resolve(settings.embedder, "embedder"),
                dtype=torch.float32,
                attn_implementation="sdpa",
                token=hub_token,
                revision=settings.embedder_revision or "main",
                **SAFE_WEIGHTS,
            )
    except (OSError, ValueError) as error:
        raise _unusable(settings, error) from error
    tower = network.vision_model if network.config.model_type == "siglip" else network  # without the text tower
    return Embedder(tower.to(choose_device(settings.device)), size, processor.image_mean, processor.image_std)


def check_embedder(settings: ModelSettings, hub_token: str | None = None) -> tuple[int, Any]:
    """Return the input size (pixels per side) and the image processor, without loading weights.

    Raises SettingsError when there is no such embedder, Duel does not know its pooled output, or the size is not a
    multiple of its patch size (of a SigLIP model: not its own).
    """
    folder = resolve(settings.embedder, "embedder")
    try:
        revision = settings.embedder_revision or "main"
        config = AutoConfig.from_pretrained(folder, token=hub_token, revision=revision, **NO_CODE)
        if config.model_type not in POOLED:
            raise ValueError(f"it is a {config.model_type} model, expected one of {', '.join(POOLED)}")
        processor = read_processor(config.model_type, folder, hub_token, revision)
    except (OSError, ValueError) as error:
        raise _unusable(settings, error) from error
    vision = getattr(config, "vision_config", config)
    if not getattr(vision, "vision_use_head", True):
        raise _unusable(settings, "it is a SigLIP model without its pooling head")
    size = settings.embedder_size or input_size(processor)
    if config.model_type.startswith(
        "siglip"
    ):  # its own size need not be a multiple: so400m-patch14-384 leaves an edge out
        if size != vision.image_size:
            raise SettingsError(f"models.embedder_size = {size}: expected the model's own, {vision.image_size}")
    elif size % vision.patch_size:
        raise SettingsError(
            f"models.embedder_size = {size}: expected a multiple of the model's patch size, {vision.patch_size}"
        )
    return size, processor


def read_processor(kind: str, folder: str, hub_token: str | None, revision: str) -> Any:
    """Return the image processor, of which size, mean and standard deviation are read.

    DINOv3's class needs torchvision, so that its file is read instead.
    """
    if kind == "dinov3_vit":
        found, _ = ImageProcessingMixin.get_image_processor_dict(folder, token=hub_token, revision=revision)
        missing = {"size", "image_mean", "image_std"} - found.keys()
        if missing:
            raise ValueError(f"its preprocessor_config.json lacks {', '.join(sorted(missing))}")
        return SimpleNamespace(**found)
    return AutoImageProcessor.from_pretrained(folder, backend="pil", token=hub_token, revision=revision, **NO_CODE)


def _unusable(settings: ModelSettings, reason: Exception | str) -> SettingsError:
    why = reason if isinstance(reason, str) else reason_of(reason)
    return SettingsError(
        f"cannot load the embedder {settings.embedder!r}: {why}; expected the hub name or folder of an image embedder"
    )


def input_size(processor: Any) -> int:
    """Return the input size (pixels per side) that a model was trained for: that of its stock centre crop."""
    size = dict(processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size)
    side: int = size.get("height") or size["shortest_edge"]
    return side
