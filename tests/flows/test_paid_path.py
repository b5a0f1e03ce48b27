"""The paid path end to end: the `day3` profile on the command line, against local fakes of the services.

Slow (minutes): `make test-slow` runs it, and CI does.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_metrics
from artifacts.run.rounds import read_round
from cache.ledger import SpendLedger
from duel.offline.generator import ChartGenerator
from duel.state import StateDirectory
from duel.testing.__main__ import transient_faults
from duel.testing.faults import Faults
from duel.testing.hub import HubServer, write_fake_hub
from duel.testing.openai import ODD_REPLIES, SPOILT, WRAPPED, OpenAIServer
from duel.testing.replicate import ReplicateServer
from tasks.credentials import OPENAI, REPLICATE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TOKENS = {"REPLICATE_API_TOKEN": "r8_5e4c_paid_path_token", "OPENAI_API_KEY": "sk-5e4c-paid-path-key"}
FAULTS = transient_faults(0.04) | {"refused": 0.05}  # of the generator: transient ones, odd ends and shapes, refusals
JUDGE_FAULTS = dict.fromkeys((*ODD_REPLIES, *WRAPPED, "bad-body", "error"), 0.04) | dict.fromkeys(SPOILT, 0.01)
SMALL = (
    "--models.base offline --models.embedder offline --models.max_pixels 28224 --models.rows_per_forward 64 "
    "--sampling.max_new_tokens 48 --sampling.group_size 4 --evaluation.every 5 --evaluation.proxy_completions 1 "
    "--evaluation.adversary_prompts 2 --evaluation.completions 2 --evaluation.charts 10 "
    "--evaluation.max_new_tokens 12 --data.test_images 10"
).split()


class World:
    """A state directory, a Prefect home, and the local fakes."""

    def __init__(
        self, folder: Path, replicate: ReplicateServer, judge: OpenAIServer, environment: dict[str, str]
    ) -> None:
        self.folder = folder
        self.judge = judge
        self.state = folder / "state"
        self.said = folder / "said.txt"
        self.replicate = replicate
        home = {"PREFECT_HOME": str(folder / "prefect"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.environment = os.environ | environment | home

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start `duel` with these arguments, as the leader of a group: its Prefect server dies with it.

        What it says goes to a file: a server that outlived it would hold a pipe open.
        """
        with self.said.open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *arguments, "--state", str(self.state)],
                env=self.environment | environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run `duel` to its end and return what it said."""
        returned = self.start(*arguments, **environment).wait(timeout=600)
        said = self.said.read_text()
        assert returned == code, said
        return said

    def files_with(self, secret: str) -> list[Path]:
        """Return every file, Prefect's database included, that holds a secret."""
        written = [path for path in self.folder.rglob("*") if path.is_file() and "hub" not in path.parts]
        assert any(path.name.startswith("prefect.db") for path in written)
        return [path for path in written if secret.encode() in path.read_bytes()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("paid")
    write_fake_hub(folder / "hub")
    with (
        ReplicateServer(
            ChartGenerator(),
            token=TOKENS["REPLICATE_API_TOKEN"],
            faults=Faults(FAULTS, 1),
            retry_after=0.1,
            hang_seconds=1.5,
        ) as replicate,
        OpenAIServer(key=TOKENS["OPENAI_API_KEY"], faults=Faults(JUDGE_FAULTS, 1), refuses=["max_tokens"]) as judge,
        HubServer(folder / "hub") as hub,
    ):
        yield World(folder, replicate, judge, replicate.environment | judge.environment | hub.environment)


def train(world: World, rounds: int) -> tuple[str, ...]:
    return ("train", "--profile", "day3", "--run", "paid", "--rounds", str(rounds), *SMALL)


def kill_after(world: World, created: int) -> None:
    """Train until the service has created `created` predictions, then kill the process and its server."""
    process = world.start(*train(world, 20))
    while world.replicate.counts()["created"] < created:
        assert process.poll() is None, world.said.read_text()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def trained(world: World) -> World:
    """Prepare, then train twenty rounds, killed twice on the way."""
    world.run("prepare", "--profile", "day3", "--data.test_images", "10")
    kill_after(world, created=40)
    kill_after(world, created=100)
    world.run(*train(world, 20))
    return world


def test_twenty_rounds_complete_despite_faults(trained):
    frame = read_metrics(RunDirectory.read(StateDirectory(trained.state), "paid"))
    assert list(frame["round"]) == list(range(20))
    assert frame["similarity_mean"].dropna().between(-1, 1).all()


def test_no_distinct_draw_is_paid_for_twice(trained):
    counts = trained.replicate.counts()
    assert sum(trained.replicate.faults.counts.values()) >= 50
    assert counts["images_billed"] <= counts["distinct_inputs"]
    with SpendLedger(trained.state / "spend.sqlite") as ledger:
        spend = ledger.spend("paid")
    assert spend.images <= counts["images_billed"] <= spend.images + spend.uncertain
    assert spend.under_way == spend.lost == 0


def test_a_refused_prompt_gets_the_lowest_reward(trained):
    run = RunDirectory.read(StateDirectory(trained.state), "paid")
    refused = [
        attempt
        for index in run.rounds_recorded()
        for attempt in read_round(run, index).attempts
        if attempt.drawing.refusal
    ]
    assert refused
    assert {attempt.reward for attempt in refused} <= {0.0, None}


def test_every_checkpoint_is_graded_by_the_judge(trained):
    trained.run("evaluate", "--run", "paid")
    run = RunDirectory.read(StateDirectory(trained.state), "paid")
    results = [json.loads(path.read_text()) for path in run.checkpoint_tests.iterdir()]
    assert len(results) == 5
    assert all(result["total_questions"] == 10 and result["ungraded"] == 0 for result in results)
    assert {result["judge_note"] for result in results} == {"with max_completion_tokens"}
    assert sum(trained.judge.faults.counts.values()) >= 3


def test_keys_may_be_in_secret_blocks(trained):
    save = "import sys; from prefect.blocks.system import Secret; Secret(value=sys.stdin.read()).save(sys.argv[1])"
    for variable, block in (("REPLICATE_API_TOKEN", REPLICATE.block), ("OPENAI_API_KEY", OPENAI.block)):
        command = [sys.executable, "-c", save, block]
        subprocess.run(command, env=trained.environment, input=TOKENS[variable], text=True, check=True)
    no_keys = dict.fromkeys(TOKENS, "")
    before = trained.replicate.counts()["created"]
    trained.run(*train(trained, 21), **no_keys)
    assert trained.replicate.counts()["created"] > before
    asked = trained.judge.counts()["verdicts"]
    trained.run("evaluate", "--run", "paid", "--evaluation.completions", "3", **no_keys)
    assert trained.judge.counts()["verdicts"] > asked


def test_a_missing_token_is_reported_in_one_line_before_any_work(trained, tmp_path):
    said = trained.run(
        "train",
        "--profile",
        "day3",
        "--run",
        "none",
        *SMALL,
        code=2,
        REPLICATE_API_TOKEN="",
        PREFECT_HOME=str(tmp_path),
    )
    [line] = said.splitlines()
    assert "REPLICATE_API_TOKEN is not set, and Prefect has no Secret block" in line
    assert not (trained.state / "runs" / "none").exists()


def test_no_file_contains_a_token(trained):
    wrong = "r8_5e4c_a_wrong_token"
    said = trained.run("train", "--profile", "day3", "--run", "wrong", *SMALL, code=2, REPLICATE_API_TOKEN=wrong)
    assert wrong not in said
    for secret in (*TOKENS.values(), wrong):
        assert trained.files_with(secret) == []
