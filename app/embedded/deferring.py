"""Signals that something else handles for a while, and those that wait until what is being made is noted for its removal.

Python raises an interrupt between any two instructions. Between a folder's creation and the note that it is to be removed, or while a
child is started and nobody knows of it yet, it would leave that behind (seen once under load: a child that wrote on while its folder went).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def handled(numbers: Iterable[signal.Signals], handler: Handler, *, where: Callable[[Any], bool]) -> Iterator[None]:
    """Let *handler* take those of *numbers* whose present handler is one *where* it should, for the length of the block.

    Handlers are set and run in the main thread alone: elsewhere nothing changes.
    """
    main = threading.current_thread() is threading.main_thread()
    before = {number: present for number in numbers if where(present := signal.getsignal(number))} if main else {}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, present in before.items():
            signal.signal(number, present)


@contextmanager
def deferred() -> Iterator[None]:
    """Let signals that a handler takes (Ctrl-C by default) come at the end of the block; keep it short.

    They are noted rather than blocked: a child would inherit the block.
    """
    came: list[int] = []
    try:
        with handled(DEFERRED, lambda number, _frame: came.append(number), where=callable):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])
