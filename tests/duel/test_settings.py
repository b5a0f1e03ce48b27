import re
import tomllib

import pytest

from duel import instructions
from duel.errors import SettingsError
from duel.settings.profile import defining_differences, flatten, override, read_profile, read_settings, upgrade_settings
from flows.profiles import profile_names, profile_path


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_is_valid(name):
    read_settings(read_profile(profile_path(name)))


def test_the_references_two_experiments_are_profiles():
    assert {"offline-reference", "day2", "day3"} <= set(profile_names())


def shipped(name):
    return read_settings(read_profile(profile_path(name)))


@pytest.mark.parametrize(
    ("arm", "duel", "expected"),
    [
        ("day2", "day3", {"order", "originals"}),
        # Without an adversary there is no one to share draws with, and nothing to replay.
        (
            "offline-no-adversary",
            "offline",
            {"order", "originals", "warm_up", "shared_draws", "prompt_groups", "sampling", "rewards", "replay"},
        ),
    ],
)
def test_an_arm_without_adversary_differs_in_what_makes_and_keeps_drawings_alone(arm, duel, expected):
    lines = defining_differences(shipped(arm), shipped(duel))
    assert {re.split("[.:]", line)[0] for line in lines} <= expected


@pytest.mark.parametrize("name", ["offline", "offline-no-adversary"])
def test_the_offline_profiles_hold_the_instructions_by_which_the_embedded_model_was_taught(name):
    settings = shipped(name)
    assert settings.evaluation.answer == instructions.REASON
    assert settings.base.anchor.answer == (instructions.ANSWER, instructions.REASON)


def test_day3_holds_the_references_values():
    day3 = read_settings(tomllib.loads(profile_path("day3").read_text()))
    assert (day3.rounds, day3.sampling.group_size, day3.sampling.temperature) == (1000, 8, 0.9)
    assert (day3.base.optimizer.beta1, day3.base.optimizer.beta2, day3.base.optimizer.weight_decay) == (0.9, 0.99, 0.1)
    assert (day3.base.grpo.accumulation, day3.base.grpo.kl_coef, day3.evaluation.every) == (4, 0.0, 25)
    assert (day3.models.base, day3.models.adversary) == ("Qwen/Qwen2.5-VL-3B-Instruct", None)  # None: the base's
    assert (day3.models.embedder, day3.generator.model) == ("facebook/dinov2-large", "black-forest-labs/flux-schnell")
    assert (day3.judge.model, day3.evaluation.charts, day3.evaluation.completions) == ("gpt-4.1", 10, 10)
    assert (day3.data.train_images, day3.data.test_images, day3.seed) == (75, 25, 7111994)


def test_an_unknown_key_is_refused_with_the_nearest_name():
    with pytest.raises(SettingsError, match="sampling.grup_size is not a setting; did you mean sampling.group_size"):
        read_settings({"sampling": {"grup_size": 4}})


def test_a_group_of_one_is_refused():
    with pytest.raises(SettingsError, match="sampling.group_size: got 1: .*greater than or equal to 2"):
        read_settings({"sampling": {"group_size": 1}})


def test_every_fault_is_named_at_once():
    with pytest.raises(SettingsError, match=r"rounds: .*; base.grpo.kl_coef: "):
        read_settings({"rounds": 0, "base": {"grpo": {"kl_coef": -1}}})


def test_an_adversary_without_its_own_originals_is_refused():
    with pytest.raises(SettingsError, match="originals = dataset"):
        read_settings({"originals": "dataset"})


def test_an_answer_instruction_needs_the_question():
    with pytest.raises(SettingsError, match="question"):
        read_settings({"evaluation": {"answer": "Answer."}})


def test_overrides_replace_single_values_and_leave_the_profile_alone():
    profile = {"seed": 1, "base": {"grpo": {"kl_coef": 0.1, "accumulation": 2}}}
    merged = override(profile, {"base.grpo.kl_coef": 0.5, "rounds": 3})
    assert merged == {"seed": 1, "rounds": 3, "base": {"grpo": {"kl_coef": 0.5, "accumulation": 2}}}
    assert profile["base"]["grpo"]["kl_coef"] == 0.1


def test_differences_name_defining_settings_only():
    before = read_settings({"rounds": 5, "base": {"optimizer": {"learning_rate": 0.1}}})
    now = read_settings({"rounds": 9, "base": {"optimizer": {"learning_rate": 0.2}}})
    assert defining_differences(before, now) == ["base.optimizer.learning_rate: 0.1 then, 0.2 now"]


def test_settings_survive_their_flat_form():
    settings = read_settings({"data": {"path": "charts"}, "order": ["base"], "originals": "dataset"})
    assert read_settings(override({}, flatten(settings))) == settings


def test_a_profile_that_is_not_toml_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("rounds = ")
    with pytest.raises(SettingsError, match=r"cannot read the profile .*mine\.toml"):
        read_profile(path)


def test_the_best_checkpoint_needs_charts_to_choose_by_and_the_last_needs_none():
    for values in ({"report": "best"}, {"development_charts": 5}):
        with pytest.raises(SettingsError, match="expected charts to choose by for best, and none for last"):
            read_settings({"evaluation": values})


def test_the_rule_for_the_reported_checkpoint_defines_a_run():
    best = read_settings({"evaluation": {"report": "best", "development_charts": 5}})
    changed = [line.split(":")[0] for line in defining_differences(read_settings({}), best)]
    assert changed == ["evaluation.report", "evaluation.development_charts"]


def test_stored_settings_of_a_version_without_settings_per_player_are_read():
    optimizer = {"learning_rate": 0.1, "adversary_learning_rate": 0.2}
    old = {"seed": 3, "grpo": {"kl_coef": 0.5}, "optimizer": optimizer}
    settings = read_settings(upgrade_settings(old))
    assert (settings.base.optimizer.learning_rate, settings.adversary.optimizer.learning_rate) == (0.1, 0.2)
    assert settings.base.grpo.kl_coef == settings.adversary.grpo.kl_coef == 0.5
    assert old["optimizer"] == optimizer
    today = settings.model_dump(mode="json")
    assert upgrade_settings(today) == today


def test_completions_are_no_longer_than_the_generator_reads():
    settings = read_settings({"sampling": {"max_new_tokens": 512}})
    assert settings.limited(256).sampling.max_new_tokens == 256
    assert settings.limited(1000) == settings


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["generator.parameters", "generator.deadline_seconds", "sampling.temperature"])
def test_numbers_that_json_cannot_hold_are_refused(name, value):
    given = {"guidance": value} if name == "generator.parameters" else value
    with pytest.raises(SettingsError, match=f"bad settings: {name}.*finite number"):
        read_settings(override({}, {name: given}))


def test_an_unknown_name_with_control_characters_is_shown_escaped():
    with pytest.raises(SettingsError, match=r"bad settings: '\\x1b\[2J' is not a setting"):
        read_settings({"\x1b[2J": 1})
