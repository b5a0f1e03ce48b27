"""API keys: from the environment or a Secret block of a real Prefect server, and never logged or written."""

import traceback
from pathlib import Path

import pytest
from PIL import Image
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from pydantic import SecretStr

from cache.ledger import SpendLedger
from duel.errors import SettingsError, UserError
from duel.settings import Settings
from duel.settings.profile import read_settings
from duel.state import StateDirectory
from flows.commands import train
from tasks.credentials import HUB, OPENAI, REPLICATE, find_hub_token, find_key
from tasks.services import check_generator, judge_key, open_generator
from tests.support import tiny
from tests.support.replicate_fixtures import TOKEN, is_right

NOBODY = "http://127.0.0.1:9/api"  # no server there

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def no_keys(monkeypatch, tmp_path):
    """An environment without keys and without a login to the hub."""
    for place in (REPLICATE, OPENAI, HUB):
        monkeypatch.delenv(place.variable, raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no_login"))


@pytest.fixture
def save_block(no_keys):
    """Return a function that saves Secret blocks, which are deleted after the test."""
    saved = []

    def save(name: str, value: object) -> None:
        Secret(value=value).save(name, overwrite=True)
        saved.append(name)

    yield save
    for name in saved:
        Secret.delete(name)


def settings(**generator: object) -> Settings:
    return read_settings({"generator": {"service": "replicate", "parameters": {"output_format": "png"}, **generator}})


def database() -> list[Path]:
    """Return the files of the test server's database, write-ahead log included."""
    path = Path(get_current_settings().server.database.connection_url.get_secret_value().partition("///")[2])
    return list(path.parent.glob(f"{path.name}*"))


def test_the_environment_comes_first_without_a_request_to_prefect(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", " sk-from-the-environment\n")
    with temporary_settings({PREFECT_API_URL: NOBODY}):
        assert judge_key().get_secret_value() == "sk-from-the-environment"


def test_a_key_is_read_from_a_block_if_the_environment_has_none(save_block):
    save_block(OPENAI.block, "sk-from-a-block")
    assert judge_key() == SecretStr("sk-from-a-block")


def test_a_draw_uses_the_blocks_token_which_is_written_and_logged_nowhere(server, save_block, tmp_path, caplog):
    save_block(REPLICATE.block, TOKEN)
    caplog.set_level("DEBUG")
    with open_generator(settings(), "run", StateDirectory(tmp_path / "state")) as generator:
        assert is_right(generator.draw("a plot", 7), "a plot", 7)
        server.token = "another"  # as if the token had been withdrawn
        with pytest.raises(UserError, match="401") as refused:
            generator.draw("another plot", 7)
    with SpendLedger(tmp_path / "state" / "spend.sqlite") as ledger:
        assert ledger.spend("run").drawn == 1
    words = "".join(traceback.format_exception(refused.value)) + caplog.text + repr(generator)
    assert "HTTP Request" in words
    assert TOKEN not in words
    written = [path for path in (tmp_path / "state").rglob("*") if path.is_file()] + database()
    assert any(path.name.endswith(".db-wal") for path in written)
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []


def test_a_missing_key_names_both_places_before_a_run_is_created(no_keys, tmp_path):
    for i in range(2):
        Image.new("RGB", (30, 20), (i * 60, 0, 0)).save(tmp_path / f"{i}.png")
    data = {"source": "folder", "path": tmp_path, "train_images": 1, "test_images": 1}
    with pytest.raises(SettingsError, match="REPLICATE_API_TOKEN is not set, .* Secret block duel-replicate-api-token"):
        train(read_settings({"data": data, "generator": {"service": "replicate"}}), "run", tmp_path / "state")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("value", ["", "  ", {"token": "in the wrong form"}, 12345])
def test_a_block_without_text_is_reported_without_its_content(save_block, value):
    save_block(OPENAI.block, value)
    with pytest.raises(SettingsError, match="duel-openai-api-key cannot be used: it holds no text") as caught:
        judge_key()
    assert "wrong form" not in "".join(traceback.format_exception(caught.value))


def test_a_token_of_digits_is_text(save_block):
    save_block(REPLICATE.block, "12345")
    assert find_key(REPLICATE, "drawing").get_secret_value() == "12345"


def test_a_malformed_token_is_refused_before_any_request(save_block):
    save_block(REPLICATE.block, "r8_two words")
    with pytest.raises(UserError, match="character 7 of 12 is SPACE"):
        check_generator(settings().generator)


def test_an_unreachable_server_is_named(no_keys):
    with (
        temporary_settings({PREFECT_API_URL: NOBODY}),
        pytest.raises(SettingsError, match="OPENAI_API_KEY is not set, .* check PREFECT_API_URL"),
    ):
        judge_key()


def test_the_hubs_token_is_looked_up_only_if_a_model_is_a_hub_name(save_block, tmp_path):
    folder = tiny.save_embedder(tmp_path / "embedder")
    assert find_hub_token(["org/model"]) is None  # no block: the hub gives what is public
    save_block(HUB.block, "hf_from_a_block")
    assert find_hub_token(["offline", "org/model"]) == SecretStr("hf_from_a_block")
    with temporary_settings({PREFECT_API_URL: NOBODY}):
        assert find_hub_token(["offline", folder, None]) is None


def test_the_hubs_own_token_comes_first(save_block, monkeypatch):
    save_block(HUB.block, "hf_from_a_block")
    monkeypatch.setenv("HF_TOKEN", "hf_from_the_environment")
    assert find_hub_token(["org/model"]) is None
