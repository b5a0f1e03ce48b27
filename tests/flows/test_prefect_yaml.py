"""prefect.yaml repeats the profiles' settings, which the UI shows in its forms, and its deployments match the flows."""

import importlib
import inspect
from pathlib import Path

import pytest
import yaml
from prefect import Flow

from duel.settings.profile import read_profile, read_settings
from flows.profiles import profile_names, profile_path

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
WITH_SETTINGS = [
    found for found in DEPLOYMENTS if found.get("parameters", {}).get("settings")
]  # others: each run's own


def flow_of(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_profile_can_be_trained():
    train = {found["name"] for found in DEPLOYMENTS if found["entrypoint"] == "flows.train.train"}
    assert train == set(profile_names())


@pytest.mark.parametrize("deployment", WITH_SETTINGS, ids=lambda found: f"{found['entrypoint']}-{found['name']}")
def test_settings_are_those_of_the_profile_of_the_same_name(deployment):
    assert read_settings(deployment["parameters"]["settings"]) == read_settings(
        read_profile(profile_path(deployment["name"]))
    )


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda found: f"{found['entrypoint']}-{found['name']}")
def test_entrypoints_are_flows_that_take_the_parameters(deployment):
    flow = flow_of(deployment)
    assert isinstance(flow, Flow)
    assert set(deployment.get("parameters", {})) <= set(inspect.signature(flow.fn).parameters)


def test_evaluations_are_scheduled_and_follow_every_training():
    nightly, after = (found for found in DEPLOYMENTS if found["entrypoint"] == "flows.evaluate.evaluate")
    assert nightly["schedules"] == [{"cron": "0 3 * * *", "timezone": "UTC"}]
    [trigger] = after["triggers"]
    assert trigger["match_related"][0]["prefect.resource.id"] == "prefect.tag.train"
    assert all("train" in found["tags"] for found in DEPLOYMENTS if found["entrypoint"] == "flows.train.train")
