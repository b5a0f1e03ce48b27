"""Every use of randomness in a run has its own stream, shared neither between stages nor within one."""

import sys
from collections import Counter, defaultdict

import pytest
from prefect.context import TaskRunContext

import duel.randomness
from flows.prepare import prepare
from flows.train import train
from tests.support.small_run import settings

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_no_two_stages_share_a_random_stream(tmp_path, monkeypatch):
    used = defaultdict(Counter)  # stream -> stage run -> how often
    derive = duel.randomness.derive_seed
    prepare(settings(), tmp_path)

    def noted(seed, *names):
        context = TaskRunContext.get()
        if context is not None:
            used[(seed, *names)][context.task_run.name] += 1
        return derive(seed, *names)

    for module in list(sys.modules.values()):
        if vars(module).get("derive_seed") is derive:  # getattr would make lazy modules import theirs
            monkeypatch.setattr(module, "derive_seed", noted)
    # The adversary's reward draws prompts twice.
    how = settings(
        rounds=4,
        rewards__adversary="regret",
        base__anchor__coef=0.1,
        adversary__past__share=1.0,
        evaluation__charts_per_stratum=1,
    )
    train(how, "run_1", tmp_path)

    stages = {stage for runs in used.values() for stage in runs}
    assert any("write_prompts" in stage for stage in stages)
    assert any("write_past_prompts" in stage for stage in stages)
    assert any("draw_ceilings" in stage for stage in stages)
    assert any("evaluate_players" in stage for stage in stages)
    assert any("canary" in names for names in used)
    assert any("sample_anchors" in stage for stage in stages)
    assert any("strata" in names for names in used)
    for names, runs in used.items():
        if names[1:3] == ("draw", "redraw"):  # of an original, whichever text about it is drawn: meant to be shared
            continue
        assert max(runs.values()) == 1, names  # not twice in one stage
        # An evaluation uses the same streams every time, so that its numbers differ by the models alone.
        labels = {"evaluation" if "evaluate_players" in stage else stage for stage in runs}
        assert len(labels) == 1, (names, labels)
