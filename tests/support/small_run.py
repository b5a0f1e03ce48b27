"""Settings of a run that takes a few seconds: the offline-reference profile with small counts."""

from duel.settings.profile import override, read_profile, read_settings
from flows.profiles import profile_path

SMALL = {
    "rounds": 4,
    "images_per_round": 1,
    "sampling.group_size": 3,
    "sampling.max_new_tokens": 24,
    "evaluation.every": 2,
    "evaluation.proxy_completions": 1,
    "evaluation.adversary_prompts": 2,
    "evaluation.completions": 2,
    "evaluation.charts": 2,
    "evaluation.charts_per_stratum": 0,
    "data.train_images": 4,
    "data.test_images": 2,
    "base.grpo.accumulation": 2,
    "adversary.grpo.accumulation": 2,
}


def settings(profile="offline-reference", **overrides):
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    return read_settings(override(read_profile(profile_path(profile)), SMALL | dotted))
