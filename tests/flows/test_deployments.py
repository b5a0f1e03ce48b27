"""Duel on a Prefect server: work pool, deployments and worker, and runs that fail, are killed and are cancelled.

Slow (minutes): `make test-slow` runs it, and CI does.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from artifacts.run.lock import owner_of
from benchmarks.chaos import fingerprint
from benchmarks.prefect_site import PrefectServer
from duel.offline.generator import ChartGenerator
from duel.testing.faults import Faults
from duel.testing.replicate import ReplicateServer
from tests.support.browser import open_page

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = {
    "rounds": 8,
    "images_per_round": 1,
    "data": {"train_images": 4, "test_images": 2},
    "sampling": {"group_size": 3, "max_new_tokens": 24},
    "base": {"grpo": {"accumulation": 2}, "optimizer": {"learning_rate": 1e-3}},
    "adversary": {"grpo": {"accumulation": 2}, "optimizer": {"learning_rate": 1e-3}},
    "evaluation": {
        "every": 3, "proxy_completions": 1, "adversary_prompts": 2, "completions": 2, "charts": 2, "max_new_tokens": 12,
    },
}  # fmt: skip
SET_UP = (  # as docs/operations.md has it
    "work-pool create duel --type process",
    "deploy --all",
    "automation create --from-file flows/automations.yaml",
)
TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Site:
    """A server with everything deployed on it, and a worker."""

    def __init__(self, folder: Path, server: PrefectServer) -> None:
        self.server = server
        self.state = folder / "state"
        self.log = folder / "worker.txt"
        self.api = httpx.Client(base_url=server.url, timeout=60)  # a server that was just restarted is busy
        more = {"DUEL_STATE": str(self.state), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.environment = os.environ | server.variables | more
        self.worker: subprocess.Popen[bytes] | None = None

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Prefect's to its end, in the project's folder."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        return subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=300)

    def start_worker(self) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "duel"]
        with self.log.open("ab") as said:
            self.worker = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=said, stderr=said, start_new_session=True
            )

    def stop_worker(self) -> None:
        assert self.worker is not None
        if self.worker.poll() is None:
            os.killpg(self.worker.pid, signal.SIGKILL)
        self.worker.wait()

    def train(self, run: str, *options: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        chosen = json.dumps(SETTINGS | settings)
        return self.prefect(
            "deployment", "run", "train/offline", "--param", f"run={run}", "--param", f"settings={chosen}", *options
        )

    def flow_runs(self, name: str, flow: str = "train") -> list[dict[str, Any]]:
        """Return the flow runs of a name, the latest first."""
        query = {
            "flow_runs": {"name": {"any_": [name]}},
            "flows": {"name": {"any_": [flow]}},
            "sort": "START_TIME_DESC",
        }
        found: list[dict[str, Any]] = self.api.post("/flow_runs/filter", json=query).json()
        return found

    def state_of(self, name: str) -> str:
        found = self.flow_runs(name)
        return str(found[0]["state"]["type"]) if found else "NONE"

    def set_state(self, run: str, /, **state: Any) -> None:
        """Set a flow run's state as the UI's buttons do."""
        [flow_run, *_] = self.flow_runs(run)
        answer = self.api.post(f"/flow_runs/{flow_run['id']}/set_state", json={"state": state}).json()
        assert answer["status"] == "ACCEPT", answer

    def retry(self, name: str) -> str:
        """Press Retry, some seconds after the run ended, as a person does; return the state it then ends in.

        Sooner, a worker that reports a crash twice would undo the press.
        """
        time.sleep(10)
        tries = self.flow_runs(name)[0]["run_count"]
        self.set_state(name, type="SCHEDULED", name="AwaitingRetry", message="Retry from the UI")
        self.until(lambda: self.flow_runs(name)[0]["run_count"] > tries, 120)
        self.until(lambda: self.state_of(name) in TERMINAL, 120)
        return self.state_of(name)

    def rounds(self, run: str) -> int:
        metrics = self.state / "runs" / run / "training_logs" / "metrics.jsonl"
        return metrics.read_text().count("\n") if metrics.exists() else 0

    def process_of(self, run: str) -> int:
        owner = json.loads((self.state / "runs" / run / "lock").read_text())
        return int(owner["pid"])

    def until(self, true: Callable[[], object], seconds: float) -> None:
        """Wait for a condition; a request that the server does not answer in time counts as not yet."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.TransportError):
                if true():
                    return
            assert time.monotonic() < deadline, self.log.read_text()[-4000:] + self.server.log.read_text()[-4000:]
            time.sleep(0.2)

    def files(self, run: str) -> dict[str, str]:
        """Return the hashes of what must not depend on kills; all runs of the site share one image store."""
        return fingerprint(self.state, run, shared_store=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with PrefectServer(folder) as server:
        site = Site(folder, server)
        for command in SET_UP:
            done = site.prefect(*command.split())
            assert done.returncode == 0, done.stdout + done.stderr
        site.start_worker()
        done = site.prefect("deployment", "run", "prepare/offline", "--watch")
        assert done.returncode == 0, done.stdout
        yield site
        site.stop_worker()
        site.api.close()


@pytest.fixture(scope="module")
def whole(site: Site) -> dict[str, str]:
    """The run `whole`, never interrupted, started with --watch."""
    done = site.train("whole", "--watch")
    assert done.returncode == 0, done.stdout
    return site.files("whole")


def test_a_watched_run_writes_its_results_and_is_then_evaluated(site, whole):
    run = site.state / "runs" / "whole"
    assert site.rounds("whole") == 8
    assert {path.name for path in run.glob("ckpts/*")} == {"ckpt-0", "ckpt-3", "ckpt-6", "ckpt-8"}
    site.until(lambda: len(list(run.glob("ckpt_tests/ckpt-*.json"))) == 4, 90)  # started by the event


def test_the_ui_shows_what_a_run_publishes(site, whole):
    found = site.api.post("/artifacts/latest/filter", json={}).json()
    keys = {artifact["key"] for artifact in found}
    assert {f"whole-{what}" for what in ("progress", "rounds", "images", "plots", "evaluations", "spend")} <= keys


def test_the_ui_draws_form_graph_and_artifacts(site, whole, tmp_path):
    """Also makes the pictures of docs/operations.md: DUEL_SCREENSHOTS=docs/ui make test-slow."""
    folder = Path(os.environ.get("DUEL_SCREENSHOTS", tmp_path))
    [train] = [found for found in site.api.post("/deployments/filter", json={}).json() if found["tags"] == ["train"]][
        :1
    ]
    [flow_run] = site.flow_runs("whole")[-1:]
    [chapter] = site.flow_runs("rounds 0 to 8", "chapter")[-1:]
    latest = {found["key"]: found["latest_id"] for found in site.api.post("/artifacts/latest/filter", json={}).json()}
    pages = {  # what a page shows, and a text that must be on it
        "form": (f"/deployments/deployment/{train['id']}/run", "seed of all random streams of the run"),
        "run": (f"/runs/flow-run/{flow_run['id']}", "Task runs"),
        "rounds": (f"/runs/flow-run/{chapter['id']}", "Parent Run"),
        "images": (f"/artifacts/artifact/{latest['whole-images']}", "reconstruction"),
        "plots": (f"/artifacts/artifact/{latest['whole-plots']}", "whole"),
        "evaluations": (f"/artifacts/artifact/{latest['whole-evaluations']}", "held-out similarity"),
    }
    with open_page(1280, 860) as opened:
        for name, (place, text) in pages.items():
            opened.page.goto(str(site.api.base_url).replace("/api/", "") + place)
            opened.page.get_by_text(text).first.wait_for(timeout=30_000)
            opened.page.wait_for_timeout(2500)  # the graph and images are drawn a little later
            opened.page.screenshot(path=folder / f"{name}.png")
        drawn = opened.page.goto(str(site.api.base_url).replace("/api/", "") + pages["images"][0])
        assert drawn is not None
        opened.wait_until("document.querySelectorAll('img[src^=data]').length >= 4", 20)


def test_every_stage_is_a_task_run_named_by_round_player_and_stage(site, whole):
    [chapter, *_] = site.flow_runs("rounds 0 to 8", "chapter")
    assert chapter["parameters"] == {
        "context": "<TrainingContext>",
        "start": 0,
        "stop": 8,
    }  # settings and models stay out of it
    query = {"flow_runs": {"id": {"any_": [chapter["id"]]}}}
    names = {found["name"] for found in site.api.post("/task_runs/filter", json=query).json()}
    assert {"round 0000 base describe_drawings", "round 0001 adversary draw_reconstructions"} <= names


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_work_pools_for_containers_are_accepted(site, kind):
    template = f"docs/work_pools/{kind}.json"
    done = site.prefect("work-pool", "create", kind, "--type", kind, "--base-job-template", template)
    assert done.returncode == 0, done.stdout


def test_training_a_complete_run_again_changes_nothing(site, whole):
    done = site.train("whole", "--watch")
    assert done.returncode == 0, done.stdout
    assert site.files("whole") == whole


def test_a_bad_value_is_refused_by_name(site):
    done = site.train("bad", rounds=0)
    assert done.returncode != 0
    assert "settings.rounds" in done.stdout + done.stderr
    assert site.flow_runs("bad") == []


def test_a_nightly_evaluation_with_nothing_new_says_so(site, whole):
    run = site.state / "runs" / "whole"
    site.until(lambda: len(list(run.glob("ckpt_tests/ckpt-*.json"))) == 4, 90)
    done = site.prefect("deployment", "run", "evaluate/nightly", "--watch")
    assert done.returncode == 0, done.stdout
    messages = [found["state"]["message"] for found in site.flow_runs("all runs", "evaluate")]
    assert any(
        "whole: no new checkpoints; no model was loaded and the judge was not called" in (message or "")
        for message in messages
    )


def test_a_killed_process_is_crashed_and_a_retry_equals_an_uninterrupted_run(site, whole):
    site.train("killed")
    site.until(lambda: site.rounds("killed") >= 5, 120)
    os.kill(site.process_of("killed"), signal.SIGKILL)
    site.until(lambda: site.state_of("killed") == "CRASHED", 60)
    assert site.retry("killed") == "COMPLETED"
    assert site.files("killed") == whole
    [flow_run] = site.flow_runs("killed")
    assert flow_run["run_count"] == 2
    query = {"flow_runs": {"parent_flow_run_id": {"any_": [flow_run["id"]]}}}
    chapters = site.api.post("/flow_runs/filter", json=query).json()
    assert {found["state"]["type"] for found in chapters} == {"CRASHED", "COMPLETED"}
    resumed = [found["id"] for found in chapters if found["name"] == "rounds 3 to 8"]
    tasks = site.api.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": resumed}}}).json()
    cached = {found["name"] for found in tasks if found["state"]["name"] == "Cached"}
    assert "round 0003 adversary describe_drawings" in cached


def test_a_cancelled_run_ends_within_seconds_and_can_be_retried(site, whole):
    site.train("cancelled")
    site.until(lambda: site.rounds("cancelled") >= 2, 120)
    site.set_state("cancelled", type="CANCELLING")
    site.until(lambda: owner_of(site.state / "runs" / "cancelled" / "lock") is None, 10)
    site.until(lambda: site.state_of("cancelled") == "CANCELLED", 60)  # the worker imports the flow for its hooks first
    assert site.retry("cancelled") == "COMPLETED"
    assert site.files("cancelled") == whole


def test_sigterm_to_the_flow_ends_it_in_a_terminal_state(site, whole):
    site.train("terminated")
    site.until(lambda: site.rounds("terminated") >= 2, 120)
    os.kill(site.process_of("terminated"), signal.SIGTERM)
    site.until(lambda: site.state_of("terminated") == "CRASHED", 30)
    assert site.retry("terminated") == "COMPLETED"
    assert site.files("terminated") == whole


def test_the_automation_crashes_the_run_of_a_worker_that_ended(site, whole):
    site.train("orphan")
    site.until(lambda: site.rounds("orphan") >= 1, 120)  # early: the run must not end before the worker does
    assert site.worker is not None
    site.worker.send_signal(signal.SIGTERM)
    site.until(lambda: owner_of(site.state / "runs" / "orphan" / "lock") is None, 60)
    site.until(lambda: site.state_of("orphan") == "CRASHED", 240)  # after two minutes without a heartbeat
    site.stop_worker()
    site.start_worker()
    assert site.retry("orphan") == "COMPLETED"
    assert site.files("orphan") == whole


def test_a_failed_service_fails_the_run_and_a_retry_resumes_it(site):
    faults = Faults({"error": 1.0}, 1)
    with ReplicateServer(ChartGenerator(), faults=faults) as replicate:
        generator = {"service": "replicate", "deadline_seconds": 1.0, "requests_per_minute": 6000}
        site.train("paid", "--job-variable", f"env={json.dumps(replicate.environment)}", generator=generator)
        site.until(lambda: site.state_of("paid") == "FAILED", 120)
        [flow_run] = site.flow_runs("paid")
        assert "images are missing" in flow_run["state"]["message"]
        said = subprocess.run(
            [sys.executable, "-m", "flows.cli", "status", "--run", "paid", "--state", str(site.state)],
            env=site.environment, cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert "GeneratorError" in said.stdout
        faults.rates["error"] = 0.0
        assert site.retry("paid") == "COMPLETED"
        assert site.rounds("paid") == 8


def test_two_runs_train_at_once_and_a_second_process_in_one_is_refused(site):
    site.train("left", rounds=30)
    site.train("right", rounds=30)
    site.until(lambda: site.rounds("left") >= 1 and site.rounds("right") >= 1, 120)
    again = subprocess.run(
        [sys.executable, "-m", "flows.cli", "train", "--run", "left", "--state", str(site.state)],
        env=site.environment, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert again.returncode == 2
    assert f"in use by process {site.process_of('left')} on host" in again.stderr
    site.until(lambda: {site.state_of("left"), site.state_of("right")} == {"COMPLETED"}, 240)
    assert site.files("left") == site.files("right")


def test_after_a_restart_of_the_server_the_run_is_ended_and_resumable(site, whole):
    site.train("unheard", rounds=30)
    site.until(lambda: site.rounds("unheard") >= 2, 120)
    site.server.stop()
    time.sleep(5)
    site.server.start()
    site.until(lambda: site.state_of("unheard") in TERMINAL, 240)
    if site.state_of("unheard") != "COMPLETED":  # it gave up before the server was back, or the worker did
        site.stop_worker()
        site.start_worker()
        assert site.retry("unheard") == "COMPLETED"
    assert site.rounds("unheard") == 30
