"""Signal handlers: Ctrl-C and SIGTERM end a command within ten seconds, even when Prefect's server is gone.

A terminal's Ctrl-C also reaches the server that Prefect started for this process. The server is then gone before the
flow's last state can be reported to it, and Prefect would retry for minutes. Leaving earlier loses nothing: a run is
complete on disk after every round, and the next process that opens it marks the flow run as Crashed.
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
STOPPED = "duel: stopped; run the same command again to resume"


@contextmanager
def stoppable() -> Iterator[None]:
    """Make SIGINT raise KeyboardInterrupt and SIGTERM SystemExit(143); GRACE seconds later, exit unconditionally.

    With the default handler of SIGTERM, Prefect's server would survive this process. Does nothing outside the main
    thread.
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
    print(STOPPED, file=sys.stderr, flush=True)
    os._exit(code)
