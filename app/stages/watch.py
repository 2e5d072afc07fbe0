"""Whether a run still is as a task found it, so that pause, cancel and set are heard in the middle of a batch (section 3)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from app.clock import Clock
from app.errors import DatabaseUnavailableError
from app.ledger.records import Run
from app.ledger.steering import SteerLedger
from app.states import RunState

WATCH_SECONDS = 1.0

Wishes = tuple[RunState, Mapping[str, Any], Mapping[str, int]]


class RunWatch:
    """What was last known of the runs that this process works on; safe for threads."""

    def __init__(self, steering: SteerLedger, *, clock: Clock) -> None:
        """Nothing is asked yet."""
        self._steering = steering
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, tuple[float, Wishes]] = {}

    def still(self, run: Run) -> bool:
        """Whether *run* is in the state that it was read in, with the same settings. An outage of the ledger changes no answer."""
        return self._wishes(run)[:2] == (run.state, run.knobs)

    def goes_on(self, run: Run) -> bool:
        """Whether it is in that state, whatever was set since: what takes long and goes by no setting need not begin anew."""
        return self._wishes(run)[0] is run.state

    def rate(self, run: Run, stage: str) -> int | None:
        """Most moves of *stage* a second, as the reconciler has decided it: as read with the run, or since; nothing is asked for it."""
        asked_at, wishes = self._known.get(run.no, (float("-inf"), None))
        is_fresh = wishes is not None and self._clock.boot() - asked_at < 2 * WATCH_SECONDS
        return (wishes[2] if wishes is not None and is_fresh else run.rates).get(stage)

    def _wishes(self, run: Run) -> Wishes:
        now = self._clock.boot()
        asked_at, wishes = self._known.get(run.no, (float("-inf"), (run.state, run.knobs, run.rates)))
        # The task may know better: it read the run after we asked.
        due = now - asked_at >= WATCH_SECONDS or wishes[:2] != (run.state, run.knobs)
        if due and self._lock.acquire(blocking=False):  # one asks, the others go by the last answer
            try:
                with suppress(DatabaseUnavailableError):
                    wishes = self._steering.wishes(run)
                self._known[run.no] = (now, wishes)
            finally:
                self._lock.release()
        return wishes
