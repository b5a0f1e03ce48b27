import json
import time
from types import SimpleNamespace

import pytest
from prefect import flow

from duel.errors import DataError, GeneratorError
from duel.schedule import Schedule
from duel.types import Completion, Drawing
from tasks.stages import digest, stage

pytestmark = pytest.mark.usefixtures("prefect_server")


def context(tmp_path, **learned):
    """The parts of a context that stages use: a directory for results, and the players' counters."""
    players = {player: SimpleNamespace(rounds_learned=count) for player, count in learned.items()}
    settings = SimpleNamespace(schedule=Schedule(("base", "adversary")))
    run = SimpleNamespace(stage_results=tmp_path / "results")
    return SimpleNamespace(run=run, settings=settings, players=players)


def test_a_finished_stage_is_not_run_again_by_a_new_flow_run(tmp_path):
    calls = []

    @stage("write")
    def write(context, round, count):
        calls.append(round)
        return [Completion("a", "1 2", True)] * count

    run = flow(lambda: write(context(tmp_path, base=1), 3, 2).value, name="twice")
    assert run() == run() == [Completion("a", "1 2", True)] * 2
    assert calls == [3]


def test_a_stage_is_run_again_for_other_inputs_or_another_round(tmp_path):
    calls = []

    @stage("write")
    def write(context, round, text):
        calls.append(1)
        return text

    @flow
    def play():
        write(context(tmp_path, base=1), 3, "a")
        write(context(tmp_path, base=1), 3, "b")
        write(context(tmp_path, base=1), 4, "a")
        write(context(tmp_path, base=1), 5, "a")

    play()
    assert len(calls) == 4


def test_one_task_called_under_two_labels_keeps_two_results(tmp_path):
    @stage("draw")
    def draw(context, round, texts, *, label):
        return [Drawing(text, 0, label) for text in texts]

    @flow
    def play():
        here = context(tmp_path)
        return draw(here, 0, ["a"], label="originals").value, draw(here, 0, ["a"], label="reconstructions").value

    originals, reconstructions = play()
    assert (originals[0].key, reconstructions[0].key) == ("originals", "reconstructions")


def test_results_are_readable_json_in_the_run_directory(tmp_path):
    @stage("write")
    def write(context, round):
        return [[Completion("bar chart", "5 6", False)]]

    flow(lambda: write(context(tmp_path, base=0), 12), name="persist")()
    [path] = (tmp_path / "results").iterdir()
    assert path.name.startswith("0012-write-")
    assert "bar chart" in json.loads(path.read_text())["result"]


def test_a_truncated_result_is_computed_again(tmp_path):
    calls = []

    @stage("write")
    def write(context, round):
        calls.append(1)
        return ["text"]

    run = flow(lambda: write(context(tmp_path), 0).value, name="torn")
    run()
    [path] = (tmp_path / "results").iterdir()
    path.write_bytes(path.read_bytes()[:40])
    assert run() == ["text"]
    assert len(calls) == 2


def test_a_failed_service_is_tried_again(tmp_path):
    calls = []

    @stage("draw", retries=2)
    def draw(context, round):
        calls.append(1)
        if len(calls) < 3:
            raise GeneratorError("503")
        return ["drawn"]

    assert flow(lambda: draw(context(tmp_path), 0).value, name="retry")() == ["drawn"]


def test_errors_other_than_of_services_fail_at_once(tmp_path):
    calls = []

    @stage("draw", retries=2)
    def draw(context, round):
        calls.append(1)
        raise DataError("broken image")

    with pytest.raises(DataError, match="broken image"):
        flow(lambda: draw(context(tmp_path), 0), name="no-retry")()
    assert len(calls) == 1


def test_an_uncached_stage_runs_every_time_and_leaves_no_result(tmp_path):
    calls = []

    @stage("learn", cached=False)
    def learn(context, round):
        calls.append(1)
        return 1

    run = flow(lambda: learn(context(tmp_path), 0), name="uncached")
    run()
    run()
    assert len(calls) == 2
    assert not (tmp_path / "results").exists()


def test_a_stage_returns_its_label_and_the_seconds_that_all_its_tries_took(tmp_path):
    calls = []

    @stage("draw", retries=1)
    def draw(context, round, *, label):
        calls.append(1)
        time.sleep(0.2)
        if len(calls) == 1:
            raise GeneratorError("503")
        return ["drawn"]

    measured = flow(lambda: draw(context(tmp_path), 0, label="draw_originals"), name="seconds")()
    assert (measured.value, measured.stage) == (["drawn"], "draw_originals")
    assert measured.seconds > 0.4


def test_the_digest_of_dataclasses_is_that_of_their_content():
    assert digest([Drawing("a", 1, "k")]) == digest([Drawing("a", 1, "k")]) != digest([Drawing("a", 2, "k")])


def test_the_digest_of_a_completion_leaves_its_logprobs_out():
    given = [[Completion("a", "1 2", True, packed)] for packed in ("", "AACAvwAAAL8=")]
    assert digest(given[0]) == digest(given[1]) != digest([Completion("a", "1 3", True)])
