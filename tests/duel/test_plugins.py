"""Loading of plug-in classes, and the error messages for those that cannot be loaded."""

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Protocol

import pytest

import duel
from duel.errors import RunError, SettingsError
from duel.generators.base import ImageGenerator, check_identity
from duel.judges.base import Judge
from duel.judges.exact import ExactJudge
from duel.offline.generator import ChartGenerator
from duel.plugins import Plugin, check_members, check_plugins, find_class, load_plugin, plugin_versions, version_of
from duel.policies.policy import LocalPolicy, Policy
from duel.rewards import AdversaryReward, BaseReward, PlainReward, RegretReward, SimilarityReward
from duel.settings import RewardSettings
from duel.settings.profile import read_settings


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a module to a folder of `sys.path`, removed after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write_module(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        written.append(name)

    yield write_module
    for name in written:
        sys.modules.pop(name, None)


GREETER = """
class Greeter:
    def __init__(self, name):
        self.name = name

    def greet(self):
        return self.name
"""
SCALED = """
class Scaled:
    def __init__(self, settings):
        self.settings = settings

    def __call__(self, described):
        return described.similarities
"""


class Greets(Protocol):
    name: str

    def greet(self) -> str: ...


def test_a_class_is_loaded_and_called_with_what_it_takes(write):
    write("greeting", GREETER)
    assert load_plugin("greeter", "greeting:Greeter", Greets, "hello").greet() == "hello"


def test_a_class_without_parameters_is_called_without_arguments(write):
    write("greeting", "class Greeter:\n    name = 'silent'\n    def greet(self):\n        return self.name\n")
    assert load_plugin("greeter", "greeting:Greeter", Greets, "hello", dataset="there").greet() == "silent"


def test_a_class_that_takes_other_arguments_is_told_what_it_gets(write):
    write("greeting", GREETER)
    with pytest.raises(
        SettingsError, match=r"greeter = 'greeting:Greeter': cannot call Greeter: .*'dataset'"
    ) as caught:
        load_plugin("greeter", "greeting:Greeter", Greets, "hello", dataset="there")
    assert "expected it to take (str, dataset=), or nothing" in str(caught.value)


def test_a_missing_module_is_named_with_its_setting():
    with pytest.raises(
        SettingsError, match="judge.service = 'nowhere.at_all:Judge': cannot import nowhere.at_all: No mod"
    ):
        find_class("judge.service", "nowhere.at_all:Judge")


def test_a_module_that_cannot_be_imported_says_why(write):
    write("needy", "import a_library_that_is_not_there\n")
    with pytest.raises(SettingsError, match="cannot import needy: No module named 'a_library_that_is_not_there'"):
        find_class("judge.service", "needy:Judge")
    write("crooked", "class Judge\n")
    with pytest.raises(SettingsError, match=r"cannot import crooked: expected ':' \(crooked.py, line 1\)"):
        find_class("judge.service", "crooked:Judge")


def test_a_missing_class_names_those_that_are_there(write):
    write("greeting", "from pathlib import Path\n" + GREETER + "class Mute:\n    pass\n")
    with pytest.raises(SettingsError, match="greeting has no Greter; its classes: Greeter, Mute$"):
        find_class("greeter", "greeting:Greter")


def test_a_name_that_is_not_a_class_is_refused(write):
    write("greeting", "Greeter = 3\n")
    with pytest.raises(SettingsError, match="greeter = 'greeting:Greeter': Greeter is of type int, expected a class"):
        find_class("greeter", "greeting:Greeter")


def test_every_lacking_member_is_named(write):
    write("blank", "class Generator:\n    name = 'blank'\n    draw = 'not a function'\n")
    with pytest.raises(SettingsError) as caught:
        load_plugin("generator.service", "blank:Generator", ImageGenerator)
    assert str(caught.value) == (
        "generator.service = 'blank:Generator' lacks version, prompt_limit, parameters, draw(); expected all members "
        "of ImageGenerator (duel.generators.base), see docs/extending.md"
    )


def test_a_reward_has_to_be_callable():
    with pytest.raises(SettingsError, match=r"lacks needs_ceiling, __call__\(\)"):
        check_members("rewards.adversary", "m:C", object(), AdversaryReward)


def test_a_member_without_a_value_yet_is_not_lacking():
    class Waiting:
        @property
        def name(self):
            raise RunError("not yet")

        def greet(self):
            return ""

    check_members("greeter", "m:Waiting", Waiting(), Greets)


@pytest.mark.parametrize(
    ("made", "protocol"),
    [
        (ChartGenerator(), ImageGenerator),
        (ExactJudge(), Judge),
        (SimilarityReward(), BaseReward),
        (PlainReward(), AdversaryReward),
        (RegretReward(), AdversaryReward),
    ],
)
def test_built_in_ones_have_all_members(made, protocol):
    check_members("setting", "built-in", made, protocol)


def test_the_local_policy_has_all_members_of_a_policy():
    policy = LocalPolicy("base", tuning=None, optimizer=PlainCounters(), settings=None)
    check_members("models.policy", "local", policy, Policy)


class PlainCounters:
    rounds_learned = 0
    steps = 0


def test_a_generators_identity_has_to_be_of_the_right_types():
    check_identity(ChartGenerator(), "generator.service = 'offline'")
    wrong = ChartGenerator(version=2, prompt_limit=0, parameters={"size": (1, 2)})
    with pytest.raises(SettingsError) as caught:
        check_identity(wrong, "generator.service = 'm:C'")
    assert str(caught.value) == (
        "generator.service = 'm:C': the generator has version = 2, expected a text; prompt_limit = 0, expected a "
        "number of tokens; parameters = {'size': (1, 2)}, expected names with texts, numbers or None"
    )


def test_a_module_in_the_current_directory_is_identified_by_its_source(write, tmp_path):
    write("greeting", GREETER)
    settings = read_settings({"judge": {"service": "greeting:Greeter"}, "rewards": {"base": "greeting:Greeter"}})
    digest = hashlib.sha256(GREETER.encode()).hexdigest()
    version = Plugin("greeting:Greeter", f"sha256:{digest}")
    assert plugin_versions(settings) == {"judge.service": version, "rewards.base": version}
    assert plugin_versions(settings, "judge.service") == {"judge.service": version}


def test_an_installed_module_is_identified_by_its_distribution():
    assert version_of(pytest) == f"pytest {pytest.__version__}"


def test_an_editable_install_is_identified_by_its_source():
    source = Path(duel.__file__).read_bytes()
    assert version_of(duel) in (f"sha256:{hashlib.sha256(source).hexdigest()}", f"duel {duel.__version__}")


def test_built_in_names_are_no_plugins():
    settings = read_settings({})
    check_plugins(settings)
    assert plugin_versions(settings) == {}


@pytest.mark.parametrize("value", ["ofline", "my module:Class", "module:", ":Class", "a.b", "a:b:c", "a:b.c", "3a:B"])
def test_a_value_that_is_neither_a_name_nor_a_class_is_refused(value):
    with pytest.raises(SettingsError) as caught:
        read_settings({"generator": {"service": value}})
    assert str(caught.value) == (
        f"bad settings: generator.service: got {value!r}: expected offline, replicate, diffusers, or a class of your "
        "own as package.module:Class"
    )


def test_a_reward_gets_its_section(write):
    write("scaled", SCALED)
    settings = RewardSettings(base="scaled:Scaled", parameters={"scale": 2})
    assert load_plugin("rewards.base", settings.base, BaseReward, settings).settings is settings
