"""Prefect tasks, one stage of a round per module; they call `duel`, `cache` and `artifacts`."""
