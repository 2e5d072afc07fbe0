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

from app.errors import DatabaseUnavailableError
from app.gauge import Reading
from app.ledger.records import Run
from app.ledger.throttles import Tallied, ThrottleLedger

NOTE_SECONDS = 1.0
WORKER_LENGTH = 64


@dataclass(slots=True, kw_only=True)
class _Open:
    """What was not noted yet, of one run and stage."""

    outcomes: int = 0
    failed: int = 0
    noted_at: float = float("-inf")
    store: Reading = field(default_factory=Reading)  # of the run's store, when it was read last


class Tally:
    """Safe for threads; *seconds*: between two notes, None: nothing is ever noted."""

    def __init__(self, *, seconds: float | None = None) -> None:
        """Nothing is counted yet."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], _Open] = {}
        self._process = 0
        self._worker = ""

    def add(
        self,
        run: Run,
        *,
        stage: str,
        outcomes: int,
        failed: int,
        now: float,
        store: Callable[[], Reading],
        throttles: Callable[[], ThrottleLedger],
    ) -> None:
        """A task of *stage* has brought about so many outcomes; they are noted if the last note was a while ago."""
        if self._seconds is None:
            return
        with self._lock:
            mine = self._open.setdefault((run.id, stage), _Open())
            mine.outcomes += outcomes
            mine.failed += failed
            if now - mine.noted_at < self._seconds:
                return
            seen, mine.noted_at = store(), now
            done = Tallied(outcomes=mine.outcomes, failed=mine.failed, store=seen - mine.store)
            mine.outcomes, mine.failed, mine.store = 0, 0, seen
        try:
            throttles().note(run, worker=self._name(), stage=stage, done=done)
        except DatabaseUnavailableError:  # with the next note
            with self._lock:
                mine.outcomes, mine.failed = mine.outcomes + done.outcomes, mine.failed + done.failed

    def _name(self) -> str:
        if self._process != os.getpid():  # a forked child counts for itself
            self._process = os.getpid()
            self._worker = f"{socket.gethostname()[:40]}:{self._process}:{secrets.token_hex(4)}"[:WORKER_LENGTH]
        return self._worker
