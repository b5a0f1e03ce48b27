import pytest

from duel.estimate import draws_of_turn, most_draws
from duel.settings.profile import override, read_profile, read_settings
from flows.profiles import profile_path


def shipped(name, **changed):
    return read_settings(override(read_profile(profile_path(name)), changed))


@pytest.mark.parametrize(
    ("profile", "turn", "before", "needs_ceiling", "expected"),
    [
        ("day3", "base", None, False, 1 + 8),  # an image, described eight times
        ("day3", "adversary", "base", False, 8 * 2),  # eight prompts, each described once
        ("day2", "base", None, False, 8),
        ("recommended", "warm_up", None, True, 4 * 8),
        ("recommended", "adversary", "base", True, 8 * (1 + 1 + 8)),  # a second drawing, eight descriptions
        ("recommended", "base", "adversary", True, 0),  # shares the draws of the round before
        ("recommended", "replay", "base", True, (6 + 2) * 8),
    ],
)
def test_the_most_draws_of_a_round(profile, turn, before, needs_ceiling, expected):
    assert draws_of_turn(shipped(profile), turn, before, needs_ceiling) == expected


def test_past_adversaries_share_no_draws():
    settings = shipped("recommended", **{"adversary.past.share": 0.5})
    assert draws_of_turn(settings, "base", "adversary", True) == 4 * (1 + 8)


def test_the_most_draws_of_the_reference_run():
    """500 rounds of 9 and 500 of 16; 41 evaluations of 25 images, described twice, and of 32 prompts."""
    settings = shipped("day3")
    found = most_draws(settings, needs_ceiling=False)
    prompts = settings.evaluation.adversary_prompts
    assert (len(found.by_round), found.in_training) == (1000, 500 * 9 + 500 * 16)
    assert found.evaluations == 41
    assert found.in_evaluations == 41 * (25 * settings.evaluation.proxy_completions + prompts * 2)
