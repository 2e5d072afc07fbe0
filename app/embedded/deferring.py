"""Signals that wait until what is being made is noted for its removal.

Python raises an interrupt between any two instructions. Between a folder's creation and the note that it is to be removed, or while a
child is started and nobody knows of it yet, it would leave that behind (seen once under load: a child that wrote on while its folder went).
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def deferred() -> Iterator[None]:
    """Let signals that a handler takes (Ctrl-C by default) come at the end of the block; keep it short.

    Handlers run in the main thread alone, so that elsewhere there is nothing to defer. They are replaced rather than the signals blocked:
    a child would inherit the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    handlers = {number: handler for number in DEFERRED if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
