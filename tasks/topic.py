"""Which drawings are off the data set's topic: calibrated on held-out images by a stage of its own, once in a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.run.topic import TopicRecord, read_topic, write_topic
from duel.data.topic import Topic, least_nearness, nearness
from tasks.context import TrainingContext
from tasks.stages import stage

if TYPE_CHECKING:
    from torch import Tensor


def open_topic(context: TrainingContext) -> None:
    """Load what is on topic into the context, if `rewards.off_topic` asks for it; a resumed run calibrates nothing."""
    share = context.settings.rewards.off_topic
    if share is None:
        return
    images_ND = embed_files(context, context.dataset.train_images)
    calibrated = read_topic(context.run) or calibrate_topic(context, 0, images_ND, share).value
    context.topic = Topic(images_ND, calibrated.least)


@stage("calibrate_topic", cached=False, title="{label}")
def calibrate_topic(context: TrainingContext, round: int, images_ND: Tensor, share: float) -> TopicRecord:
    """Measure how near held-out images are to training images, write `topic.json` and return its content."""
    held_out = context.dataset.test_images
    found = nearness(images_ND, embed_files(context, held_out))
    names = [path.name for path in held_out]
    record = TopicRecord(share, least_nearness(found, share), dict(zip(names, found, strict=True)))
    write_topic(context.run, record)
    return record


def embed_files(context: TrainingContext, paths: Sequence[Path]) -> Tensor:
    """Return the embeddings of image files, (N, D)."""
    return context.embedder.embed([path.read_bytes() for path in paths])
