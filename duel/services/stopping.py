"""Leaving while requests hang: after a stop request, running ones get a moment to end and are then abandoned.

A thread that waits for a service cannot be stopped, and Python waits for its threads before it exits: with a client's
retries for ten minutes. What an abandoned draw has bought is in the journal, and found there by the next process.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

FINISH = 3.0  # seconds for running requests to reach their store
LEAVE = 3.0  # seconds for recording how the session ended and telling Prefect
CLEAN_UP = 2.0  # seconds for what libraries do at exit
REQUESTS = "request-"  # prefix of the names of threads that wait for services


def request_pool(threads: int, what: str) -> ThreadPoolExecutor:
    """Return a pool whose threads wait for services; `what` is for their names."""
    return ThreadPoolExecutor(threads, thread_name_prefix=REQUESTS + what)


def abandon(pool: ThreadPoolExecutor, futures: Iterable[Future[Any]]) -> None:
    """Cancel what has not begun, and wait at most FINISH seconds for what has; call it on a stop request."""
    pool.shutdown(wait=False, cancel_futures=True)
    wait([future for future in futures if not future.cancelled()], timeout=FINISH)


def leave_soon(code: int) -> None:
    """Exit LEAVE seconds from now, whatever hangs, if a thread still waits for a service; else do nothing."""
    if any(thread.name.startswith(REQUESTS) for thread in threading.enumerate()):
        timer = threading.Timer(LEAVE, _leave, [code])
        timer.daemon = True
        timer.start()


def _leave(code: int) -> None:
    last = threading.Timer(CLEAN_UP, os._exit, [code])
    last.daemon = True
    last.start()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    atexit._run_exitfuncs()  # so that the server that Prefect started for this process ends with it
    os._exit(code)
