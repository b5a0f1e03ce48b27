import json

import pytest
from prefect import flow
from prefect.client.orchestration import get_client

from artifacts import prefect_ui
from artifacts.evaluation.read import read_evaluations
from artifacts.evaluation.table import evaluation_table
from artifacts.run.metrics import read_training_log
from duel.types import Spend
from tests.support.fake_run import fake_run

KEY = "my-run-1-9be901-"  # with the SHA-256 of My.Run_1
pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def shown(prefect_server, tmp_path_factory):
    """The latest artifacts of a complete run, by kind."""
    run = fake_run(tmp_path_factory.mktemp("state"), "My.Run_1", rounds=30)

    @flow(name="show")
    def show():
        progress = prefect_ui.show_progress(run, 15, 30, None)
        prefect_ui.show_progress(run, 30, 30, progress)
        log, evaluations = read_training_log(run), read_evaluations(run)
        rows = evaluation_table(evaluations)
        prefect_ui.show_rounds(run, log)
        prefect_ui.show_images(run)
        prefect_ui.show_plots(evaluations, log, rows)
        prefect_ui.show_evaluations(run, rows)
        prefect_ui.show_strata(evaluations)
        prefect_ui.show_spend(run, Spend(drawn=9, refused=1, images=10, dollars=0.03))

    show()
    with get_client(sync_client=True) as client:
        ours = [found for found in client.read_artifacts() if (found.key or "").startswith(KEY)]
    return {found.key.removeprefix(KEY): found for found in ours}  # the server has other tests' artifacts, too


def test_artifact_keys_have_the_form_that_prefect_requires():
    assert prefect_ui.artifact_key("My.Run_1", "images") == KEY + "images"
    assert prefect_ui.artifact_key("run-1", "images") == "run-1-images"


def test_runs_of_similar_names_have_different_keys():
    names = ["run_1", "run-1", "Run.1", "run.1", "RUN-1", "run--1", "run-1-"]
    assert len({prefect_ui.artifact_key(name, "images") for name in names}) == len(names)


def test_progress_is_updated_to_100_per_cent(shown):
    assert shown["progress"].data == 100.0
    assert "30 of 30 rounds" in shown["progress"].description


def test_the_last_twenty_rounds_are_shown_the_latest_first(shown):
    assert [row["round"] for row in json.loads(shown["rounds"].data)] == list(range(29, 9, -1))


def test_images_of_both_players_are_in_the_text(shown):
    text = shown["images"].data
    assert "## Round 29, adversary" in text
    assert "## Round 28, base" in text
    assert text.count("data:image/jpeg;base64,") == 2 * 2 * prefect_ui.ATTEMPTS
    assert len(text) < 300_000


def test_plots_are_small(shown):
    assert shown["plots"].data.count("data:image/png;base64,") >= 6
    assert len(shown["plots"].data) < 600_000


def test_spend_is_that_of_the_ledger(shown):
    [row] = json.loads(shown["spend"].data)
    assert row == {"service": "offline", "dollars": 0.03, "images billed": 10, "drawn": 9, "refused": 1}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a red bar", "a red bar"),
        ("5.5 | 6", r"5\.5 \| 6"),
        ("<b>*x*</b>", r"\<b\>\*x\*\</b\>"),
        ("[here](http://x.de)", r"\[here\]\(http\://x\.de\)"),
        ("line\nbreak", "line break"),
        ("x" * 1000, "x" * prefect_ui.TEXT),
    ],
)
def test_text_of_models_is_escaped_markdown(text, escaped):
    assert prefect_ui._escape(text) == escaped
