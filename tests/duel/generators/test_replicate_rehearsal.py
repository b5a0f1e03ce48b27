"""`python -m duel.testing`: the local fakes, for one command or until a signal."""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
ASK = """
import os, urllib.request
token = {"Authorization": "Bearer " + os.environ["REPLICATE_API_TOKEN"]}
request = urllib.request.Request(os.environ["REPLICATE_BASE_URL"] + "/v1/predictions", headers=token)
print(urllib.request.urlopen(request).status)
raise SystemExit(3)
"""


def test_a_command_sees_the_fake_services_and_its_exit_code_is_returned():
    command = [sys.executable, "-m", "duel.testing", "--", sys.executable, "-c", ASK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("200\n", 3), done.stderr
    assert "replicate: no requests" in done.stderr


def test_without_a_command_the_variables_are_printed_until_a_signal():
    command = [sys.executable, "-m", "duel.testing"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(7)]
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=10) == 0
    names = [line.removeprefix("export ").partition("=")[0] for line in lines]
    assert names[:4] == ["REPLICATE_BASE_URL", "REPLICATE_API_TOKEN", "OPENAI_BASE_URL", "OPENAI_API_KEY"]
    assert "HF_ENDPOINT" in names
