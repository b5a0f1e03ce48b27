"""The train flow with the embedded models, over a few rounds."""

import errno
import hashlib
import json
import math
import os
import shutil

import pytest

from artifacts.evaluation.read import read_proxies
from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.jsonl import read_rows
from artifacts.run.metrics import read_metrics
from artifacts.run.rounds import read_round
from artifacts.status import status_lines
from duel.embedder import Embedder
from duel.errors import GeneratorError, RunError, SettingsError, StorageError
from duel.offline.embedded import OFFLINE_WEIGHTS
from duel.policies.optimizer import PlayerOptimizer
from duel.policies.policy import LocalPolicy
from duel.state import StateDirectory
from flows.cli import main
from flows.evaluate import evaluate
from flows.prepare import prepare
from flows.train import train
from tests.support.small_run import settings

pytestmark = pytest.mark.usefixtures("prefect_server")


def fingerprint(state, name):
    """Return the metrics and the weights of the last checkpoint as bytes."""
    run = RunDirectory.read(StateDirectory(state), name)
    weights = sorted(list_checkpoints(run)[-1].path.rglob("*.safetensors"))
    assert weights
    return run.metrics.read_bytes(), [hashlib.sha256(path.read_bytes()).hexdigest() for path in weights]


@pytest.fixture(scope="module")
def state(tmp_path_factory, prefect_server):
    """A state directory with the data set and the run `whole` of four rounds, trained without interruption."""
    folder = tmp_path_factory.mktemp("state")
    prepare(settings(), folder)
    train(settings(), "whole", folder)
    return folder


def test_rounds_alternate_and_every_round_has_a_row_of_metrics(state):
    frame = read_metrics(RunDirectory.read(StateDirectory(state), "whole"))
    assert list(frame["round"]) == [0, 1, 2, 3]
    assert list(frame["player"]) == ["base", "adversary", "base", "adversary"]
    assert frame["similarity_mean"].between(-1, 1).all()


def test_every_round_has_a_pdf(state):
    run = RunDirectory.read(StateDirectory(state), "whole")
    assert run.rounds_recorded() == [0, 1, 2, 3]
    for index in run.rounds_recorded():
        assert (run.round_directory(index) / "round.pdf").read_bytes().startswith(b"%PDF-")


def test_a_base_round_asks_for_one_original_and_its_distinct_reconstructions(state):
    run = RunDirectory.read(StateDirectory(state), "whole")
    frame = read_metrics(run)
    assert read_round(run, 0).player == "base"
    assert 2 <= frame["draws_asked"][0] <= 1 + 3


def test_accumulation_counts_a_players_own_rounds(state):
    # The reference counted all rounds: with accumulation 2 the base would never step.
    frame = read_metrics(RunDirectory.read(StateDirectory(state), "whole"))
    assert list(frame[frame["player"] == "base"]["optimizer_steps"]) == [0, 1]
    assert list(frame[frame["player"] == "adversary"]["optimizer_steps"]) == [0, 1]


def test_equal_seeds_give_equal_metrics_and_weights_also_with_a_warm_store(state):
    train(settings(), "again", state)
    assert fingerprint(state, "again") == fingerprint(state, "whole")
    made = [
        json.loads(line)["draws_made"]
        for line in RunDirectory.read(StateDirectory(state), "again").timings.read_text().splitlines()
    ]
    assert sum(made) == 0


def test_another_seed_gives_another_run(state):
    train(settings(seed=1, rounds=1), "other", state)
    assert (
        RunDirectory.read(StateDirectory(state), "other").metrics.read_text().splitlines()[0]
        != (RunDirectory.read(StateDirectory(state), "whole").metrics.read_text().splitlines()[0])
    )


def test_a_resumed_run_equals_an_uninterrupted_one(state):
    train(settings(rounds=3), "resumed", state)
    train(settings(), "resumed", state)
    assert fingerprint(state, "resumed") == fingerprint(state, "whole")


def test_an_update_that_fails_just_after_its_step_is_retried_and_steps_once(state, monkeypatch):
    learned, left = LocalPolicy.learn, [2]  # fails after the second round's update

    def learn(self, inputs, groups):
        report = learned(self, inputs, groups)
        left[0] -= 1
        if left[0] == 0:
            raise GeneratorError("just after the step")
        return report

    monkeypatch.setattr(LocalPolicy, "learn", learn)
    train(settings(), "retried", state)
    assert left[0] < 0
    assert fingerprint(state, "retried") == fingerprint(state, "whole")


def test_an_update_that_fails_half_way_ends_the_run_which_can_be_resumed(state, monkeypatch):
    stepped = PlayerOptimizer.end_round
    left = [3]

    def end_round(self):
        left[0] -= 1
        if left[0] == 0:
            raise GeneratorError("out of memory, as it were")
        return stepped(self)

    monkeypatch.setattr(PlayerOptimizer, "end_round", end_round)
    with pytest.raises(RunError, match="an update of the base did not finish"):  # not retried on half a gradient
        train(settings(), "broken", state)
    train(settings(), "broken", state)
    assert fingerprint(state, "broken") == fingerprint(state, "whole")


def test_asking_for_fewer_rounds_than_there_are_changes_nothing(state):
    run = RunDirectory.read(StateDirectory(state), "whole")
    before = fingerprint(state, "whole"), sorted(path.name for path in run.eval_logs.iterdir())
    train(settings(rounds=3), "whole", state)
    assert (fingerprint(state, "whole"), sorted(path.name for path in run.eval_logs.iterdir())) == before
    assert [checkpoint.rounds_done for checkpoint in list_checkpoints(run)] == [0, 2, 4]


def test_how_often_a_run_is_evaluated_does_not_change_its_training(state):
    train(settings(evaluation__every=3, evaluation__proxy_completions=2), "rarely", state)
    assert fingerprint(state, "rarely") == fingerprint(state, "whole")


def test_a_run_refuses_other_defining_settings_and_names_them(state):
    with pytest.raises(RunError, match=r"base.optimizer.learning_rate: 0.001 then, 0.5 now"):
        train(settings(base__optimizer__learning_rate=0.5), "whole", state)


def test_the_base_alone_learns_from_the_data_sets_images(state):
    train(settings("offline-no-adversary", rounds=2), "alone", state)
    frame = read_metrics(RunDirectory.read(StateDirectory(state), "alone"))
    assert list(frame["player"]) == ["base", "base"]
    assert list(frame["optimizer_steps"]) == [0, 1]


def test_every_checkpoint_is_evaluated_once(state):
    evaluate(settings(), "whole", state)
    tests = RunDirectory.read(StateDirectory(state), "whole").checkpoint_tests
    names = sorted(path.stem for path in tests.iterdir())
    assert names == ["ckpt-0", "ckpt-2", "ckpt-4"]
    result = json.loads((tests / "ckpt-0.json").read_text())
    assert {len(row["completions"]) for row in result["per_chart_results"]} == {2}
    before = {path.name: path.stat().st_mtime_ns for path in tests.iterdir()}
    again = evaluate(settings(), "whole", state, return_state=True)
    assert again.message == "whole: no new checkpoints; no model was loaded and the judge was not called"
    assert {path.name: path.stat().st_mtime_ns for path in tests.iterdir()} == before


def test_updates_skipped_in_a_row_stop_the_run_and_keep_the_round(state, monkeypatch):
    embed = Embedder._embed_chunk
    monkeypatch.setattr(Embedder, "_embed_chunk", lambda self, pixels: embed(self, pixels) * math.nan)
    with pytest.raises(RunError, match=r"the last 2 updates of the base were skipped: .* kept in .*round-0002; lower"):
        train(settings(max_skipped_updates=2), "skipping", state)
    run = RunDirectory.read(StateDirectory(state), "skipping")
    rows = read_rows(run.metrics)
    assert [(row["player"], row["loss"], row["skipped_updates"]) for row in rows] == [
        ("base", None, 1),
        ("adversary", None, 1),
        ("base", None, 2),
    ]
    assert read_round(run, 2).update.skipped_updates == 2
    said = "\n".join(status_lines(run, None))
    assert "2 of the base, 1 of the adversary: loss, gradient or an embedding was not finite" in said


def test_a_damaged_checkpoint_is_set_aside_and_the_run_ends_the_same(state):
    train(settings(rounds=2), "hurt", state)
    run = RunDirectory.read(StateDirectory(state), "hurt")
    weights = list_checkpoints(run)[-1].weights("adversary") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    train(settings(), "hurt", state)
    assert (run.checkpoints / "damaged-ckpt-2").is_dir()
    assert fingerprint(state, "hurt") == fingerprint(state, "whole")


def test_a_full_disk_is_one_line_and_the_run_is_not_complete(state, monkeypatch, capsys):
    save = LocalPolicy.save

    def full(policy, directory):
        if policy.rounds_learned:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(policy, directory)

    monkeypatch.setattr(LocalPolicy, "save", full)
    with pytest.raises(StorageError, match=r"^the disk is full \(.*ckpt-1\); what was recorded before is safe"):
        train(settings(rounds=1), "full", state)
    assert main(["status", "--run", "full", "--state", str(state)]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 recorded" in said
    assert "StorageError: the disk is full" in said
    assert "resume with duel train --run full" in said
    monkeypatch.undo()
    train(settings(rounds=1), "full", state)
    main(["status", "--run", "full", "--state", str(state)])
    assert "training is complete" in capsys.readouterr().out


def test_what_cannot_be_published_does_not_end_the_training(state, monkeypatch, caplog):
    def fail(*_):
        raise OSError("the server is away")

    monkeypatch.setattr("artifacts.prefect_ui.show_progress", fail)
    monkeypatch.setattr("artifacts.prefect_ui.show_rounds", fail)
    train(settings(rounds=1), "unseen", state)
    assert [found.rounds_done for found in list_checkpoints(RunDirectory.read(StateDirectory(state), "unseen"))] == [
        0,
        1,
    ]
    assert "the progress of unseen could not be published in the Prefect UI: the server is away" in caplog.text
    assert "the state of unseen could not be published" in caplog.text


def test_images_that_the_store_lost_are_drawn_again_when_a_round_is_repeated(state):
    """Last in this file: it empties the store that the tests share."""
    train(settings(rounds=3), "lost", state)
    run = RunDirectory.read(StateDirectory(state), "lost")
    shutil.rmtree(list_checkpoints(run)[-1].path)  # as if killed before it was written: round 2's stages are finished
    shutil.rmtree(state / "images")
    train(settings(), "lost", state)
    assert fingerprint(state, "lost") == fingerprint(state, "whole")


def test_the_canary_is_measured_and_changes_nothing_of_the_training(state):
    [first, *_] = read_proxies(RunDirectory.read(StateDirectory(state), "whole"))
    assert first.canary is not None
    assert len(first.canary.questions) == 12
    train(settings(evaluation__canary_questions=0), "without", state)
    assert read_proxies(RunDirectory.read(StateDirectory(state), "without"))[0].canary is None
    assert fingerprint(state, "without") == fingerprint(state, "whole")


def test_an_anchor_is_measured_in_rounds_of_the_base_alone(state):
    train(settings(rounds=2, base__anchor__coef=0.1, base__anchor__images=2), "anchored", state)
    run = RunDirectory.read(StateDirectory(state), "anchored")
    base, adversary = read_metrics(run)["anchor_divergence"]
    assert base == pytest.approx(0, abs=1e-6)  # untrained
    assert math.isnan(adversary)
    assert [path.name[:4] for path in run.stage_results.glob("*sample_anchors*")] == ["0000"]


def test_a_model_that_cannot_be_loaded_leaves_no_run_that_refuses_the_right_one(state, tmp_path):
    weights = tmp_path / "2024" / "model.safetensors"
    shutil.copytree(OFFLINE_WEIGHTS / "vlm", weights.parent)
    weights.unlink()
    wrong = settings(**{"models.base": str(weights.parent)})
    with pytest.raises(SettingsError, match="cannot load the model"):
        train(wrong, "named-wrongly", state)
    assert not (state / "runs" / "named-wrongly").exists()
    notes = state / "runs" / "with-notes" / "notes.txt"
    with RunDirectory.open(StateDirectory(state), "with-notes", wrong):
        notes.write_text("mine")
    with pytest.raises(SettingsError, match="cannot load the model"):
        train(wrong, "with-notes", state)
    assert notes.read_text() == "mine"
    with RunDirectory.open(StateDirectory(state), "named-wrongly", settings()) as run:
        assert run.settings.models.base == "offline"
