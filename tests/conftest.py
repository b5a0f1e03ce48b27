import signal
from collections.abc import Iterator

import hypothesis
import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.testing.utilities import prefect_test_harness

pytest_plugins = ["tests.support.replicate_fixtures"]

# The same examples in every run, so that a failure is the change's; a loaded machine is no failure.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("repeatable")

# Tests stop themselves as Ctrl-C does; what a shell starts in the background would ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One real Prefect server for all tests that run flows; a heartbeat would cost each flow a second."""
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_LOGGING_TO_API_ENABLED: False}),
    ):
        yield
