"""Fixtures: a fake Replicate whose images encode their request, and a generator with short waits that uses it."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image

from cache.ledger import SpendLedger
from duel.generators.replicate.generator import ReplicateGenerator
from duel.generators.replicate.retries import RetrySettings
from duel.images import decode_image
from duel.testing.inputs import VERSIONS
from duel.testing.replicate import ReplicateServer
from duel.types import DrawnImage, Refusal, Scalar

QUICK = RetrySettings(
    requests_per_minute=60_000,
    deadline=20,
    request=0.8,  # a busy machine answers late; a hanging request costs its test so much
    poll=0.01,
    first_wait=0.02,
    longest_wait=0.1,
    listing_delay=0.1,
)
PNG: dict[str, Scalar] = {"output_format": "png"}
TOKEN = "r8_8c1d0f7a_token_of_the_tests"
VERSION_OF = {model: version for version, model in VERSIONS.items()}


class Painter:
    """Draws a square whose pixels are the hash of text and seed; refuses the text `forbidden`."""

    name = "painter"
    version = "1"
    prompt_limit = 77
    parameters: Mapping[str, Scalar] = {}

    def draw(self, text: str, seed: int) -> DrawnImage | Refusal:
        if "forbidden" in text:
            return Refusal("not this")
        buffer = io.BytesIO()
        picture(text, seed).save(buffer, "PNG")
        return DrawnImage(buffer.getvalue(), "image/png")


def picture(text: str, seed: int) -> Image.Image:
    """Return the painter's image: 16 x 16 pixels."""
    return Image.frombytes("RGB", (16, 16), hashlib.sha256(f"{text} {seed}".encode()).digest() * 24)


def is_right(drawn: DrawnImage | Refusal, text: str, seed: int) -> bool:
    """Whether an image is that of this text and seed; the seed sent is one higher, never 0."""
    assert isinstance(drawn, DrawnImage)
    return decode_image(drawn.data).tobytes() == picture(text, seed + 1).tobytes()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateServer]:
    with ReplicateServer(Painter(), token=TOKEN, retry_after=0.05, hang_seconds=0.6) as started:
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        yield started


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SpendLedger]:
    with SpendLedger(tmp_path / "spend.sqlite", run="test", dollars_per_image=0.003) as opened:
        yield opened


@pytest.fixture
def generator(server: ReplicateServer, ledger: SpendLedger) -> Iterator[ReplicateGenerator]:
    with ReplicateGenerator(ledger, parameters=PNG, retries=QUICK) as made:
        yield made


def retry_settings(**changes: float) -> RetrySettings:
    return RetrySettings(**{**QUICK.__dict__, **changes})
