"""Whether a run still is in the state that a task found it in, so that pause and cancel are heard in the middle of a batch (section 3)."""

from __future__ import annotations

import threading
from contextlib import suppress

from app.clock import Clock
from app.errors import DatabaseUnavailableError
from app.ledger.records import Run
from app.ledger.steering import SteerLedger
from app.states import RunState

WATCH_SECONDS = 1.0


class RunWatch:
    """The last known states of the runs that this process works on; safe for threads."""

    def __init__(self, steering: SteerLedger, *, clock: Clock) -> None:
        """Nothing is asked yet."""
        self._steering = steering
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, tuple[float, RunState]] = {}

    def still(self, run: Run) -> bool:
        """Whether *run* is in the state that it was read in. An outage of the ledger changes no answer."""
        now = self._clock.boot()
        asked_at, state = self._known.get(run.no, (float("-inf"), run.state))
        due = now - asked_at >= WATCH_SECONDS or state is not run.state  # the task may know better: it read the run after we asked
        if due and self._lock.acquire(blocking=False):  # one asks, the others go by the last answer
            try:
                with suppress(DatabaseUnavailableError):
                    state = self._steering.state(run)
                self._known[run.no] = (now, state)
            finally:
                self._lock.release()
        return state is run.state
