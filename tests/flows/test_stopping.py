"""SIGTERM ends a training within ten seconds while a draw hangs, and the session says that it was stopped."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from artifacts.run.directory import RunDirectory
from artifacts.run.sessions import read_sessions
from duel.state import StateDirectory
from tests.support.small_run import SMALL

GENERATOR = """
import time
from pathlib import Path

class Hanging:
    name, version, prompt_limit, parameters = "hanging", "1", 64, {}

    def draw(self, text, seed):
        Path("drawing").touch()
        time.sleep(600)
"""


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 180
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_sigterm_ends_a_training_whose_draw_hangs_within_ten_seconds(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(textwrap.dedent(GENERATOR))
    root = Path(__file__).parents[2]
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    environment = os.environ | {"PYTHONPATH": str(root), "PREFECT_HOME": str(tmp_path / "prefect")}
    command = [sys.executable, "-m", "flows.cli"]
    subprocess.run(
        [*command, "prepare", "--profile", "offline-reference", *options],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    arguments = [
        *command,
        "train",
        "--profile",
        "offline-reference",
        "--run",
        "run_1",
        "--generator.service",
        "hanging:Hanging",
        *options,
    ]
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for(tmp_path / "drawing", process)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        seconds = time.monotonic() - began
        said = process.communicate(timeout=60)  # ends when Prefect's server has ended, too
    assert process.returncode in (143, -signal.SIGTERM), said
    assert seconds < 10
    run = RunDirectory.read(StateDirectory(tmp_path / "state"), "run_1")
    assert [session.outcome for session in read_sessions(run)] == ["stopped"]
    assert "Traceback" not in said[1]
