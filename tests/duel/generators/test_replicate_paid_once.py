"""No image is paid for twice: lost responses, deleted predictions, all faults together, and a killed process."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from cache.cached_generator import CachedGenerator
from cache.image_store import ImageStore
from cache.ledger import SpendLedger
from duel.errors import GeneratorError
from duel.generators.replicate.generator import FLUX_SCHNELL, ReplicateGenerator
from tests.support.replicate_fixtures import PNG, QUICK, is_right, retry_settings


def test_a_prediction_that_outlasts_the_deadline_is_resumed_by_the_next_draw(server, ledger, generator):
    server.seconds = 0.8
    with (
        ReplicateGenerator(ledger, parameters=PNG, retries=retry_settings(deadline=0.4)) as hurried,
        pytest.raises(GeneratorError, match="is processing"),
    ):
        hurried.draw("a plot", 7)
    assert ledger.spend().under_way == 1
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 1


def test_a_drawn_image_that_never_reached_the_store_is_downloaded_again(server, generator):
    generator.draw("a plot", 7)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert (server.counts()["created"], server.counts()["images_served"]) == (1, 2)


def test_a_prediction_whose_response_was_lost_is_found_behind_newer_ones(server, ledger, generator):
    server.faults.script("create", "lost")
    with (
        ReplicateGenerator(ledger, parameters=PNG, retries=retry_settings(deadline=0.31)) as hurried,
        pytest.raises(GeneratorError),
    ):
        hurried.draw("a plot", 7)
    for i in range(230):
        server.create(FLUX_SCHNELL, "hidden", {**generator.input_of(f"other {i}", 7)})
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 231


def test_a_prediction_deleted_by_the_service_is_drawn_again_and_recorded_as_lost(server, ledger):
    with ReplicateGenerator(ledger, parameters=PNG, retries=retry_settings(retention=0.3)) as generator:
        server.retention = 0.3
        generator.draw("drawn", 7)
        server.faults.script("create", "lost")
        server.faults.script("list", *["error"] * 100)
        lost = ReplicateGenerator(ledger, parameters=PNG, retries=retry_settings(deadline=0.4))
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


def test_all_faults_at_five_percent_pay_for_nothing_twice(server, ledger, tmp_path):
    rates = {"throttled": 0.05, "error": 0.025, "error-after": 0.025, "hang": 0.025, "lost": 0.025}
    server.faults.rates = {**rates, "reset": 0.02, "truncated": 0.05, "empty": 0.02, "refused": 0.05, "failed": 0.02}
    texts, seeds = [f"text {i}" for i in range(300)], list(range(300))
    made = ReplicateGenerator(ledger, parameters=PNG, retries=QUICK)
    with made as generator, ImageStore(tmp_path / "images") as store:
        cached = CachedGenerator(generator, store, concurrency=8)
        batch = cached.draw(texts, seeds, "first")
        again = cached.draw(texts, seeds, "again")
        images = [cached.read(drawing) if drawing.key else None for drawing in batch.drawings]
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
    from cache.image_store import ImageStore
    from cache.ledger import SpendLedger
    from cache.cached_generator import CachedGenerator
    from duel.generators.replicate.retries import RetrySettings
    from duel.generators.replicate.generator import ReplicateGenerator

    print("ready", flush=True)
    sys.stdin.readline()
    folder = Path(sys.argv[1])
    retries = RetrySettings(
        requests_per_minute=60_000, deadline=20, request=5, poll=0.02, first_wait=0.02, listing_delay=0.1
    )
    with SpendLedger(folder / "spend.sqlite", "killed") as ledger, ImageStore(folder / "images") as store:
        with ReplicateGenerator(ledger, parameters={"output_format": "png"}, retries=retries) as generator:
            CachedGenerator(generator, store, 8).draw([f"text {i}" for i in range(40)], list(range(40)), "run")
"""


def start_child(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that draws forty texts once it reads a line."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(folder)]
    root = Path(__file__).parents[3]
    return subprocess.Popen(command, env=os.environ, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_process_killed_while_drawing_pays_for_nothing_twice(server, tmp_path):
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
