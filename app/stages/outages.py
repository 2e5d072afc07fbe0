"""What this process sees of a store that gives its tasks nothing: the ledger's record, and a line in the log at its beginning and end.

No move has an error for it, so nothing else would say why a run stands still.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass

from app.errors import (
    DatabaseUnavailableError,
    ExpiredRequestError,
    StoreFullError,
    StoreUnavailableError,
    TransientError,
    UnansweredError,
    UnreachableError,
)
from app.ledger.outages import OutageLedger
from app.ledger.records import Run
from app.redaction import redact
from app.stages.outcomes import clean

OUTAGES = (StoreUnavailableError, UnansweredError, ExpiredRequestError)
NOTE_SECONDS = 1.0  # between two notes, while a hundred tasks see the same
OVER_SECONDS = 2.0  # without one more: a task that is served may have sent its requests before another one that was not
LONGEST_WORDS = 300

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """By the boot clock."""

    last: float
    noted: float


class Outages:
    """Safe for threads; a process keeps one as long as it lives."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], _Seen] = {}  # by run and stage: those that wait for the store

    def see(self, run: Run, stage: str, *, outage: TransientError | None, taken: int, now: float, ledger: OutageLedger) -> None:
        """A task of *stage* has asked the store for *taken* moves, at boot-clock time *now*; *outage*: what came instead of an answer."""
        if outage is not None:
            self._begin(run, stage, outage, now=now, ledger=ledger)
        elif taken:
            self._end(run, stage, now=now, ledger=ledger)

    def _begin(self, run: Run, stage: str, outage: TransientError, *, now: float, ledger: OutageLedger) -> None:
        kind, detail = kind_of(outage), redact(clean(str(outage)))[:LONGEST_WORDS]
        with self._lock:
            seen = self._seen.get((run.id, stage))
            is_due = seen is None or now - seen.noted >= NOTE_SECONDS
            self._seen[run.id, stage] = _Seen(last=now, noted=now if seen is None or is_due else seen.noted)
        if seen is None:
            said = "%s: %s; %s of run %s waits for it"
            log.warning(said, kind, detail, stage, run.id[:8], extra={"action": "store_outage", "run_id": run.id})
        if is_due:
            try:
                ledger.note(run, stage=stage, kind=kind, detail=detail)
            except DatabaseUnavailableError:  # with the next task
                with self._lock:
                    self._seen[run.id, stage] = _Seen(last=now, noted=float("-inf"))

    def _end(self, run: Run, stage: str, *, now: float, ledger: OutageLedger) -> None:
        mine = (run.id, stage)
        with self._lock:
            seen = self._seen.get(mine)
            if seen is None or now - seen.last < OVER_SECONDS:
                return
            del self._seen[mine]
        said = "the object store serves %s of run %s again"
        log.warning(said, stage, run.id[:8], extra={"action": "store_outage_over", "run_id": run.id})
        with suppress(DatabaseUnavailableError):  # what comes of the work says the same; that of a worker that has died, too
            ledger.end(run)


def kind_of(outage: TransientError) -> str:
    """The words before the store's, or the network's, own."""
    if isinstance(outage, StoreFullError):
        return "the object store is full"
    if isinstance(outage, (UnreachableError, UnansweredError)):
        return "the object store does not answer"
    return "no request to the object store goes through"
