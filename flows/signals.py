"""Being stopped: Ctrl-C and SIGTERM end a command within ten seconds, whatever becomes of Prefect's own server.

A terminal's Ctrl-C also reaches the server that Prefect started for this process. It is then gone before the flow's
last state can be told to it, and Prefect would try for minutes. Nothing is lost by not waiting: a run is whole on disk
after every round, and whoever takes it up next settles the flow run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

GRACE = 10.0  # seconds
SAID = "duel: stopped; the same command goes on where it was"


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt and SIGTERM SystemExit, and leave for good when that takes too long.

    Without a handler of its own SIGTERM would leave Prefect's server behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    code = 128 + number
    watchdog = threading.Timer(GRACE, _leave, [code])
    watchdog.daemon = True
    watchdog.start()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(code)


def _leave(code: int) -> None:
    print(SAID, file=sys.stderr, flush=True)
    os._exit(code)
