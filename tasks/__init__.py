"""One stage of a round a file: Prefect tasks that call `duel`, `cache` and `artifacts`."""
