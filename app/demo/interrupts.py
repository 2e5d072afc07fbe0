"""A way out of the demonstration that no lock can bar.

Python raises an interrupt between any two instructions: also within logging or a finalizer, where it can be swallowed while a lock stays
taken for ever (seen once under load: every thread waited for logging's lock). So each first interrupt also sets an alarm clock.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

PATIENCE_SECONDS = 30.0  # the way out is bounded well below: workers 5 s, servers a few more
SETTLE_SECONDS = 1.0


def watch(numbers: Iterable[signal.Signals], folder: Callable[[], Path | None], *, keep: bool, patience: float = PATIENCE_SECONDS) -> None:
    """Let each of these signals, besides what it does already, end the process by force if that has not ended *patience* seconds later.

    The servers and workers die with the process; what *folder* gives then is removed unless it is to be kept.
    """
    for number in numbers:
        if callable(signal.getsignal(number)):  # not what the program ignores (nohup)
            _also(number, folder, keep=keep, patience=patience)


def _also(number: signal.Signals, folder: Callable[[], Path | None], *, keep: bool, patience: float) -> None:
    before: Any = signal.getsignal(number)

    def interrupted(received: int, frame: FrameType | None) -> None:
        status = 130 if received == signal.SIGINT else 128 + received
        clock = threading.Timer(patience, _leave, args=(folder, status), kwargs={"keep": keep})
        clock.daemon = True
        clock.start()
        before(received, frame)

    signal.signal(number, interrupted)


def _leave(folder: Callable[[], Path | None], status: int, *, keep: bool) -> None:
    private = folder()
    if private is not None and not keep and os.fork() == 0:  # the child cleans up after the servers, which die with us
        time.sleep(SETTLE_SECONDS)
        shutil.rmtree(private, ignore_errors=True)
    os._exit(status)
