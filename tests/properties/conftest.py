"""Profiles of hypothesis: `quick` tries few examples, the same ones every time; `fuzz` (`make fuzz`) many new ones."""

from hypothesis import HealthCheck, settings

ANY_PACE = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile(
    "quick", max_examples=25, derandomize=True, database=None, deadline=None, suppress_health_check=ANY_PACE
)
settings.register_profile("fuzz", max_examples=2000, deadline=None, suppress_health_check=ANY_PACE, print_blob=True)
settings.load_profile("quick")
