"""What this process's tasks have done, noted in the ledger about once a second: what the reconciler decides rates by (app.throttling).

Not with each batch: that would be a statement more for each. What a killed process had not noted is not counted.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakKeyDictionary

from app.errors import DatabaseUnavailableError
from app.gauge import Reading
from app.ledger.records import Run
from app.ledger.throttles import Tallied, ThrottleLedger

NOTE_SECONDS = 1.0
WORKER_LENGTH = 64


class Read(Protocol):
    """A store that tells how it is answered."""

    def reading(self) -> Reading:
        """What was counted so far."""


@dataclass(slots=True, kw_only=True)
class _Known:
    """What was not noted yet, of one run, stage and store, and by what to note it."""

    run: Run
    stage: str
    outcomes: int = 0
    failed: int = 0
    taken: int = 0
    noted_at: float = float("-inf")
    seen: Reading = field(default_factory=Reading)  # of the run's store, when it was read last
    by: tuple[Read, Callable[[], ThrottleLedger]] | None = None  # None: nothing is left to be noted


class Tally:
    """Safe for threads; *seconds*: between two notes, None: nothing is ever noted.

    A process keeps one as long as it lives, and the stores and ledgers of its runs no longer than something of them is to be noted.

    *later*: calls a function after so many seconds, for what no further task would note; None: that waits for ``flush``.
    """

    def __init__(self, *, seconds: float | None = None, later: Callable[[float, Callable[[], None]], object] | None = None) -> None:
        """Nothing is counted yet."""
        self._seconds = seconds
        self._later = later
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[Read, dict[tuple[str, str], _Known]] = WeakKeyDictionary()  # by store, run and stage
        self._left: list[_Known] = []  # those with something to be noted
        self._process = 0
        self._worker = ""
        self._awaited = False  # a flush is to come

    def add(
        self,
        run: Run,
        *,
        stage: str,
        outcomes: int,
        failed: int,
        taken: int = 0,
        now: float,
        store: Read,
        throttles: Callable[[], ThrottleLedger],
    ) -> None:
        """A task of *stage* has brought about so many outcomes, of *taken* moves; noted if the last note was a while ago, else soon."""
        if self._seconds is None:
            return
        with self._lock:
            mine = self._known.setdefault(store, {}).setdefault((run.id, stage), _Known(run=run, stage=stage))
            mine.run = run
            mine.outcomes += outcomes
            mine.failed += failed
            mine.taken += taken
            self._keep(mine, (store, throttles))
            is_due = now - mine.noted_at >= self._seconds
            waits = not is_due and self._later is not None and not self._awaited
            if is_due:
                mine.noted_at = now
            self._awaited = self._awaited or waits
        if is_due:
            self._note(mine)
        elif waits and self._later is not None:
            self._later(self._seconds, self.flush)

    def flush(self) -> None:
        """Note what is left: the last tasks before a pause in the work, or before the process ends."""
        with self._lock:
            self._awaited = False
            left = list(self._left)
        for mine in left:
            self._note(mine)

    def _keep(self, mine: _Known, by: tuple[Read, Callable[[], ThrottleLedger]]) -> None:
        if mine.by is None:
            self._left.append(mine)
        mine.by = by

    def _note(self, mine: _Known) -> None:
        with self._lock:
            by = mine.by
            if by is None:  # another thread has noted it meanwhile
                return
            store, throttles = by
            mine.by = None
            self._left = [other for other in self._left if other is not mine]
            seen = store.reading()
            done = Tallied(outcomes=mine.outcomes, failed=mine.failed, taken=mine.taken, store=seen - mine.seen)
            mine.outcomes, mine.failed, mine.taken, mine.seen = 0, 0, 0, seen
        try:
            throttles().note(mine.run, worker=self._name(), stage=mine.stage, done=done)
        except DatabaseUnavailableError:  # with the next note
            with self._lock:
                mine.outcomes, mine.failed = mine.outcomes + done.outcomes, mine.failed + done.failed
                mine.taken += done.taken
                mine.seen -= done.store
                self._keep(mine, mine.by or by)

    def _name(self) -> str:
        if self._process != os.getpid():  # a forked child counts for itself
            self._process = os.getpid()
            self._worker = f"{socket.gethostname()[:40]}:{self._process}:{secrets.token_hex(4)}"[:WORKER_LENGTH]
        return self._worker


def after(seconds: float, act: Callable[[], None]) -> None:
    """Call *act* after so long, if the process still lives."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
