import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from flows.signals import STOPPED, stoppable


def test_sigint_raises_keyboard_interrupt_and_sigterm_system_exit():
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended, stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    for watchdog in threading.enumerate():
        if isinstance(watchdog, threading.Timer):
            watchdog.cancel()


def test_previous_signal_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_that_does_not_end_is_exited_after_the_grace_period():
    script = textwrap.dedent("""
        import time
        from flows import signals
        signals.GRACE = 0.3
        with signals.stoppable():
            try:
                print("ready", flush=True)
                time.sleep(30)
            finally:
                time.sleep(30)  # as Prefect does, whose server is gone
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - started < 15
    assert said.decode().strip() == STOPPED
