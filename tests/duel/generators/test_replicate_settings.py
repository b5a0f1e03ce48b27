"""Validation of the image generator's settings."""

import pytest

from duel.errors import SettingsError
from duel.generators.replicate.generator import FLUX_SCHNELL
from duel.settings.profile import defining_differences, flatten, override, read_profile, read_settings
from flows.profiles import profile_path


def test_the_model_by_default_is_the_references():
    generator = read_settings({"generator": {"service": "replicate"}}).generator
    assert (generator.model, generator.version, generator.parameters) == (FLUX_SCHNELL, None, None)


def test_a_table_of_parameters_keeps_its_types_and_survives_the_flat_form():
    table = {"megapixels": "1", "steps": 3, "guidance": 2.5, "go_fast": True, "style": None}
    settings = read_settings({"generator": {"parameters": table}})
    assert settings.generator.parameters == table
    assert type(settings.generator.parameters["go_fast"]) is bool
    assert read_settings(override({}, flatten(settings))) == settings


@pytest.mark.parametrize("name", ["prompt", "seed", "generator"])
def test_prompt_and_seed_are_not_parameters(name):
    with pytest.raises(SettingsError, match=f"parameters holds '{name}'"):
        read_settings({"generator": {"parameters": {name: 1}}})


def test_a_draw_is_one_image():
    with pytest.raises(SettingsError, match=r"num_outputs is 4, expected 1"):
        read_settings({"generator": {"parameters": {"num_outputs": 4}}})


def test_another_model_states_its_prompt_limit():
    with pytest.raises(SettingsError, match="how many text tokens does a/b read"):
        read_settings({"generator": {"service": "replicate", "model": "a/b"}})
    stated = {"service": "replicate", "model": "a/b", "prompt_limit": 77}
    with pytest.raises(SettingsError, match="what does an image of a/b cost"):
        read_settings({"generator": stated})
    read_settings({"generator": {**stated, "dollars_per_image": 0.01}})
    read_settings({"generator": {"service": "diffusers", "model": "a/b"}})  # its tokenizer states it


def test_rate_price_and_deadline_may_change_when_a_run_goes_on_and_the_model_may_not():
    day3 = read_profile(profile_path("day3"))
    before = read_settings(day3)
    faster = {"requests_per_minute": 60, "deadline_seconds": 9, "dollars_per_image": 1, "concurrency": 2}
    now = read_settings(override(day3, {f"generator.{name}": value for name, value in faster.items()}))
    assert defining_differences(before, now) == []
    other = read_settings(override(day3, {"generator.parameters": {"output_format": "png"}}))
    assert [line.partition(":")[0] for line in defining_differences(before, other)] == ["generator.parameters"]
