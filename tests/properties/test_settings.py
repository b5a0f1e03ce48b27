"""Settings, profiles and names of runs: valid ones stay what they are, others are a SettingsError or RunError."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from artifacts.prefect_ui import artifact_key
from artifacts.run.directory import RunDirectory
from duel.errors import RunError, SettingsError
from duel.settings import Settings
from duel.settings.profile import fields_of, flatten, override, read_profile, read_settings, upgrade_settings
from duel.state import StateDirectory
from tests.support.strategies import json_values, texts

NAMES = [name for name, _ in fields_of()]
plausible = st.sampled_from(
    [0, 1, 2, -1, 1.5, 1e-3, "", "offline", "none", "full", "lora", "openai", "a:B", None, True]
)
dotted = st.dictionaries(st.sampled_from(NAMES), plausible | json_values(4), min_size=1, max_size=3)
names = st.text("abAB01._-", max_size=12)


@given(dotted)
def test_values_of_settings_are_valid_or_a_settings_error_of_one_line(values: dict[str, Any]) -> None:
    try:
        settings = read_settings(override({}, values))
    except SettingsError as error:
        assert len(str(error).splitlines()) == 1, str(error)
        return
    stored = json.loads(json.dumps(settings.model_dump(mode="json"), allow_nan=False))
    assert read_settings(upgrade_settings(stored)) == settings
    assert read_settings(override({}, flatten(settings))) == settings


@given(st.dictionaries(texts | st.sampled_from(NAMES), json_values(), max_size=3))
def test_unknown_settings_are_a_settings_error(values: dict[str, Any]) -> None:
    try:
        read_settings(override({}, values))
    except SettingsError as error:
        assert str(error).isprintable(), str(error)


@given(st.binary(max_size=200) | st.text("[]{}=\"'\n a.1#", max_size=80).map(str.encode))
def test_a_profile_is_a_table_or_a_settings_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "profile.toml")
        path.write_bytes(content)
        try:
            assert isinstance(read_profile(path), dict)
        except SettingsError as error:
            assert str(path) in str(error)


@given(texts | names)
def test_a_name_is_a_folder_below_runs_or_a_run_error(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = StateDirectory(Path(folder))
        try:
            assert not RunDirectory.exists(state, name)
        except RunError as error:
            assert str(error).isprintable()
            return
        with RunDirectory.open(state, name, Settings()) as run:
            assert run.path.parent == state.runs.absolute()
        assert RunDirectory.names(state) == [name]


@given(st.lists(st.text("aA1._-", min_size=1, max_size=4).map("r".__add__), min_size=2, max_size=2, unique=True))
def test_two_runs_have_two_artifact_keys(pair: list[str]) -> None:
    first, second = (artifact_key(name, "progress") for name in pair)
    assert first != second
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", first)
