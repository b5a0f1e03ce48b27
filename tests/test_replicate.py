"""Replicate over real HTTP on loopback: every fault alone and all together, and nothing paid for twice."""

import hashlib
import io
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from cache.images import ImageStore
from cache.ledger import SpendLedger
from cache.studio import Studio
from duel.errors import GeneratorError, UserError
from duel.images import decode_image
from duel.pacing import Pace
from duel.replicate import FLUX_SCHNELL, ReplicateGenerator
from duel.testing.inputs import COMMUNITY, VERSIONS
from duel.testing.replicate import NSFW, ReplicateServer
from duel.testing.replicate_api import CREATE_FAULTS, FILE_FAULTS, READ_FAULTS
from duel.types import DrawnImage, Refusal, Scalar

QUICK = Pace(
    requests_per_minute=60_000, deadline=20, request=0.3, poll=0.01, first_wait=0.02, longest_wait=0.1, listing=0.1
)
PNG: dict[str, Scalar] = {"output_format": "png"}
TOKEN = "r8_8c1d0f7a_token_of_the_tests"
VERSION_OF = {model: version for version, model in VERSIONS.items()}


class Painter:
    """Draws a square whose pixels are the hash of text and seed; will not draw the forbidden."""

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
    """Return what the painter draws: 16 x 16 pixels."""
    return Image.frombytes("RGB", (16, 16), hashlib.sha256(f"{text} {seed}".encode()).digest() * 24)


def is_right(drawn: DrawnImage | Refusal, text: str, seed: int) -> bool:
    """Tell whether an image is the one of this text and seed; the seed sent is one higher, never 0."""
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
    with ReplicateGenerator(ledger, parameters=PNG, pace=QUICK) as made:
        yield made


def pace(**changes: float) -> Pace:
    return Pace(**{**QUICK.__dict__, **changes})


def test_the_references_parameters_are_sent_and_a_seed(server, ledger):
    with ReplicateGenerator(ledger, pace=QUICK) as generator:
        drawn = generator.draw("a plot", 41)
        assert (generator.name, generator.version, generator.prompt_limit) == (FLUX_SCHNELL, "official", 256)
    assert server.jobs[0].input == {
        "prompt": "a plot", "seed": 42, "megapixels": "1", "aspect_ratio": "1:1", "num_inference_steps": 4,
        "output_format": "webp", "output_quality": 80, "go_fast": False, "num_outputs": 1,
    }  # fmt: skip
    assert drawn.media_type == "image/webp"
    assert server.tokens_at_files == 0


def test_every_seed_is_sent_as_one_to_two_to_the_31_minus_1(generator):
    assert [generator.input_of("x", seed)["seed"] for seed in (0, 1, 2**31 - 2, 2**31 - 1)] == [1, 2, 2**31 - 1, 1]


def test_a_text_that_json_or_a_database_cannot_hold_is_sent_all_the_same(server, generator):
    generator.draw("half a pair \ud83d and \0 nothing", 0)
    assert server.jobs[0].input["prompt"] == "half a pair ? and  nothing"


def test_a_pinned_version_and_free_parameters(server, ledger):
    made = ReplicateGenerator(ledger, COMMUNITY, VERSION_OF[COMMUNITY], {"steps": 20}, prompt_limit=77, pace=QUICK)
    with made as generator:
        generator.draw("a plot", 0)
        assert (generator.prompt_limit, generator.version) == (77, VERSION_OF[COMMUNITY])
    assert (server.jobs[0].version, server.jobs[0].input) == (
        VERSION_OF[COMMUNITY], {"prompt": "a plot", "seed": 1, "steps": 20}
    )  # fmt: skip


def test_a_model_whose_prompt_limit_is_not_known_must_state_it(server, ledger):
    with pytest.raises(UserError, match=r"Set generator\.prompt_limit"):
        ReplicateGenerator(ledger, COMMUNITY)


@pytest.mark.parametrize("fault", CREATE_FAULTS)
def test_a_creation_that_goes_wrong_is_made_good_and_paid_once(server, ledger, generator, fault):
    server.faults.script("create", fault)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == server.counts()["images_billed"] == 1
    assert (ledger.spend().predictions, ledger.spend().drawn, ledger.spend().dollars) == (1, 1, 0.003)


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_a_poll_that_goes_wrong_is_repeated(server, generator, fault):
    server.faults.script("poll", fault, fault)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 1


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_a_list_that_goes_wrong_is_repeated(server, generator, fault):
    server.faults.script("create", "reset-after")
    server.faults.script("list", fault, fault)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 1


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_bytes_that_do_not_come_whole_are_read_again(server, generator, fault):
    server.faults.script("file", fault, fault)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert (server.counts()["created"], server.counts()["images_served"]) == (1, 1)


def test_a_prediction_that_the_service_fails_is_created_anew(server, ledger, generator):
    server.faults.script("prediction", "failed")
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert (server.counts()["created"], server.counts()["failed"]) == (2, 1)
    spend = ledger.spend()
    assert (spend.failed, spend.drawn, spend.images) == (1, 1, server.counts()["images_billed"])


def test_a_model_that_always_fails_ends_after_five_predictions(server, generator):
    server.faults.rates = {"failed": 1.0}
    with pytest.raises(GeneratorError, match=r"failed 5 predictions"):
        generator.draw("a plot", 7)
    assert server.counts()["created"] == 5


def test_a_refusal_is_a_result_billed_and_remembered(server, ledger, generator):
    assert generator.draw("something forbidden", 3) == Refusal(NSFW)
    assert generator.draw("something forbidden", 3) == Refusal(NSFW)
    assert server.counts()["created"] == server.counts()["images_billed"] == 1
    assert (ledger.spend().refused, ledger.spend().dollars) == (1, 0.003)


def test_a_wrong_token_is_said_once_and_not_shown(server, ledger, monkeypatch):
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_wrong")
    with ReplicateGenerator(ledger, pace=QUICK) as generator, pytest.raises(UserError) as caught:
        generator.draw("a plot", 7)
    assert "401" in str(caught.value)
    assert "REPLICATE_API_TOKEN is not accepted" in str(caught.value)
    assert "r8_wrong" not in str(caught.value)
    assert ledger.latest(ledger_key(ledger)).outcome == "absent"


def ledger_key(ledger: SpendLedger) -> str:
    return ledger._ask("SELECT key FROM purchases", ())[0][0]


def test_an_account_without_credit_is_told_so(server, generator):
    server.credit = 0
    with pytest.raises(UserError, match=r"402: Insufficient credit.*billing, then run the same command again"):
        generator.draw("a plot", 7)


def test_parameters_that_the_model_does_not_take_are_named(server, ledger):
    with (
        ReplicateGenerator(ledger, parameters={"num_inference_steps": 28}, pace=QUICK) as generator,
        pytest.raises(UserError, match=r"num_inference_steps: Must be less than or equal to 4.*generator\.parameters"),
    ):
        generator.draw("a plot", 7)


def test_a_model_that_is_not_official_asks_for_a_version(server, ledger):
    with (
        ReplicateGenerator(ledger, COMMUNITY, prompt_limit=77, pace=QUICK) as generator,
        pytest.raises(UserError, match=r"404.*pin generator\.version"),
    ):
        generator.draw("a plot", 7)


def test_no_token_is_reported_before_any_work(ledger, monkeypatch):
    monkeypatch.delenv("REPLICATE_API_TOKEN", raising=False)
    with pytest.raises(UserError, match="REPLICATE_API_TOKEN is not set"):
        ReplicateGenerator(ledger)


def test_a_token_may_be_given_from_elsewhere(server, ledger, monkeypatch):
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    with ReplicateGenerator(ledger, parameters=PNG, pace=QUICK, token=f"{TOKEN}\n") as generator:
        assert is_right(generator.draw("a plot", 7), "a plot", 7)


@pytest.mark.parametrize("address", ["http://example.org", "ftp://127.0.0.1", "api.replicate.com"])
def test_a_token_is_sent_nowhere_unencrypted_but_to_this_machine(ledger, monkeypatch, address):
    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
    monkeypatch.setenv("REPLICATE_BASE_URL", address)
    with pytest.raises(UserError, match="expected https"):
        ReplicateGenerator(ledger)


def test_retry_after_is_honoured_by_every_thread(server, generator):
    server.retry_after = 0.4
    server.faults.script("create", "throttled")
    began = time.monotonic()
    generator.draw("first", 0)
    assert 0.4 <= time.monotonic() - began < 2
    server.faults.script("create", "throttled")
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(generator.draw, "second", 0)
        time.sleep(0.1)  # the first has met the 429 by now
        second = pool.submit(generator.draw, "third", 0)
        first.result()
        second.result()
    assert min(job.created for job in server.jobs[1:]) - server.jobs[0].created >= 0.4
    assert time.monotonic() - began >= 0.4


def test_a_wait_longer_than_the_deadline_ends_the_draw_at_once(server, ledger):
    server.retry_after = 3600
    server.faults.rates = {"throttled": 1.0}
    began = time.monotonic()
    with (
        ReplicateGenerator(ledger, pace=pace(deadline=2)) as generator,
        pytest.raises(GeneratorError, match=r"no image within 2 s for draw .* last: HTTP 429: Request was throttled"),
    ):
        generator.draw("a plot", 7)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("fault", ["error", "hang"])
def test_a_service_that_is_down_ends_at_the_deadline_with_what_happened_last(server, ledger, fault):
    server.faults.rates = {fault: 1.0}
    began = time.monotonic()
    with (
        ReplicateGenerator(ledger, pace=pace(deadline=1.2)) as generator,
        pytest.raises(GeneratorError, match="HTTP 500" if fault == "error" else "ReadTimeout"),
    ):
        generator.draw("a plot", 7)
    assert time.monotonic() - began < 1.6
    assert server.counts()["created"] == 0


def test_a_service_that_nobody_hears_ends_at_the_deadline(server, ledger, monkeypatch):
    monkeypatch.setenv("REPLICATE_BASE_URL", "http://127.0.0.1:9")
    with (
        ReplicateGenerator(ledger, pace=pace(deadline=0.5)) as generator,
        pytest.raises(GeneratorError, match="ConnectError"),
    ):
        generator.draw("a plot", 7)
    assert ledger.spend().under_way == 0


def test_a_prediction_that_outlasts_the_deadline_is_read_by_the_next_draw(server, ledger, generator):
    server.seconds = 0.8
    with (
        ReplicateGenerator(ledger, parameters=PNG, pace=pace(deadline=0.4)) as hurried,
        pytest.raises(GeneratorError, match="is processing"),
    ):
        hurried.draw("a plot", 7)
    assert ledger.spend().under_way == 1
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 1


def test_a_drawn_image_that_never_reached_the_store_is_read_again(server, generator):
    generator.draw("a plot", 7)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert (server.counts()["created"], server.counts()["images_served"]) == (1, 2)


def test_a_lost_answer_is_found_behind_many_newer_predictions(server, ledger, generator):
    server.faults.script("create", "lost")
    with ReplicateGenerator(ledger, parameters=PNG, pace=pace(deadline=0.31)) as hurried, pytest.raises(GeneratorError):
        hurried.draw("a plot", 7)
    for i in range(230):
        server.create(FLUX_SCHNELL, "hidden", {**generator.input_of(f"other {i}", 7)})
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 231


def test_what_the_service_forgot_is_drawn_again_and_shown(server, ledger):
    with ReplicateGenerator(ledger, parameters=PNG, pace=pace(memory=0.3)) as generator:
        server.retention = 0.3
        generator.draw("drawn", 7)
        server.faults.script("create", "lost")
        server.faults.script("list", *["error"] * 100)
        lost = ReplicateGenerator(ledger, parameters=PNG, pace=pace(deadline=0.4))
        with lost, pytest.raises(GeneratorError):
            lost.draw("lost", 7)
        server.faults.script("list")
        time.sleep(0.35)
        assert is_right(generator.draw("drawn", 7), "drawn", 7)
        assert is_right(generator.draw("lost", 7), "lost", 7)
    spend = ledger.spend()
    assert (spend.drawn, spend.lost, spend.unknown) == (2, 1, 1)
    assert server.counts()["created"] == 4
    assert server.counts()["images_billed"] == spend.images + spend.unknown


def test_creations_keep_to_the_rate(server, ledger):
    made = ReplicateGenerator(ledger, parameters=PNG, pace=pace(requests_per_minute=1200))
    with made as generator, ThreadPoolExecutor(8) as pool:
        list(pool.map(generator.draw, [f"text {i}" for i in range(40)], range(40)))
    created = [job.created for job in server.jobs]
    assert created[-1] - created[0] >= 19 * 0.05 * 0.98  # 20 at once, then one in 50 ms
    assert all(late - early >= 0.9 for early, late in zip(created, created[38:], strict=False))


def test_five_in_a_hundred_of_everything(server, ledger, tmp_path):
    rates = {"throttled": 0.05, "error": 0.025, "error-after": 0.025, "hang": 0.025, "lost": 0.025}
    server.faults.rates = {**rates, "reset": 0.02, "truncated": 0.05, "empty": 0.02, "refused": 0.05, "failed": 0.02}
    texts, seeds = [f"text {i}" for i in range(300)], list(range(300))
    made = ReplicateGenerator(ledger, parameters=PNG, pace=QUICK)
    with made as generator, ImageStore(tmp_path / "images") as store:
        studio = Studio(generator, store, concurrency=8)
        batch = studio.draw(texts, seeds)
        again = studio.draw(texts, seeds)
        images = [studio.read(drawing.key) if drawing.key else None for drawing in batch.drawings]
    assert again.drawings == batch.drawings
    assert again.made == 0
    refused = [drawing for drawing in batch.drawings if drawing.refusal]
    assert all(is_right(image, text, seed) for image, text, seed in zip(images, texts, seeds, strict=True) if image)
    counts, spend = server.counts(), ledger.spend("test")
    assert counts["created"] == 300 + counts["failed"]
    assert counts["refused"] == len(refused) == spend.refused > 0
    assert spend.images == counts["images_billed"] == 300
    assert spend.under_way == spend.unknown == spend.lost == 0
    met = {name.partition(" ")[2] for name in server.faults.counts}
    assert met == set(server.faults.rates)


CHILD = """
    import sys
    from pathlib import Path
    from cache.images import ImageStore
    from cache.ledger import SpendLedger
    from cache.studio import Studio
    from duel.pacing import Pace
    from duel.replicate import ReplicateGenerator

    print("ready", flush=True)
    sys.stdin.readline()
    folder = Path(sys.argv[1])
    pace = Pace(requests_per_minute=60_000, deadline=20, request=5, poll=0.02, first_wait=0.02, listing=0.1)
    with SpendLedger(folder / "spend.sqlite", "killed") as ledger, ImageStore(folder / "images") as store:
        with ReplicateGenerator(ledger, parameters={"output_format": "png"}, pace=pace) as generator:
            Studio(generator, store, 8).draw([f"text {i}" for i in range(40)], list(range(40)))
"""


def start_child(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that draws forty texts once it reads a line."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(folder)]
    root = Path(__file__).parent.parent
    return subprocess.Popen(command, env=os.environ, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_run_killed_in_mid_draw_pays_nothing_twice(server, tmp_path):
    server.seconds = 0.1
    server.faults.rates = {"lost": 0.2}  # so that some draws die between request and answer
    killed, resumed = start_child(tmp_path), start_child(tmp_path)
    assert killed.stdout is not None
    assert killed.stdin is not None
    assert killed.stdout.readline() == b"ready\n"
    killed.stdin.write(b"\n")
    killed.stdin.flush()
    while server.counts()["created"] < 20:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    with SpendLedger(tmp_path / "spend.sqlite") as ledger:
        assert ledger.spend().under_way > 0
    server.faults.rates = {}
    resumed.communicate(b"\n", timeout=30)
    assert resumed.returncode == 0
    assert server.counts()["created"] == server.counts()["distinct_inputs"] == 40
    with SpendLedger(tmp_path / "spend.sqlite") as ledger:
        spend = ledger.spend("killed")
        assert (spend.predictions, spend.drawn, spend.images, spend.under_way) == (40, 40, 40, 0)


def test_the_token_is_in_nothing_that_is_written_or_said(server, ledger, generator, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    generator.draw("a plot", 7)
    server.token = "another"  # as if the token had been withdrawn
    with pytest.raises(UserError) as refused:
        generator.draw("another plot", 7)
    said = [repr(generator), str(generator), repr(refused.value), repr(refused.value.__context__), caplog.text]
    assert all(TOKEN not in words for words in said)
    assert "HTTP Request" in caplog.text  # the clients do log
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert all(TOKEN.encode() not in data for data in written)
