"""The hub commits of a run's models: read from the hub's cache, recorded, and compared when the run is resumed."""

import os
import shutil
import subprocess
import sys

import pytest

from artifacts.run.directory import RunDirectory
from artifacts.run.sources import check_sources
from duel.errors import RunError
from duel.offline.embedded import OFFLINE_WEIGHTS
from duel.services.hub import loaded_commit
from duel.settings import Settings
from duel.state import StateDirectory

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def run(tmp_path):
    with RunDirectory.open(StateDirectory(tmp_path), "run_1", Settings()) as opened:
        yield opened


def cache_model(cache, main=NEW):
    """Write a hub cache that holds one model at two commits; a file named after the commit is in each."""
    model = cache / "models--some--model"
    for commit in (OLD, NEW):
        shutil.copytree(OFFLINE_WEIGHTS / "embedder", model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(main)
    return model


def test_a_commit_is_recorded_and_another_one_refused_by_name(run):
    check_sources(run, {"models.base": OLD})
    check_sources(run, {"models.base": OLD, "models.embedder": OLD})
    with pytest.raises(
        RunError, match=rf"models.embedder is at commit {NEW} now.*set models.embedder_revision = '{OLD}'"
    ):
        check_sources(run, {"models.base": OLD, "models.embedder": NEW})


def test_a_run_without_hub_models_has_no_record(run):
    check_sources(run, {})
    assert not (run.path / "sources.json").exists()


def test_the_loaded_commit_is_that_of_the_revision_in_the_cache(tmp_path):
    cache_model(tmp_path)
    assert loaded_commit("some/model", None, cache=tmp_path) == NEW
    assert loaded_commit("some/model", OLD, cache=tmp_path) == OLD
    assert loaded_commit("some/other", None, cache=tmp_path) is None
    assert loaded_commit(str(tmp_path), None, cache=tmp_path) is None


@pytest.mark.slow
def test_the_pinned_revision_is_loaded(tmp_path):
    model = cache_model(tmp_path / "hub")
    config = model / "snapshots" / NEW / "config.json"
    config.write_text("{}")  # main cannot be loaded, the pinned revision can
    script = (
        "import sys; from duel.embedder import load_embedder; from duel.settings import ModelSettings; "
        "load_embedder(ModelSettings(embedder='some/model', embedder_revision=sys.argv[1] or None, device='cpu'))"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    codes = [
        subprocess.run([sys.executable, "-c", script, revision], env=environment, capture_output=True).returncode
        for revision in (OLD, "")
    ]
    assert codes == [0, 1]
