"""No model's own code is run, no pickled weights are read, and no library asks a question on the terminal."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from duel.embedder import load_embedder
from duel.errors import SettingsError
from duel.policies.load import load_players
from duel.settings import ModelSettings
from tests.support import tiny

CODE = "import pathlib\npathlib.Path({mark!r}).touch()\n"


@pytest.fixture
def silent(monkeypatch):
    """Fail the test where anything reads from the terminal."""

    class Unread:
        def readline(self, *_):
            raise AssertionError("something was asked on the terminal")

        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Unread())


def give_code(folder: Path, file: str, **auto: str) -> Path:
    """Let a model's folder name classes of its own, as repositories with `trust_remote_code` do; return the mark."""
    mark = folder / "was-run"
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    config = json.loads((folder / file).read_text()) | {"auto_map": auto}
    if file == "config.json":
        config["model_type"] = "own"
    (folder / file).write_text(json.dumps(config))
    return mark


def pickle_weights(folder: Path) -> None:
    """Replace a folder's safetensors by the same weights, pickled."""
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()


@pytest.mark.parametrize("save", [tiny.save_vlm, tiny.save_lm])
def test_a_model_with_code_of_its_own_is_refused_without_a_question(save, tmp_path, silent):
    folder = save(tmp_path)
    mark = give_code(tmp_path, "config.json", AutoConfig="own.OwnConfig")
    with pytest.raises(SettingsError, match="code of its own, which Duel never runs"):
        load_players(tiny.settings(folder), ["base"])
    assert not mark.exists()


def test_a_tokenizer_with_code_of_its_own_is_not_run(tmp_path, silent):
    folder = tiny.save_vlm(tmp_path)
    mark = give_code(tmp_path, "tokenizer_config.json", AutoTokenizer=["own.OwnTokenizer", "own.OwnTokenizer"])  # type: ignore[arg-type]
    load_players(tiny.settings(folder), ["base"])  # with the library's own class
    assert not mark.exists()


def test_an_embedder_with_code_of_its_own_is_refused_without_a_question(tmp_path, silent):
    folder = tiny.save_embedder(tmp_path)
    mark = give_code(tmp_path, "config.json", AutoConfig="own.OwnConfig", AutoModel="own.OwnModel")
    with pytest.raises(SettingsError, match="code of its own, which Duel never runs"):
        load_embedder(ModelSettings(embedder=folder, device="cpu"))
    assert not mark.exists()


def test_pickled_weights_are_not_read(tmp_path):
    (tmp_path / "vlm").mkdir()
    folder = tiny.save_vlm(tmp_path / "vlm")
    pickle_weights(tmp_path / "vlm")
    with pytest.raises(SettingsError, match=r"model\.safetensors"):
        load_players(tiny.settings(folder), ["base"])
    (tmp_path / "embedder").mkdir()
    embedder = tiny.save_embedder(tmp_path / "embedder")
    pickle_weights(tmp_path / "embedder")
    with pytest.raises(SettingsError, match=r"model\.safetensors"):
        load_embedder(ModelSettings(embedder=embedder, device="cpu"))
