"""The examples in README.md and docs/extending.md, written to modules and run with the options shown there."""

import hashlib
import http.server
import json
import re
import sys
import threading
from pathlib import Path

import pytest

from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.jsonl import read_rows
from artifacts.run.versions import read_versions
from duel.offline.generator import ChartGenerator
from duel.plugins import Plugin
from duel.state import StateDirectory
from flows.cli import main

ROOT = Path(__file__).parents[2]
MODULE = re.compile(r"```python\n# (\w+)\.py\n(.*?)```", re.DOTALL)
OPTION = re.compile(r"--(\w+\.\w+) (\w+:\w+)")
SMALL = {
    "rounds": 2,
    "images_per_round": 1,
    "sampling.group_size": 3,
    "sampling.max_new_tokens": 16,
    "evaluation.every": 2,
    "evaluation.proxy_completions": 1,
    "evaluation.adversary_prompts": 2,
    "evaluation.completions": 2,
    "evaluation.charts": 2,
    "evaluation.charts_per_stratum": 0,
    "data.train_images": 2,
    "data.test_images": 1,
}


class Page:
    """The examples of one page, as modules in a folder."""

    def __init__(self, path, folder):
        text = path.read_text(encoding="utf-8")
        self.modules = dict(MODULE.findall(text))
        self.options = dict(OPTION.findall(text))
        self.folder = folder
        for name, code in self.modules.items():
            self.edit(name, code)

    def edit(self, name, code):
        (self.folder / f"{name}.py").write_text(code)
        self.modules[name] = code

    def duel(self, command, **more):
        """Run a command as a user would, where the modules lie; return its exit code."""
        chosen = SMALL | self.options | {name.replace("__", "."): value for name, value in more.items()}
        options = [part for name, value in chosen.items() for part in (f"--{name}", str(value))]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "path", [*sys.path])
            code = main([*command, "--profile", "offline-reference", "--state", str(self.folder), *options])
        for name in self.modules:
            sys.modules.pop(name, None)
        return code

    def run(self, **more):
        """Prepare, train two rounds and evaluate."""
        for command in (["prepare"], ["train", "--run", "mine"], ["evaluate", "--run", "mine"]):
            assert self.duel(command, **more) == 0
        return RunDirectory.read(StateDirectory(self.folder), "mine")

    def versions(self):
        """What the run has to say about its classes."""
        digests = {name: hashlib.sha256(code.encode()).hexdigest() for name, code in self.modules.items()}
        return {
            setting: Plugin(name, f"sha256:{digests[name.partition(':')[0]]}") for setting, name in self.options.items()
        }


@pytest.fixture(scope="module")
def readme(tmp_path_factory, prefect_server):
    page = Page(ROOT / "README.md", tmp_path_factory.mktemp("readme"))
    return page, page.run()


@pytest.fixture(scope="module")
def extending(tmp_path_factory, prefect_server):
    """The run of docs/extending.md, with a local server that draws charts."""
    page = Page(ROOT / "docs" / "extending.md", tmp_path_factory.mktemp("extending"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Drawing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        run = page.run(generator__model=url, rewards__parameters="{per_word=0.002}")
        server.shutdown()
    return page, run


class Drawing(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        image = ChartGenerator().draw(asked["prompt"], asked["seed"])
        self.send_response(200)
        self.send_header("Content-Type", image.media_type)
        self.send_header("Content-Length", str(len(image.data)))
        self.end_headers()
        self.wfile.write(image.data)

    def log_message(self, *_):
        pass


def test_resuming_with_an_edited_plugin_class_warns(readme, capsys):
    page, _ = readme
    before = page.versions()["rewards.adversary"]
    page.edit("halfway", page.modules["halfway"] + "# edited\n")
    assert page.duel(["train", "--run", "mine"]) == 0
    after = page.versions()["rewards.adversary"]
    [line] = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert line == (
        f"duel: warning: rewards.adversary was halfway:Halfway ({before.version}) when the run was opened last, and is "
        f"halfway:Halfway ({after.version}) now"
    )
    assert before != after


def attempts(run, index):
    record = json.loads((run.round_directory(index) / "record.json").read_text())
    return [attempt for group in record["groups"] for attempt in group["attempts"]]


def weights(checkpoint, player):
    return {path.name: path.read_bytes() for path in checkpoint.weights(player).glob("*.safetensors")}


def scores(run):
    """Return (ground truth, completion, score) of every graded answer of the last checkpoint."""
    result = json.loads((run.checkpoint_tests / "ckpt-2.json").read_text())
    return [
        (row["ground_truth"], completion, score)
        for row in result["per_chart_results"]
        for completion, score in zip(row["completions"], row["scores"], strict=True)
    ]


@pytest.mark.parametrize("page", ["readme", "extending"])
def test_every_seam_has_an_example_whose_version_the_run_records(page, request):
    page, run = request.getfixturevalue(page)
    seams = {"generator.service", "judge.service", "models.policy", "rewards.adversary"}
    assert seams <= set(page.options)
    assert read_versions(run.path).plugins == page.versions()


@pytest.mark.parametrize("page", ["readme", "extending"])
def test_grades_name_the_judge_and_its_version(page, request):
    page, run = request.getfixturevalue(page)
    how = json.loads((run.checkpoint_tests / "ckpt-2.json").read_text())["how"]
    assert how["judge_service"] == str(page.versions()["judge.service"])


def test_the_readmes_generator_draws_its_cards(readme):
    page, run = readme
    names = {}
    exec(page.modules["text_cards"], names)
    for attempt in attempts(run, 0):
        drawn = (run.round_directory(0) / attempt["reconstruction"]["file"]).read_bytes()
        assert drawn == names["TextCards"]().draw(attempt["description"], attempt["reconstruction"]["seed"]).data


def test_the_readmes_reward_pays_for_half_the_way(readme):
    _, run = readme
    for attempt in attempts(run, 1):
        similarity = attempt["similarity"]
        assert attempt["reward"] == pytest.approx(4 * similarity * (1 - similarity))


def test_the_readmes_policy_leaves_the_adversary_as_it_was(readme):
    _, run = readme
    first, last = list_checkpoints(run)
    assert weights(first, "adversary") == weights(last, "adversary")
    assert weights(first, "base") != weights(last, "base")


def test_the_readmes_judge_looks_for_the_truth_in_the_answer(readme):
    _, run = readme
    graded = scores(run)
    assert graded
    assert all(score == float(truth.casefold() in answer.casefold()) for truth, answer, score in graded)


def test_the_pages_base_reward_counts_words(extending):
    _, run = extending
    for attempt in attempts(run, 0):
        expected = attempt["similarity"] - 0.002 * len(attempt["description"].split())
        assert attempt["reward"] == pytest.approx(expected)


def test_the_pages_adversary_reward_gets_its_ceilings(extending):
    _, run = extending
    stages = [set(row["seconds"]) for row in read_rows(run.timings)]
    assert ["draw_ceilings" in stage for stage in stages] == [False, True]
    measured = json.loads((run.eval_logs / "eval-0002.json").read_text())["adversary"]
    for ceiling, similarity, reward in zip(
        measured["ceilings"], measured["similarities"], measured["rewards"], strict=True
    ):
        assert reward == pytest.approx(ceiling - similarity)


def test_the_pages_judge_counts_common_words(extending):
    _, run = extending
    for truth, answer, score in scores(run):
        words = set(truth.casefold().split())
        assert score == pytest.approx(len(words & set(answer.casefold().split())) / len(words))


def test_the_pages_policy_trains_both_players(extending):
    _, run = extending
    first, last = list_checkpoints(run)
    assert weights(first, "base") != weights(last, "base")
    assert weights(first, "adversary") != weights(last, "adversary")
